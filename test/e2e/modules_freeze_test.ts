/**
 * A seller is frozen with running calls, past its lease: their callers get `maybeExecuted`, other
 * calls are served elsewhere, and after it resumes it sells again.
 */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { REDIS, type Registry, SQLITE } from "./cluster.ts";
import { freeze } from "./freeze.ts";
import { PATIENCE_MS, startTrader, tally, type Trader } from "./market_traders.ts";
import { endAll } from "./process.ts";
import { until } from "../support/until.ts";

// The test starts many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

let registry: Registry;
let ann: Trader;
let bob: Trader;
let buyer: Trader;

beforeAll(async () => {
  registry = await (REDIS.missing ? SQLITE : REDIS).open();
  const shared = { registry: registry.url, lease: "standard", sells: true };
  [ann, bob, buyer] = await Promise.all([
    startTrader({ ...shared, name: "ann", runtime: "deno" }),
    startTrader({ ...shared, name: "bob", runtime: "node" }),
    startTrader({ ...shared, name: "buyer", runtime: "bun", sells: false }),
  ]);
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

test("a frozen seller's running calls fail as maybe executed, and it sells again after it resumes", async () => {
  const proxy = await buyer.discover({ capacity: 4, waitFor: "all" });
  const held = await proxy.begin("hold", { times: 4 });
  await until(
    async () => (await ann.count()).running + (await bob.count()).running === 4,
    "four run",
  );
  const waiting = await proxy.begin("pi", { args: [3], times: 50 });
  await until(async () => (await proxy.plb()).waiting === 50, "fifty wait");
  await freeze(ann, registry.url);

  const isGone = async () => (await proxy.plb()).granted === 2;
  await until(isGone, "the frozen one's capacity is gone", PATIENCE_MS);
  expect(tally(await held.outcomes())).toEqual({ "unavailable, maybe executed": 2 });
  await bob.release();
  expect(tally(await waiting.all(), ({ node }) => node)).toEqual({ bob: 50 });
  expect(tally(await held.all(), ({ node }) => node)).toEqual({
    bob: 2,
    "unavailable, maybe executed": 2,
  });

  ann.signal("SIGCONT");
  await proxy.granted(4);
  const { channels } = await proxy.plb();
  const back = channels.find(({ node }) => node === "ann");
  expect(back?.incarnation).not.toBe(ann.line.incarnation);
  const after = tally(await proxy.many("pi", { args: [3], times: 200 }), ({ node }) => node);
  expect(Object.keys(after).sort()).toEqual(["ann", "bob"]);
  expect((await bob.count()).most).toBe(2);
  // The frozen calls saw their signal abort once their seller resumed.
  await until(async () => (await ann.count()).aborted === 2, "the frozen calls are called off");
  expect((await ann.count()).most, "their successors waited for their place").toBe(2);
});
