/**
 * The meters of a node's market: dials that parts turn and nobody decides by, one set for
 * each module.
 */
import { MAX_METERS } from "../limits.ts";

export interface Meter {
  /** Credits, counted by sellers. issued = used + revoked + what is outstanding. */
  issued: number;
  used: number;
  revoked: number;
  /** Capacity in buyers' hands now. */
  granted: number;
  /** Requests that run here now. */
  running: number;
  /** Calls made here; those that waited for credit, and for how long together, ms. */
  calls: number;
  waits: number;
  waitedMs: number;
}

export function newMeter(): Meter {
  return {
    issued: 0,
    used: 0,
    revoked: 0,
    granted: 0,
    running: 0,
    calls: 0,
    waits: 0,
    waitedMs: 0,
  };
}

/** What one balancer counts of its calls, for itself and on its module's meter. */
export class CallTally {
  readonly own: Pick<Meter, "calls" | "waits" | "waitedMs"> = { calls: 0, waits: 0, waitedMs: 0 };
  readonly #meter: Meter;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  add(what: "calls" | "waits" | "waitedMs", more: number): void {
    this.own[what] += more;
    this.#meter[what] += more;
  }
}

/** Stands for all modules for which there is no meter left. */
const OTHER = "other";

export class Meters {
  readonly #meters = new Map<string, Meter>();

  /** The name under which a module is counted. */
  nameOf(module: string): string {
    return this.#meters.has(module) || this.#meters.size < MAX_METERS ? module : OTHER;
  }

  of(module: string): Meter {
    const name = this.nameOf(module);
    const meter = this.#meters.get(name) ?? newMeter();
    this.#meters.set(name, meter);
    return meter;
  }

  [Symbol.iterator](): Iterator<[string, Meter]> {
    return this.#meters[Symbol.iterator]();
  }

  /** All modules together. */
  total(): Meter {
    const total = newMeter();
    for (const meter of this.#meters.values()) {
      for (const name of Object.keys(total) as (keyof Meter)[]) total[name] += meter[name];
    }
    return total;
  }
}
