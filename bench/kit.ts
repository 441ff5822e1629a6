/**
 * Timing and output that all benches share: takes measurements, gives {@link Figure}s, each with
 * the figure of its peer.
 */

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
  /** The runtime of Atlas. */
  readonly runtime: string;
  /** The number of runs of each median. */
  readonly runs: number;
}

export interface BenchOptions {
  /** Shorter runs, whose figures are only rough. */
  readonly quick: boolean;
  /** Prints progress for a reader, but no figures. */
  readonly log: (line: string) => void;
}

/** A bench: measures Atlas and its peer alternately, in one run. */
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

/** The figure for the runs of both sides. */
export function figure(
  about: Pick<Figure, "bench" | "metric" | "unit" | "peer"> & { runtime?: string },
  ours: readonly number[],
  theirs: readonly number[],
): Figure {
  const value = median(ours);
  const peerValue = median(theirs);
  return {
    bench: about.bench,
    metric: about.metric,
    value: round(value),
    unit: about.unit,
    peer: about.peer,
    peerValue: round(peerValue),
    ratio: round(value / peerValue),
    runtime: about.runtime ?? runtimeName(),
    runs: Math.min(ours.length, theirs.length),
  };
}

/** Runs both sides alternately, so that a slow minute of the machine affects both. */
export async function byTurns<T>(
  runs: number,
  ours: () => Promise<T>,
  theirs: () => Promise<T>,
): Promise<{ ours: T[]; theirs: T[] }> {
  const result: { ours: T[]; theirs: T[] } = { ours: [], theirs: [] };
  for (let run = 0; run < runs; run++) {
    // The order of the sides alternates, too.
    if (run % 2 === 0) result.ours.push(await ours());
    result.theirs.push(await theirs());
    if (run % 2 === 1) result.ours.push(await ours());
  }
  return result;
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

/**
 * Answered calls per second with `inFlight` calls always under way, for about `seconds`.
 * Calls without I/O need a `loopYield`; others don't.
 */
export async function throughput(
  call: (n: number) => Promise<unknown>,
  inFlight: number,
  seconds: number,
  loopYield?: LoopYield,
): Promise<number> {
  let done = 0;
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
  return (done * 1_000) / (performance.now() - start);
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

/** Such as `bun 1.4.4`. */
export function runtimeName(): string {
  const versions: Record<string, string | undefined> = process.versions;
  if (versions["bun"]) return `bun ${versions["bun"]}`;
  if (versions["deno"]) return `deno ${versions["deno"]}`;
  return `node ${versions["node"]}`;
}

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
