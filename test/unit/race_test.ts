/**
 * Covers src/race/race.ts: races for names on a store with injected delays and a virtual clock.
 * Both rules give the same counts for the same seed, and only compare-and-set gives no double
 * owners.
 */
import { describe, expect, test } from "vitest";
import type { Clock } from "../../src/ports/clock.ts";
import type { RaceStore } from "../../src/ports/race_store.ts";
import { race, type RaceOptions, type RaceReport } from "../../src/race/race.ts";
import { pause } from "../../src/time/wait.ts";
import { SeededRandom } from "../../sim/engine/random.ts";
import { race as raceOf } from "../../mod.ts";
import { fakeClock } from "../../sim/testing/fake_clock.ts";

/** One way of a message, in ms. */
type Delay = () => number;

/** A key-value store behind a connection with delays; `claim` is one step unless it is torn in two. */
class SlowStore implements RaceStore {
  readonly entries: Map<string, string>;
  readonly #clock: Clock;
  readonly #delay: Delay;
  readonly #torn: boolean;

  constructor(entries: Map<string, string>, clock: Clock, delay: Delay, torn = false) {
    this.entries = entries;
    this.#clock = clock;
    this.#delay = delay;
    this.#torn = torn;
  }

  get(key: string): Promise<string | null> {
    return this.#trip(() => this.entries.get(key) ?? null);
  }

  set(key: string, value: string): Promise<void> {
    return this.#trip(() => void this.entries.set(key, value));
  }

  async claim(key: string, value: string): Promise<string> {
    if (this.#torn) {
      const standing = await this.get(key);
      if (standing !== null) return standing;
      await this.set(key, value);
      return value;
    }
    return await this.#trip(() => {
      if (!this.entries.has(key)) this.entries.set(key, value);
      return this.entries.get(key) as string;
    });
  }

  remove(keys: readonly string[]): Promise<void> {
    expect(keys.length).toBeLessThanOrEqual(100);
    return this.#trip(() => keys.forEach((key) => this.entries.delete(key)));
  }

  async #trip<T>(step: () => T): Promise<T> {
    await pause(this.#clock, this.#delay());
    const answer = step();
    await pause(this.#clock, this.#delay());
    return answer;
  }
}

interface Race extends Partial<RaceOptions> {
  seed?: number;
  contenders?: number;
  /** Draws one way's delay. */
  delay: (random: SeededRandom, contender: number) => number;
  torn?: boolean;
  /** Servers that don't replicate to each other; contenders use them in turn. */
  masters?: number;
}

async function run(settings: Race): Promise<{ report: RaceReport; left: number; ms: number }> {
  const { seed = 1, contenders = 2, delay, torn, masters = 1, ...options } = settings;
  const clock = fakeClock();
  const random = new SeededRandom(seed, "road");
  const entries = Array.from({ length: masters }, () => new Map<string, string>());
  const stores = Array.from({ length: contenders }, (_, i) => {
    const at = entries[i % masters] as Map<string, string>;
    const store = new SlowStore(at, clock, () => delay(random, i), torn);
    return masters > 1 ? Object.assign(store, { master: `${i % masters}` }) : store;
  });
  const work = race({ stores, clock, random: new SeededRandom(seed, "race"), ...options });
  const report = await clock.run(work);
  return { report, left: entries.reduce((sum, { size }) => sum + size, 0), ms: clock.now() };
}

/** Mostly 10 ms, now and then up to ten times as much, as over the open internet. */
const jittered = (random: SeededRandom) =>
  random.chance(0.2) ? random.between(10, 100) : random.between(9, 11);

describe("with jitter", () => {
  test("the published rule sometimes makes two owners, and compare-and-set never does", async () => {
    const { report, left } = await run({ delay: jittered, trials: 200, limitMs: 600_000 });
    expect(report).toMatchObject({ contenders: 2, masters: 1, complete: true });
    expect(report.published.trials).toBe(200);
    expect(report.published.doubles).toBeGreaterThan(5);
    expect(report.published.doubles).toBeLessThan(150);
    expect(report.published.rate).toBe(report.published.doubles / 200);
    expect(report.compareAndSet).toEqual({ trials: 200, doubles: 0, rate: 0 });
    expect(left).toBe(0);
  });

  test("the same seed gives the same report, and another seed gives a different one", async () => {
    const [one, again, other] = [
      await run({ delay: jittered, trials: 50, seed: 7 }),
      await run({ delay: jittered, trials: 50, seed: 7 }),
      await run({ delay: jittered, trials: 50, seed: 8 }),
    ];
    expect(again).toEqual(one);
    expect(other.report.rtt).not.toEqual(one.report.rtt);
  });

  test("more contenders make more double owners", async () => {
    const two = await run({ delay: jittered, trials: 150, contenders: 2 });
    const eight = await run({ delay: jittered, trials: 150, contenders: 8 });
    expect(eight.report.published.doubles).toBeGreaterThan(two.report.published.doubles);
    expect(eight.report.compareAndSet.doubles).toBe(0);
  });
});

test("with steady delays neither rule makes double owners, until a contender stalls", async () => {
  const steady = await run({ delay: () => 10, trials: 50 });
  expect(steady.report.published.doubles).toBe(0);
  expect(steady.report.rtt).toEqual({ p50: 20, p99: 20, max: 20 });
  const stalled = await run({ delay: () => 10, trials: 50, stallMs: 500 });
  expect(stalled.report.published.doubles).toBeGreaterThan(10);
  expect(stalled.report.compareAndSet.doubles).toBe(0);
});

test("a store whose claim is not a single step is found out", async () => {
  const { report } = await run({ delay: jittered, trials: 100, torn: true });
  expect(report.compareAndSet.doubles).toBeGreaterThan(0);
});

test("on masters that don't replicate to each other both rules make two owners, and all keys are deleted", async () => {
  const { report, left } = await run({ delay: () => 1, trials: 150, contenders: 3, masters: 2 });
  expect(report).toMatchObject({ contenders: 3, masters: 2, complete: true });
  expect(report.published).toEqual({ trials: 150, doubles: 150, rate: 1 });
  expect(report.compareAndSet).toEqual({ trials: 150, doubles: 150, rate: 1 });
  expect(left).toBe(0);
});

test("percentiles are of all round trips", async () => {
  let turn = 0;
  // Of a hundred round trips one takes 1,000 ms.
  const { report } = await run({ delay: () => turn++ % 400 === 0 ? 998 : 2, trials: 100 });
  expect(report.rtt).toEqual({ p50: 4, p99: 4, max: 1_000 });
});

test("a race whose time runs out ends with the trials so far", async () => {
  const { report, left, ms } = await run({ delay: () => 100, trials: 200, limitMs: 5_000 });
  expect(report.complete).toBe(false);
  expect(report.published.trials).toBeGreaterThan(0);
  expect(report.published.trials).toBeLessThan(200);
  expect(ms).toBeLessThan(7_000);
  expect(left).toBe(0);
});

test("a race without contention ends without trials", async () => {
  // The second one's read arrives long after the first has written.
  const delay = (_: SeededRandom, contender: number) => contender === 0 ? 1 : 1_000;
  const { report, left } = await run({ delay, trials: 2, limitMs: 600_000 });
  const none = { trials: 0, doubles: 0, rate: 0 };
  expect(report).toMatchObject({ complete: false, published: none, compareAndSet: none });
  expect(left).toBe(0);
});

test("a store's rejection ends the race, and what was written is removed", async () => {
  const clock = fakeClock();
  const entries = new Map<string, string>();
  const stores = [1, 2].map(() => new SlowStore(entries, clock, () => 1));
  let claims = 0;
  const [first] = stores as [SlowStore, SlowStore];
  const claim = first.claim.bind(first);
  first.claim = (key, value) =>
    ++claims === 3 ? Promise.reject(new Error("the line is down")) : claim(key, value);
  const work = race({ stores, clock, random: new SeededRandom(1, "race") });
  await expect(clock.run(work)).rejects.toThrow("the line is down");
  expect(entries.size).toBe(0);
});

test.each<[string, Partial<RaceOptions> & { contenders?: number }, RegExp]>([
  ["one contender", { contenders: 1 }, /^stores is 1 contenders: it must be 2 to 16$/],
  ["too many contenders", { contenders: 17 }, /^stores is 17 contenders/],
  ["no trials", { trials: 0 }, /^trials is 0: it must be 1 to 10000$/],
  ["half a trial", { trials: 1.5 }, /^trials is 1.5/],
  ["a stall without end", { stallMs: Infinity }, /^stallMs is Infinity/],
  ["no time", { limitMs: 0 }, /^limitMs is 0: it must be 1 to 600000$/],
])("%s is refused by name", async (_, options, message) => {
  await expect(run({ delay: () => 1, ...options })).rejects
    .toMatchObject({ code: "bad_request", message: expect.stringMatching(message) });
});

describe("options of the wrong type", () => {
  const idle = () => Promise.resolve(null);
  const line = { get: idle, set: idle, claim: idle, remove: idle };
  const stores = [line, line];
  test.each<[string, unknown, string]>([
    ["no options", undefined, "stores is undefined: it must be 2 to 16 connections to a store"],
    ["nothing", {}, "stores is undefined: it must be 2 to 16 connections to a store"],
    ["numbers", { stores: [1, 2] }, "stores[0] is 1: it must have get, set, claim and remove"],
    ["half a connection", { stores: [line, { get: idle }] }, "stores[1] is {}: it must have get"],
    ["trials in text", { stores, trials: "5" }, `trials is "5": it must be 1 to 10000`],
    ["a stall in text", { stores, stallMs: "5" }, `stallMs is "5": it must be 0 to 10000`],
    ["a big limit", { stores, limitMs: 5n }, "limitMs is 5n: it must be 1 to 600000"],
    ["no clock", { stores, clock: null }, "clock is null: it must have now and after"],
    ["no chance", { stores, random: 4 }, "random is 4: it must have next and uuid"],
  ])("are refused by name: %s", async (_, options, message) => {
    await expect(raceOf(options as { stores: [] })).rejects.toMatchObject({
      name: "AtlasError",
      code: "bad_request",
      message: expect.stringContaining(message),
    });
  });
});
