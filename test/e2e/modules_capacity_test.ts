/**
 * Capacity is never exceeded, on real processes of all runtimes: two calls run at a time, four with
 * a second node, and two again after that is killed; calls that fail, are aborted or take long lose
 * no credit.
 *
 * The functions count the running calls. Leases are long, so that every effect comes from messages,
 * not from the end of a lease.
 */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Registry, SQLITE } from "./cluster.ts";
import { type Buyer, startTrader, tally, type Trader, UNTIL_FINISHED } from "./market_traders.ts";
import { endAll } from "./process.ts";
import { until } from "../support/until.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

let registry: Registry;
let ann: Trader;
let bob: Trader;
let carl: Trader;
let buyer: Trader;

beforeAll(async () => {
  registry = await SQLITE.open();
  const shared = { registry: registry.url, lease: "frugal" };
  [ann, bob, carl, buyer] = await Promise.all([
    startTrader({ ...shared, name: "ann", runtime: "bun", sells: true }),
    startTrader({ ...shared, name: "bob", runtime: "deno" }),
    startTrader({ ...shared, name: "carl", runtime: "node" }),
    startTrader({ ...shared, name: "buyer", runtime: "node" }),
  ]);
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

/** Releases held calls until `done` says so. */
async function releaseUntil(done: () => Promise<boolean>, ...traders: Trader[]): Promise<void> {
  await until(async () => {
    await Promise.all(traders.map((trader) => trader.release()));
    return await done();
  }, "held calls end");
}

async function running(...traders: Trader[]): Promise<number[]> {
  return (await Promise.all(traders.map((trader) => trader.count()))).map(({ running }) => running);
}

/** The sellers' counts for a buyer add up to the buyer's own. */
async function expectConserved(...traders: Trader[]): Promise<void> {
  for (const trader of traders) {
    for (const { capacity, granted, channels } of await trader.listeners()) {
      expect(granted).toBeLessThanOrEqual(capacity);
      for (const { issued, used, outstanding, revoked, running, grant } of channels) {
        expect(issued).toBe(used + outstanding + revoked);
        expect(outstanding + running).toBeLessThanOrEqual(grant);
      }
    }
  }
}

async function idle(proxy: Buyer, capacity: number): Promise<void> {
  await until(async () => {
    const plb = await proxy.plb();
    return plb.running === 0 && plb.waiting === 0 && plb.capacity === capacity;
  }, `all ${capacity} credits are back`);
}

test("a hundred calls of pi at capacity 2 run two at a time, and all are answered", async () => {
  const proxy = await buyer.discover({ capacity: 2, waitFor: "all" });
  const outcomes = await proxy.many("pi", { args: [5], times: 100 });
  expect(tally(outcomes, ({ result, node }) => `${result} by ${node}`)).toEqual({
    "3.14159 by ann": 100,
  });
  expect(await ann.count()).toMatchObject({ most: 2, served: 100 });
  await expectConserved(ann);
  await proxy.close();
});

test("with a second node four calls run without a reconnect; after it is killed two run, then four on another node", async () => {
  const proxy = await buyer.discover({ capacity: 4 });
  const batch = await proxy.begin("hold", { times: 100 });
  await until(async () => (await running(ann))[0] === 2, "two run");
  expect(await proxy.plb()).toMatchObject({ granted: 2, waiting: 98, running: 2, capacity: 0 });
  const [first] = (await proxy.plb()).channels;

  await bob.publish({ capacity: 2 });
  await until(async () => String(await running(ann, bob)) === "2,2", "four run");
  const four = await proxy.plb();
  expect(four).toMatchObject({ granted: 4, waiting: 96, running: 4 });
  // The first channel is still open, with the same two calls.
  expect(four.channels.find(({ node }) => node === "ann")).toEqual(first);

  // A frugal lease lasts half a minute, so the capacity isn't lost because the lease ends.
  await bob.kill();
  await until(async () => (await proxy.plb()).granted === 2, "the capacity of the dead is gone");
  const lost = await batch.outcomes();
  expect(tally(lost)).toEqual({ "unavailable, maybe executed": 2 });
  for (const { error } of lost) expect(error?.message).toContain("hold on bob");
  expect((await proxy.plb()).channels.map(({ node }) => node)).toEqual(["ann"]);

  await carl.publish({ capacity: 2 });
  await until(async () => String(await running(ann, carl)) === "2,2", "four run again");
  await releaseUntil(async () => (await batch.outcomes()).length === 100, ann, carl);
  const ended = await batch.all();
  expect(tally(ended)).toEqual({ ok: 98, "unavailable, maybe executed": 2 });
  const answers = ended.filter(({ error }) => !error).map(({ result }) => result as number);
  expect(new Set(answers).size, "each call its own answer").toBe(98);
  expect((await ann.count()).most).toBe(2);
  expect((await carl.count()).most).toBe(2);
  await idle(proxy, 4);
  await expectConserved(ann, carl);
  await proxy.close();
});

test("calls are split over listeners of 1, 2, 3 and 4 by their capacity", async () => {
  const sizes = { ann: 1, carl: 2, buyer: 3, anew: 4 };
  const anew = await startTrader({
    registry: registry.url,
    lease: "frugal",
    name: "anew",
    runtime: "deno",
  });
  await Promise.all([ann, carl, buyer, anew].map((trader) =>
    trader.publish({
      name: "weighed",
      capacity: sizes[trader.line.node as keyof typeof sizes],
    })
  ));
  const proxy = await buyer.discover({ name: "weighed", capacity: 10, waitFor: "all" });
  const outcomes = await proxy.many("mark", { args: [], times: 1_000, callers: 1 });
  const shares = tally(outcomes, ({ node }) => node);
  for (const [node, size] of Object.entries(sizes)) {
    expect(shares[node], `calls of ${node}`).toBeGreaterThan(0.75 * size * 100);
    expect(shares[node], `calls of ${node}`).toBeLessThan(1.25 * size * 100);
  }
  await proxy.close();
  await anew.kill();
});

test("failing calls don't use up the pool", async () => {
  await ann.publish({ name: "failing", capacity: 2 });
  const proxy = await buyer.discover({ name: "failing", capacity: 2, waitFor: "all" });
  const failures = await proxy.many("fail", { args: ["on purpose"], times: 200, callers: 10 });
  expect(tally(failures)).toEqual({ "app, maybe executed": 200 });
  expect(failures[0]?.error?.message).toBe("on purpose");
  const broken = await proxy.many("unencodable", { args: [], times: 20 });
  expect(new Set(broken.map(({ error }) => error?.maybeExecuted))).toEqual(new Set([true]));
  await idle(proxy, 2);
  expect(tally(await proxy.many("pi", { args: [2], times: 10 }))).toEqual({ ok: 10 });
  await expectConserved(ann);
  await proxy.close();
});

test("callers that abort while they wait spend no credit", async () => {
  await carl.publish({ name: "patient", capacity: 2 });
  const proxy = await buyer.discover({ name: "patient", capacity: 2, waitFor: "all" });
  const before = (await carl.count()).served;
  const holding = await proxy.begin("hold", { times: 2 });
  await until(async () => (await running(carl))[0] === 2, "both hold");
  const late = await proxy.many("pi", { args: [2], times: 20, options: { timeoutMs: 50 } });
  expect(tally(late)).toEqual({ timeout: 20 });
  const left = await proxy.begin("pi", { args: [2], times: 20 });
  await until(async () => (await proxy.plb()).waiting === 20, "twenty wait");
  await left.giveUp();
  expect(tally(await left.all())).toEqual({ timeout: 20 });
  const refused = await proxy.many("pi", { args: [2], times: 5, options: { noWait: true } });
  expect(tally(refused)).toEqual({ overloaded: 5 });
  await releaseUntil(async () => (await holding.outcomes()).length === 2, carl);
  await idle(proxy, 2);
  expect((await carl.count()).served - before, "only those who held").toBe(2);
  expect((await proxy.plb()).channels.map(({ used }) => used)).toEqual([2]);
  await proxy.close();
});

test.for([1, 0])("slow calls don't starve fast ones at low watermark %s", async (lowWatermark) => {
  const name = `mixed-${lowWatermark}`;
  const shop = await ann.publish({ name, capacity: 4, lowWatermark });
  const proxy = await buyer.discover({ name, capacity: 4, waitFor: "all" });
  const slow = await proxy.begin("hold", { times: 3 });
  await until(async () => (await running(ann))[0] === 3, "three are slow");
  const fast = await proxy.many("pi", { args: [2], times: 200, callers: 20 });
  expect(tally(fast)).toEqual({ ok: 200 });
  expect(await slow.outcomes(), "all while the slow ones ran").toEqual([]);
  await releaseUntil(async () => (await slow.outcomes()).length === 3, ann);
  await proxy.close();
  await shop.close();
});

test("a draining seller finishes its running calls, and no call is lost", async () => {
  const leaver = await startTrader({
    registry: registry.url,
    lease: "frugal",
    name: "leaver",
    runtime: "bun",
  });
  await leaver.publish({ name: "leaving", capacity: 2 });
  await carl.publish({ name: "leaving", capacity: 2 });
  const proxy = await buyer.discover({ name: "leaving", capacity: 4, waitFor: "all" });
  const load = await proxy.begin("slow", { args: [5], times: UNTIL_FINISHED, callers: 16 });
  await until(async () => (await load.outcomes()).length > 100, "callers are at it");
  leaver.signal("SIGTERM");
  expect(await leaver.ended).toBe(0);
  const sellers = async () => (await proxy.plb()).channels.map(({ node }) => node);
  await until(
    async () => String(await sellers()) === "carl",
    "the remaining capacity is carl's",
  );
  const outcomes = await load.finish();
  expect(tally(outcomes)).toEqual({ ok: outcomes.length });
  const shares = tally(outcomes, ({ node }) => node);
  expect(Object.keys(shares).sort()).toEqual(["carl", "leaver"]);
  await proxy.close();
});

test("a listener that is closed during a call lets it end, or aborts it after a time limit", async () => {
  const shop = await carl.publish({ name: "closing", capacity: 2 });
  const proxy = await buyer.discover({ name: "closing", capacity: 2, waitFor: "all" });
  const kept = await proxy.begin("hold", { times: 2 });
  await until(async () => (await running(carl))[0] === 2, "both hold");
  const closed = shop.close({ drainMs: 20_000 });
  await until(async () => (await proxy.plb()).granted === 0, "no more is sold");
  await releaseUntil(async () => (await kept.outcomes()).length === 2, carl);
  expect(tally(await kept.all())).toEqual({ ok: 2 });
  await closed;

  const next = await carl.publish({ name: "closing", capacity: 2 });
  await proxy.granted(2);
  const lost = await proxy.begin("hold", { times: 2 });
  await until(async () => (await running(carl))[0] === 2, "both hold again");
  await next.close({ drainMs: 50 });
  expect(tally(await lost.all())).toEqual({ "unavailable, maybe executed": 2 });
  const none = await proxy.many("pi", { args: [2], times: 1, options: { timeoutMs: 100 } });
  expect(tally(none)).toEqual({ timeout: 1 });
  expect(none[0]?.error?.message).toContain("0 of 2 capacity is bought");
  await proxy.close();
  await carl.release();
});
