/**
 * Timing and output that all benches share: takes measurements, gives {@link Figure}s, each with
 * its peer's.
 */

/** One line of the score sheet. */
export interface Figure {
  readonly bench: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly peer: string;
  readonly peerValue: number;
  /** `value / peerValue`. */
  readonly ratio: number;
  /** What Atlas ran on. */
  readonly runtime: string;
  /** Runs that the medians are of. */
  readonly runs: number;
}

export interface BenchOptions {
  /** Shorter runs, for a look rather than a claim. */
  readonly quick: boolean;
  /** Tells a person how it goes; never figures. */
  readonly log: (line: string) => void;
}

/** A bench: measures Atlas and its peer by turns, in one run. */
export type Bench = (options: BenchOptions) => Promise<Figure[]>;

/** Thrown by a bench whose peer is not installed here; the runner passes over it by name. */
export class PeerMissing extends Error {}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2;
}

/** Makes a figure of the runs of both sides. */
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

/** Runs both sides by turns, so that a slow minute of the machine hits both. */
export async function byTurns<T>(
  runs: number,
  ours: () => Promise<T>,
  theirs: () => Promise<T>,
): Promise<{ ours: T[]; theirs: T[] }> {
  const result: { ours: T[]; theirs: T[] } = { ours: [], theirs: [] };
  for (let run = 0; run < runs; run++) {
    // Who goes first changes, too.
    if (run % 2 === 0) result.ours.push(await ours());
    result.theirs.push(await theirs());
    if (run % 2 === 1) result.ours.push(await ours());
  }
  return result;
}

/**
 * Calls that are answered without I/O would keep the event loop from ever turning, and
 * a node's lease from being renewed. This lets it turn, for all lanes, every 10 ms.
 */
export class Breather {
  #due: number = performance.now() + 10;
  /** What every lane waits for before its next call; null: nothing. */
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
 * Calls that need no I/O want a `breather`; to others it would only be in the way.
 */
export async function throughput(
  call: (n: number) => Promise<unknown>,
  inFlight: number,
  seconds: number,
  breather?: Breather,
): Promise<number> {
  let done = 0;
  const start = performance.now();
  const end = start + seconds * 1_000;
  let more = true;
  const lane = async (first: number) => {
    for (let n = first; more; n += inFlight) {
      await call(n);
      done += 1;
      // Asking the time after each call would be measured as well.
      if (done % 64 === 0) {
        const now = performance.now();
        more = now < end;
        breather?.look(now);
      }
      if (breather?.pause) await breather.pause;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, i) => lane(i)));
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
 * Calls per second of exactly `count` calls, `inFlight` at once. For the `breather` see {@link
 * throughput}.
 */
export async function rateOf(
  count: number,
  inFlight: number,
  call: (n: number) => Promise<unknown>,
  breather?: Breather,
): Promise<number> {
  let next = 0;
  const start = performance.now();
  const lane = async () => {
    while (next < count) {
      await call(next++);
      if (breather && next % 64 === 0) breather.look(performance.now());
      if (breather?.pause) await breather.pause;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
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
