/**
 * Counts calls per caller region for resources placed `caller`, and reports a region that a
 * resource should move to: a region that made most of many calls, and kept that share for a while.
 * After a move or an attempt, a cool-down keeps the resource from moving back and forth.
 *
 * Counts decay exponentially, so that recent calls weigh more. Source: `docs/design.md`, Regions
 * and moves.
 */
import {
  FOLLOW_CALLS,
  FOLLOW_COOL_DOWN_MS,
  FOLLOW_HALF_LIFE_MS,
  FOLLOW_HOLD_MS,
  FOLLOW_SHARE,
  MAX_FOLLOWED,
} from "../limits.ts";
import type { Clock } from "../ports/clock.ts";

/** Regions that one counter has; the smallest is dropped for a further one. */
const MAX_REGIONS = 8;

interface RegionCounter {
  readonly counts: Map<string, number>;
  /** When the counts were last decayed, on the monotonic clock. */
  at: number;
  /** The other region that most calls come from, and the time since when they do. */
  dominantRegion: string | null;
  since: number;
  coolDownUntil: number;
}

export class CallerAffinity {
  readonly #clock: Clock;
  readonly #region: string;
  /** By key; the oldest is dropped first. */
  readonly #counters = new Map<string, RegionCounter>();

  constructor(clock: Clock, region: string) {
    this.#clock = clock;
    this.#region = region;
  }

  /**
   * Counts a call to `key` from `region`. Returns the region that the resource should move to;
   * null: it should stay.
   */
  note(key: string, region: string): string | null {
    const now = this.#clock.now();
    const counter = this.#counter(key, now);
    if (now - counter.at > FOLLOW_HALF_LIFE_MS / 16) decay(counter, now);
    count(counter.counts, region);
    const dominantRegion = this.#dominantRegion(counter.counts);
    if (dominantRegion !== counter.dominantRegion) {
      [counter.dominantRegion, counter.since] = [dominantRegion, now];
    }
    if (dominantRegion === null || now < counter.coolDownUntil) return null;
    return now - counter.since >= FOLLOW_HOLD_MS ? dominantRegion : null;
  }

  /** Starts the cool-down of `ms`, because the resource has just moved or failed to move. */
  coolDown(key: string, ms: number = FOLLOW_COOL_DOWN_MS): void {
    const now = this.#clock.now();
    const counter = this.#counter(key, now);
    counter.coolDownUntil = now + ms;
  }

  /** Drops the counter of a resource that is no longer here. */
  forget(key: string): void {
    this.#counters.delete(key);
  }

  #counter(key: string, now: number): RegionCounter {
    let counter = this.#counters.get(key);
    if (counter) return counter;
    if (this.#counters.size >= MAX_FOLLOWED) {
      const [oldest] = this.#counters.keys();
      this.#counters.delete(oldest as string);
    }
    counter = { counts: new Map(), at: now, dominantRegion: null, since: now, coolDownUntil: 0 };
    this.#counters.set(key, counter);
    return counter;
  }

  /** The other region that made the required share of enough calls; null if no region did. */
  #dominantRegion(counts: ReadonlyMap<string, number>): string | null {
    let sum = 0;
    for (const one of counts.values()) sum += one;
    if (sum < FOLLOW_CALLS) return null;
    for (const [region, one] of counts) {
      if (region !== this.#region && one > sum * FOLLOW_SHARE) return region;
    }
    return null;
  }
}

function decay(counter: RegionCounter, now: number): void {
  const left = 2 ** (-(now - counter.at) / FOLLOW_HALF_LIFE_MS);
  for (const [region, one] of counter.counts) counter.counts.set(region, one * left);
  counter.at = now;
}

function count(counts: Map<string, number>, region: string): void {
  if (!counts.has(region) && counts.size >= MAX_REGIONS) {
    const [least] = [...counts].sort(([, one], [, other]) => one - other)[0] as [string, number];
    counts.delete(least);
  }
  counts.set(region, (counts.get(region) ?? 0) + 1);
}
