/**
 * Counters of a node's market, one set per module. Processes write them; no decision reads them.
 */
import { MAX_METERS } from "../../limits.ts";

export interface ModuleCounters {
  /** Credits, as sellers count them: issued = used + revoked + outstanding. */
  issued: number;
  used: number;
  revoked: number;
  /** Capacity granted to buyers now. */
  granted: number;
  /** Requests that run here now. */
  running: number;
  /** Calls made here; those that waited for credit; their total wait in ms. */
  calls: number;
  waits: number;
  waitedMs: number;
}

export function newCounters(): ModuleCounters {
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

/** The counters of buyers. */
type Count = "calls" | "waits" | "waitedMs";
const COUNTS: readonly Count[] = ["calls", "waits", "waitedMs"];

/** A trader's reference to its module's counters, released when it stops. */
export interface CountersRef {
  readonly counters: ModuleCounters;
  release(): void;
}

/**
 * The counters of one load balancer. They are added to its module's counters only after a seller
 * was found, because callers may ask for any name.
 */
export class CallCounters {
  readonly own: Pick<ModuleCounters, Count> = { calls: 0, waits: 0, waitedMs: 0 };
  readonly #metrics: ModuleMetrics;
  readonly #module: string;
  #shared: CountersRef | null = null;

  constructor(metrics: ModuleMetrics, module: string) {
    this.#metrics = metrics;
    this.#module = module;
    if (metrics.has(module)) this.attach();
  }

  /** Whether its counts have not been added to a module's counters yet. */
  get isDetached(): boolean {
    return this.#shared === null;
  }

  add(count: Count, amount: number): void {
    this.own[count] += amount;
    if (this.#shared) this.#shared.counters[count] += amount;
  }

  /** A seller of the module was found. */
  attach(): void {
    if (this.#shared) return;
    this.#shared = this.#metrics.acquire(this.#module);
    this.addTo(this.#shared.counters);
  }

  /** Its load balancer stopped. */
  end(): void {
    if (this.#shared) this.#shared.release();
    else this.addTo(this.#metrics.other);
  }

  addTo(counters: ModuleCounters): void {
    for (const count of COUNTS) counters[count] += this.own[count];
  }
}

/** The name for all modules without counters of their own. */
const OTHER = "other";

interface Entry {
  readonly counters: ModuleCounters;
  /** References that are not released. */
  references: number;
}

export class ModuleMetrics {
  /** By module; unreferenced ones in order of last use, the oldest first. */
  readonly #entries = new Map<string, Entry>();
  #other: ModuleCounters | null = null;

  /** The counters of all modules without their own. */
  get other(): ModuleCounters {
    return this.#other ??= newCounters();
  }

  has(module: string): boolean {
    return this.#entries.has(module);
  }

  /** The name under which a module is counted. */
  nameOf(module: string): string {
    if (this.has(module)) return module;
    this.#other ??= newCounters();
    return OTHER;
  }

  /** Counters for a module that is traded here; those of `other` if too many are referenced. */
  acquire(module: string): CountersRef {
    const entry = module === OTHER
      ? undefined
      : this.#entries.get(module) ?? this.#addEntry(module);
    if (!entry) return { counters: this.other, release: () => {} };
    entry.references++;
    return { counters: entry.counters, release: () => this.#release(module, entry) };
  }

  *[Symbol.iterator](): Iterator<[string, ModuleCounters]> {
    for (const [module, { counters }] of this.#entries) yield [module, counters];
    if (this.#other) yield [OTHER, this.#other];
  }

  /** The sum over all modules and detached load balancers. */
  total(buyers: Iterable<CallCounters>): ModuleCounters {
    const total = newCounters();
    for (const [, counters] of this) addAll(total, counters);
    for (const buyer of buyers) if (buyer.isDetached) buyer.addTo(total);
    return total;
  }

  #addEntry(module: string): Entry | undefined {
    if (this.#entries.size >= MAX_METERS && !this.#evictOne()) return undefined;
    const entry: Entry = { counters: newCounters(), references: 0 };
    this.#entries.set(module, entry);
    return entry;
  }

  #release(module: string, entry: Entry): void {
    if (--entry.references > 0) return;
    this.#entries.delete(module);
    this.#entries.set(module, entry);
  }

  /** Evicts the counters of an unreferenced module, adding them to `other`. */
  #evictOne(): boolean {
    for (const [module, { counters, references: holds }] of this.#entries) {
      if (holds > 0 || !isSettled(counters)) continue;
      this.#entries.delete(module);
      addAll(this.other, counters);
      return true;
    }
    return false;
  }
}

/** Whether no channel can still change them. */
function isSettled({ issued, used, revoked, granted, running }: ModuleCounters): boolean {
  return running === 0 && granted === 0 && issued === used + revoked;
}

function addAll(sum: ModuleCounters, counters: ModuleCounters): void {
  for (const name of Object.keys(sum) as (keyof ModuleCounters)[]) sum[name] += counters[name];
}
