/**
 * Where capacity is bought, on nodes of two regions: nearby first, remote if necessary, and nearby
 * again once that is available; or spread over all.
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
    startTrader({ ...shared, region: "us-east-1", name: "ann", runtime: "bun" }),
    startTrader({ ...shared, region: "eu-west-1", name: "bob", runtime: "deno" }),
    startTrader({ ...shared, region: "us-east-1", name: "carl", runtime: "node" }),
    startTrader({ ...shared, region: "us-east-1", name: "buyer", runtime: "bun" }),
  ]);
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

/** The capacity bought at each node. */
async function bought(proxy: Buyer): Promise<Record<string, number>> {
  const { channels } = await proxy.plb();
  const open = channels.filter(({ draining }) => !draining);
  return Object.fromEntries(open.map(({ node, grant }) => [node, grant]));
}

/** Waits until the exchanges know of all these sellers. */
async function offered(name: string, sellers: number): Promise<void> {
  await until(async () => {
    const books = await buyer.exchange(name);
    return books.length >= 2 && books.every(({ orders }) => orders.length >= sellers);
  }, `${name} is offered`);
}

test("nearby capacity is bought first, and remote capacity is returned once nearby capacity is available", async () => {
  await ann.publish({ name: "near", capacity: 2 });
  await bob.publish({ name: "near", capacity: 4 });
  await offered("near", 2);
  const proxy = await buyer.discover({ name: "near", capacity: 4, waitFor: "all" });
  expect(await bought(proxy)).toEqual({ ann: 2, bob: 2 });

  const load = await proxy.begin("slow", { args: [5], times: UNTIL_FINISHED, callers: 8 });
  await until(async () => (await load.outcomes()).length > 100, "callers are at it");
  await carl.publish({ name: "near", capacity: 2 });
  await until(async () => {
    const { ann, bob, carl } = await bought(proxy);
    return ann === 2 && carl === 2 && bob === undefined;
  }, "all is bought near");
  const outcomes = await load.finish();
  expect(tally(outcomes), "no call noticed").toEqual({ ok: outcomes.length });
  await proxy.granted(4);
  const shop = async () => (await bob.listeners()).find(({ module }) => module === "near");
  const free = { granted: 0, free: 4, channels: [] };
  await expect.poll(shop, { timeout: 20_000 }).toMatchObject(free);
  await proxy.close();
});

test("remote capacity is bought if there is none nearby", async () => {
  await bob.publish({ name: "far", capacity: 2 });
  const proxy = await buyer.discover({ name: "far", capacity: 2, waitFor: "all" });
  expect(await bought(proxy)).toEqual({ bob: 2 });
  expect(tally(await proxy.many("pi", { args: [3], times: 20 }), ({ node }) => node)).toEqual({
    bob: 20,
  });
  await proxy.close();
});

test("spread capacity is distributed over regions, and over the nodes of each", async () => {
  for (const trader of [ann, bob, carl]) await trader.publish({ name: "wide", capacity: 8 });
  await offered("wide", 3);
  const wanted = { name: "wide", capacity: 8, waitFor: "all" } as const;
  const spread = await buyer.discover({ ...wanted, prefer: "spread" });
  expect(await bought(spread)).toEqual({ ann: 2, bob: 4, carl: 2 });
  await spread.close();
  await until(
    async () =>
      (await buyer.modules()).find(({ name }) => name === "wide")?.sellers.every(({ granted }) =>
        granted === 0
      ) === true,
    "all is free again",
  );
  await offered("wide", 3);
  const near = await buyer.discover({ ...wanted, prefer: "near" });
  expect(await bought(near)).toEqual({ ann: 4, carl: 4 });
  await near.close();
});
