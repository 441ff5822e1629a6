/**
 * The meters of a node's market: dials that parts turn and nobody decides by, one set for
 * each module.
 */
import { MAX_METERS } from "../limits.ts";

export interface ModuleCounters {
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

export function newMeter(): ModuleCounters {
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

/** What a buyer counts. */
type Count = "calls" | "waits" | "waitedMs";
const COUNTS: readonly Count[] = ["calls", "waits", "waitedMs"];

/** A module's meter in a trader's hands, who lets go of it at its end. */
export interface CountersRef {
  readonly meter: ModuleCounters;
  release(): void;
}

/**
 * What one balancer counts of its calls, for itself and on its module's meter: kept back until
 * somebody sells to it, as anybody may ask for any name.
 */
export class CallCounters {
  readonly own: Pick<ModuleCounters, Count> = { calls: 0, waits: 0, waitedMs: 0 };
  readonly #meters: ModuleMetrics;
  readonly #module: string;
  #hold: CountersRef | null = null;

  constructor(meters: ModuleMetrics, module: string) {
    this.#meters = meters;
    this.#module = module;
    if (meters.has(module)) this.sold();
  }

  /** Whether what it counts is on no meter yet. */
  get isKeptBack(): boolean {
    return this.#hold === null;
  }

  add(what: Count, more: number): void {
    this.own[what] += more;
    if (this.#hold) this.#hold.meter[what] += more;
  }

  /** Somebody sells the module. */
  sold(): void {
    if (this.#hold) return;
    this.#hold = this.#meters.take(this.#module);
    this.addTo(this.#hold.meter);
  }

  /** Its balancer is gone. */
  end(): void {
    if (this.#hold) this.#hold.release();
    else this.addTo(this.#meters.other);
  }

  addTo(meter: ModuleCounters): void {
    for (const what of COUNTS) meter[what] += this.own[what];
  }
}

/** Stands for all modules that have no meter of their own. */
const OTHER = "other";

interface Entry {
  readonly meter: ModuleCounters;
  /** Who holds it. */
  holds: number;
}

export class ModuleMetrics {
  /** By module; of those that nobody holds the longest unused ones first. */
  readonly #entries = new Map<string, Entry>();
  #other: ModuleCounters | null = null;

  /** The meter that counts what no other does. */
  get other(): ModuleCounters {
    return this.#other ??= newMeter();
  }

  has(module: string): boolean {
    return this.#entries.has(module);
  }

  /** The name under which a module is counted. */
  nameOf(module: string): string {
    if (this.has(module)) return module;
    this.#other ??= newMeter();
    return OTHER;
  }

  /** The meter of a module that is traded here; there is always one, unless too many are held. */
  take(module: string): CountersRef {
    const entry = module === OTHER ? undefined : this.#entries.get(module) ?? this.#enter(module);
    if (!entry) return { meter: this.other, release: () => {} };
    entry.holds++;
    return { meter: entry.meter, release: () => this.#release(module, entry) };
  }

  *[Symbol.iterator](): Iterator<[string, ModuleCounters]> {
    for (const [module, { meter }] of this.#entries) yield [module, meter];
    if (this.#other) yield [OTHER, this.#other];
  }

  /** All modules together, with what tallies keep back. */
  total(tallies: Iterable<CallCounters>): ModuleCounters {
    const total = newMeter();
    for (const [, meter] of this) addAll(total, meter);
    for (const tally of tallies) if (tally.isKeptBack) tally.addTo(total);
    return total;
  }

  #enter(module: string): Entry | undefined {
    if (this.#entries.size >= MAX_METERS && !this.#forgetOne()) return undefined;
    const entry: Entry = { meter: newMeter(), holds: 0 };
    this.#entries.set(module, entry);
    return entry;
  }

  #release(module: string, entry: Entry): void {
    if (--entry.holds > 0) return;
    this.#entries.delete(module);
    this.#entries.set(module, entry);
  }

  /** Adds what was counted of a module that nobody trades in to the others'. */
  #forgetOne(): boolean {
    for (const [module, { meter, holds }] of this.#entries) {
      if (holds > 0 || !isSettled(meter)) continue;
      this.#entries.delete(module);
      addAll(this.other, meter);
      return true;
    }
    return false;
  }
}

/** Whether nothing can be counted on it any more: no channel is left. */
function isSettled({ issued, used, revoked, granted, running }: ModuleCounters): boolean {
  return running === 0 && granted === 0 && issued === used + revoked;
}

function addAll(sum: ModuleCounters, meter: ModuleCounters): void {
  for (const name of Object.keys(sum) as (keyof ModuleCounters)[]) sum[name] += meter[name];
}
