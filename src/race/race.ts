/**
 * Measures on a live store how often two contenders for one name both believe that they own it.
 *
 * Two rules are tried, each on fresh names:
 *
 * - *published*: SET the name optimistically, measure that round trip, wait as long again, GET; a
 *   contender that reads its own value owns the name;
 * - *compare-and-set*: one step that writes only if the name has no value.
 *
 * Every contender reads first, as a node does, and writes only if it saw nobody; a trial counts if
 * two or more wrote. The published rule is Fischer's mutual exclusion with the contender's own
 * round trip as the wait: it is safe only if no rival takes longer from its read to its write. This
 * measures how often one does.
 *
 * Takes connections to a store, or to each of its masters, a clock and randomness; gives round
 * trips and counts. Source: `docs/design.md`, Several masters.
 */
import { AtlasError } from "../errors.ts";
import { MAX_CONTENDERS, MAX_RACE_MS, MAX_STALL_MS, MAX_TRIALS } from "../limits.ts";
import { quoted } from "../model/options.ts";
import type { Clock } from "../ports/clock.ts";
import type { RaceStore } from "../ports/race_store.ts";
import type { Random } from "../ports/random.ts";
import { pause } from "../time/wait.ts";

/** Names between two clean-ups; so the most that one race has in the store at once. */
const NAMES_AT_ONCE = 100;
/** Average attempts for each contended trial after which a rule is given up as uncontended. */
const ATTEMPTS = 10;

export interface RaceOptions {
  /** One connection for each contender, 2 to 16. */
  stores: readonly RaceStore[];
  clock: Clock;
  random: Random;
  /** Contended trials of each rule, 1 to 10,000. Default 200. */
  trials?: number;
  /**
   * Each contender is delayed between its read and its write by 0 to this many ms, as by a
   * garbage collection or a busy machine. 0 to 10,000, default 0.
   */
  stallMs?: number;
  /** No trial begins after this many ms, up to 600,000. Default 60,000. */
  limitMs?: number;
}

/** The results of one rule. */
export interface RuleReport {
  /** Contended trials: those in which two or more contenders saw nobody, and wrote. */
  readonly trials: number;
  /** Trials after which two or more contenders believed that they own the name. */
  readonly doubles: number;
  /** Double owners per trial, 0 to 1; 0 if there was no trial. */
  readonly rate: number;
}

export interface RaceReport {
  readonly contenders: number;
  /** Servers that the contenders were spread over, as far as their connections tell. */
  readonly masters: number;
  /** Round trips of all steps of all contenders, in ms. */
  readonly rtt: RoundTrips;
  readonly published: RuleReport;
  readonly compareAndSet: RuleReport;
  /** Whether both rules had all their trials; if not, time or contention ran out. */
  readonly complete: boolean;
}

/** One contender's result: whether it wrote, and whether it believes that it owns the name. */
interface Run {
  readonly wrote: boolean;
  readonly owns: boolean;
}

type Rule = (store: RaceStore, key: string, name: string, stopwatch: Stopwatch) => Promise<boolean>;

/**
 * Runs both rules in turn. Its keys start with `atlas:race:` and a UUID, and are deleted during
 * the race.
 *
 * @throws AtlasError `bad_request` for an option that isn't allowed; whatever a store
 * rejects with, after an attempt to remove what was written.
 */
export async function race(options: RaceOptions): Promise<RaceReport> {
  const { stores, clock, random, trials = 200, stallMs = 0, limitMs = 60_000 } = options;
  checkRace({ stores, clock, random, trials, stallMs, limitMs });
  const runner = new TrialRunner(stores, clock, random, stallMs);
  const published = new Tally(trials);
  const compareAndSet = new Tally(trials);
  const until = clock.now() + limitMs;
  try {
    while ((published.isOpen || compareAndSet.isOpen) && clock.now() < until) {
      if (published.isOpen) published.add(await runner.run(runner.published));
      if (compareAndSet.isOpen) compareAndSet.add(await runner.run(runner.compareAndSet));
    }
  } finally {
    await runner.clear();
  }
  return {
    contenders: stores.length,
    masters: runner.masters,
    rtt: runner.stopwatch.report(),
    published: published.report(),
    compareAndSet: compareAndSet.report(),
    complete: published.isDone && compareAndSet.isDone,
  };
}

/** Runs trials, one after the other. */
class TrialRunner {
  readonly stopwatch: Stopwatch;
  readonly #stores: readonly RaceStore[];
  /** One connection to each master. */
  readonly #masters: readonly RaceStore[];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #stallMs: number;
  readonly #prefix: string;
  #names: string[] = [];
  #count = 0;

  constructor(stores: readonly RaceStore[], clock: Clock, random: Random, stallMs: number) {
    this.stopwatch = new Stopwatch(clock);
    this.#stores = stores;
    this.#masters = [...new Map(stores.map((store) => [store.master, store])).values()];
    this.#clock = clock;
    this.#random = random;
    this.#stallMs = stallMs;
    this.#prefix = `atlas:race:${random.uuid()}:`;
  }

  get masters(): number {
    return this.#masters.length;
  }

  /** One trial on a fresh name: all contenders start at once; resolves when all have finished. */
  async run(rule: Rule): Promise<Run[]> {
    if (this.#names.length === NAMES_AT_ONCE) await this.#remove();
    const key = this.#prefix + this.#count++;
    this.#names.push(key);
    const runs = await Promise.allSettled(
      this.#stores.map((store, i) => this.#contend(rule, store, key, `contender-${i}`)),
    );
    return runs.map((run) => {
      if (run.status === "rejected") throw run.reason;
      return run.value;
    });
  }

  /** Deletes the remaining names. Those that can't be deleted now expire later. */
  async clear(): Promise<void> {
    await this.#remove().catch(() => {});
  }

  /** SET, wait the SET's own round trip, GET. */
  readonly published: Rule = async (store, key, name, stopwatch) => {
    const [, rtt] = await stopwatch.time(() => store.set(key, name));
    await pause(this.#clock, rtt);
    const [standing] = await stopwatch.time(() => store.get(key));
    return standing === name;
  };

  /** One compare-and-set. */
  readonly compareAndSet: Rule = async (store, key, name, stopwatch) => {
    const [standing] = await stopwatch.time(() => store.claim(key, name));
    return standing === name;
  };

  async #contend(rule: Rule, store: RaceStore, key: string, name: string): Promise<Run> {
    const [seen] = await this.stopwatch.time(() => store.get(key));
    if (seen !== null) return { wrote: false, owns: false };
    if (this.#stallMs > 0) await pause(this.#clock, this.#random.next() * this.#stallMs);
    return { wrote: true, owns: await rule(store, key, name, this.stopwatch) };
  }

  async #remove(): Promise<void> {
    const names = this.#names;
    if (names.length === 0) return;
    await Promise.all(this.#masters.map((store) => store.remove(names)));
    this.#names = [];
  }
}

/** Counts one rule's trials. */
class Tally {
  readonly #wanted: number;
  #attempts = 0;
  #trials = 0;
  #doubles = 0;

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  get isDone(): boolean {
    return this.#trials === this.#wanted;
  }

  get isOpen(): boolean {
    return !this.isDone && this.#attempts < this.#wanted * ATTEMPTS;
  }

  add(runs: readonly Run[]): void {
    this.#attempts += 1;
    if (runs.filter(({ wrote }) => wrote).length < 2) return;
    this.#trials += 1;
    if (runs.filter(({ owns }) => owns).length > 1) this.#doubles += 1;
  }

  report(): RuleReport {
    const [trials, doubles] = [this.#trials, this.#doubles];
    return { trials, doubles, rate: trials === 0 ? 0 : doubles / trials };
  }
}

/** Checks the options of a race. */
export function checkRace(options: Required<RaceOptions>): void {
  const { stores, clock, random, trials, stallMs, limitMs } = options;
  if (!Array.isArray(stores)) {
    const allowed = `2 to ${MAX_CONTENDERS} connections to a store`;
    throw new AtlasError("bad_request", `stores is ${quoted(stores)}: it must be ${allowed}`);
  }
  checkRange("stores", stores.length, 2, MAX_CONTENDERS);
  for (const [i, store] of stores.entries()) {
    checkMethods(`stores[${i}]`, store, ["get", "set", "claim", "remove"]);
  }
  checkMethods("clock", clock, ["now", "after"]);
  checkMethods("random", random, ["next", "uuid"]);
  checkRange("trials", trials, 1, MAX_TRIALS);
  checkRange("stallMs", stallMs, 0, MAX_STALL_MS);
  checkRange("limitMs", limitMs, 1, MAX_RACE_MS);
}

function checkMethods(name: string, value: unknown, methods: readonly string[]): void {
  const parts = Object(value) as { readonly [method: string]: unknown };
  if (methods.every((method) => typeof parts[method] === "function")) return;
  const all = methods.join(", ").replace(/, (\w+)$/, " and $1");
  throw new AtlasError("bad_request", `${name} is ${quoted(value)}: it must have ${all}`);
}

function checkRange(name: string, value: unknown, least: number, most: number): void {
  const isFine = name === "stallMs" ? Number.isFinite(value) : Number.isInteger(value);
  if (isFine && (value as number) >= least && (value as number) <= most) return;
  const what = name === "stores" ? `${value} contenders` : quoted(value);
  throw new AtlasError("bad_request", `${name} is ${what}: it must be ${least} to ${most}`);
}

/** Round trips that are kept. */
const MAX_SAMPLES = 100_000;

/** Round trips, in ms; all 0 if there were none. */
export interface RoundTrips {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export class Stopwatch {
  readonly #clock: Clock;
  readonly #samples: number[] = [];
  #max = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs a step; gives its value and the ms that it took. One that fails isn't kept. */
  async time<T>(step: () => Promise<T>): Promise<readonly [value: T, ms: number]> {
    const start = this.#clock.now();
    const value = await step();
    const ms = this.#clock.now() - start;
    if (this.#samples.length < MAX_SAMPLES) this.#samples.push(ms);
    this.#max = Math.max(this.#max, ms);
    return [value, ms];
  }

  report(): RoundTrips {
    const sorted = Float64Array.from(this.#samples).sort();
    // The nearest rank: the smallest value that this share of the samples doesn't exceed.
    const rank = (part: number): number => sorted[Math.ceil(sorted.length * part) - 1] ?? 0;
    return { p50: rank(0.5), p99: rank(0.99), max: this.#max };
  }
}
