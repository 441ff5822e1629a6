/**
 * Timing and output that all benches share: takes measurements, gives {@link Figure}s, each with
 * the figure of its peer.
 */

import process from "node:process";
import type { RuntimeCommand } from "../scripts/runtimes.ts";

/** One measured value, beside its peer's. */
export interface Figure {
  readonly bench: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly peer: string;
  readonly peerValue: number;
  /** `value / peerValue`. */
  readonly ratio: number;
  /** Whether more of it is better, or less. */
  readonly better: "more" | "less";
  readonly goal?: Goal;
  /**
   * Whether the ratio is compared with the stored one; false for tails and sizes of single runs,
   * which vary by more than the tolerance.
   */
  readonly isFloor: boolean;
  /** The runtime of Atlas. */
  readonly runtime: string;
  /** The number of runs of each median. */
  readonly runs: number;
}

/** What a figure should reach: bounds of its ratio, its value, or its value less its peer's. */
export interface Goal {
  readonly of: "ratio" | "value" | "difference";
  readonly least?: number;
  readonly most?: number;
}

export interface BenchOptions {
  /** The runtime that Atlas and its peers run on. */
  readonly runtime: RuntimeCommand;
  /** Such as `bun 1.4.4`. */
  readonly runtimeName: string;
  /** How often each side is measured. */
  readonly runs: number;
  /** How long one measurement takes, roughly. */
  readonly seconds: number;
  /** Only the figures that have a floor. */
  readonly floorsOnly: boolean;
  /** Prints progress for a reader, but no figures. */
  readonly log: (line: string) => void;
}

/** A bench: measures Atlas and its peers alternately, in one run, on one runtime. */
export type Bench = (options: BenchOptions) => Promise<Figure[]>;

/** Thrown by a bench whose peer is not installed; the runner skips the bench and says so. */
export class PeerMissing extends Error {}

/** The median. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2;
}

/** What a figure is about, without its numbers. */
export interface About {
  readonly bench: string;
  readonly metric: string;
  readonly unit: string;
  readonly peer: string;
  readonly runtime: string;
  /** Default `more`. */
  readonly better?: "more" | "less";
  readonly goal?: Goal | undefined;
  /** Default true. */
  readonly isFloor?: boolean;
}

/** The figure for the runs of both sides. */
export function figure(about: About, ours: readonly number[], theirs: readonly number[]): Figure {
  const value = median(ours);
  const peerValue = median(theirs);
  const { better = "more", isFloor = true, goal, ...rest } = about;
  return {
    ...rest,
    value: round(value),
    peerValue: round(peerValue),
    ratio: round(value / peerValue),
    better,
    ...goal && { goal },
    isFloor,
    runs: Math.min(ours.length, theirs.length),
  };
}

/** Whether a figure reaches its goal; null if it has none. */
export function meetsGoal({ goal, ratio, value, peerValue }: Figure): boolean | null {
  if (!goal) return null;
  const reached = { ratio, value, difference: value - peerValue }[goal.of];
  return reached >= (goal.least ?? -Infinity) && reached <= (goal.most ?? Infinity);
}

/** The results of each side, in the order of the sides. */
type Results<S extends readonly (() => Promise<unknown>)[]> = {
  -readonly [K in keyof S]: Awaited<ReturnType<S[K]>>[];
};

/**
 * Runs all sides alternately, `runs` times each, so that a slow minute of the machine affects all.
 * Each round begins with the next side.
 */
export async function inTurns<const S extends readonly (() => Promise<unknown>)[]>(
  runs: number,
  sides: S,
): Promise<Results<S>> {
  const results = sides.map((): unknown[] => []);
  for (let run = 0; run < runs; run++) {
    for (let i = 0; i < sides.length; i++) {
      const side = (run + i) % sides.length;
      results[side]?.push(await sides[side]?.());
    }
  }
  return results as Results<S>;
}

/**
 * Yields to the event loop every 10 ms, for all loops of a bench. Calls that are answered without
 * I/O would otherwise never let it run, and a node's lease would not be renewed.
 */
export class LoopYield {
  #due: number = performance.now() + 10;
  /** The pause that every loop awaits before its next call; null if there is none. */
  pause: Promise<void> | null = null;

  /** Starts a pause if one is due. */
  look(now: number): void {
    if (this.pause !== null || now < this.#due) return;
    this.pause = new Promise((resolve) => {
      setTimeout(() => {
        this.pause = null;
        this.#due = performance.now() + 10;
        resolve();
      }, 0);
    });
  }
}

/** What a load reached. */
export interface Load {
  /** Answered calls per second. */
  readonly rate: number;
  readonly calls: number;
  /** CPU time of this process per call, in µs. */
  readonly cpu: number;
}

/**
 * Calls with `inFlight` calls always under way, for about `seconds`. Calls without I/O need a
 * `loopYield`; others don't.
 */
export async function throughput(
  call: (n: number) => Promise<unknown>,
  inFlight: number,
  seconds: number,
  loopYield?: LoopYield,
): Promise<Load> {
  let done = 0;
  const cpu = cpuTime();
  const start = performance.now();
  const end = start + seconds * 1_000;
  let more = true;
  const loop = async (first: number) => {
    for (let n = first; more; n += inFlight) {
      await call(n);
      done += 1;
      // Reading the clock after each call would add to the measurement.
      if (done % 64 === 0) {
        const now = performance.now();
        more = now < end;
        loopYield?.look(now);
      }
      if (loopYield?.pause) await loopYield.pause;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, i) => loop(i)));
  const rate = (done * 1_000) / (performance.now() - start);
  return { rate, calls: done, cpu: (cpuTime() - cpu) / done };
}

/** Calls per second one after the other, for calls that take less than a microsecond. */
export async function tight(
  call: (n: number) => Promise<unknown>,
  seconds: number,
): Promise<number> {
  const start = performance.now();
  let now = start;
  let n = 0;
  while (now < start + seconds * 1_000) {
    // Timers, such as those of heartbeats, run between the batches.
    for (const end = n + 10_000; n < end; n++) await call(n);
    await new Promise((resolve) => setTimeout(resolve, 0));
    now = performance.now();
  }
  return (n * 1_000) / (now - start);
}

/** CPU time of this process so far, in µs. */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Median microseconds of one call, `count` of them one after the other. */
export async function latency(
  call: (n: number) => Promise<unknown>,
  count: number,
): Promise<number> {
  const times = new Float64Array(count);
  for (let n = 0; n < count; n++) {
    const start = performance.now();
    await call(n);
    times[n] = (performance.now() - start) * 1_000;
  }
  return times.sort()[count >> 1] as number;
}

/**
 * Calls per second of exactly `count` calls, `inFlight` at once. For the `loopYield` see {@link
 * throughput}.
 */
export async function rateOf(
  count: number,
  inFlight: number,
  call: (n: number) => Promise<unknown>,
  loopYield?: LoopYield,
): Promise<number> {
  let next = 0;
  const start = performance.now();
  const loop = async () => {
    while (next < count) {
      await call(next++);
      if (loopYield && next % 64 === 0) loopYield.look(performance.now());
      if (loopYield?.pause) await loopYield.pause;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  return (count * 1_000) / (performance.now() - start);
}

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}

/** Such as `ratio ≥ 0.75`. */
export function goalText({ goal, unit }: Figure): string {
  if (!goal) return "";
  const { of, least, most } = goal;
  const bound = least === undefined ? `≤ ${show(most as number)}` : `≥ ${show(least)}`;
  if (of === "ratio") return `ratio ${bound}`;
  return of === "value" ? `${bound} ${unit}` : `${bound} ${unit} beyond`;
}

/** A number for a reader. */
export function show(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 2 : 0 });
}
