/**
 * Times round trips. Takes steps to run on a clock; gives each step's result and duration, and
 * in the end percentiles.
 *
 * Percentiles are of the first {@link MAX_SAMPLES} steps, the maximum is of all.
 */
import type { Clock } from "../ports/clock.ts";

/** Round trips that are kept. */
const MAX_SAMPLES = 100_000;

/** Round trips, in ms; all 0 where there were none. */
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
