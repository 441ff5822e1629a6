/**
 * Start order: brokers start before any authority, and orders stay while the only authority is
 * killed and another one takes over its address.
 */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { freePort } from "../support/ports.ts";
import { type Registry, SQLITE } from "./cluster.ts";
import { startTrader, tally, type Trader } from "./market_traders.ts";
import { endAll, type RuntimeName } from "./process.ts";
import { until } from "../support/until.ts";

// The test starts many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

let registry: Registry;
beforeAll(async () => {
  registry = await SQLITE.open();
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

test("brokers started before any authority find one later, and its successor gets all orders", async () => {
  const port = await freePort();
  const address = `static:http://127.0.0.1:${port}`;
  const start = (name: string, runtime: RuntimeName, env: Record<string, string>) =>
    startTrader({ registry: registry.url, lease: "frugal", name, runtime, env });
  const worker = { ATLAS_ROLE: "worker", ATLAS_BOOTSTRAP: address };
  const authority = { ATLAS_ROLE: "authority", ATLAS_BOOTSTRAP: address, PORT: String(port) };
  const [seller, buyer] = await Promise.all([
    start("seller", "bun", worker),
    start("buyer", "deno", worker),
  ]) as [Trader, Trader];
  await seller.publish({ capacity: 2 });
  expect(await seller.authorities()).toEqual([]);
  const asked = buyer.discover({ capacity: 4 });

  const first = await start("first", "node", authority);
  const proxy = await asked;
  await proxy.granted(2);
  const seen = () => buyer.authorities();
  const patience = { timeout: 20_000 };
  await expect.poll(seen, patience).toMatchObject([{ node: "first", brokers: 3 }]);

  await first.kill();
  await until(async () => (await buyer.stats()).links === 1, "only the channel's link is left");
  expect(tally(await proxy.many("pi", { args: [3], times: 100 }), ({ node }) => node)).toEqual({
    seller: 100,
  });
  // Published while there is no authority: the order waits for one.
  await seller.publish({ capacity: 2 });
  await start("second", "bun", authority);
  await proxy.granted(4);
  await expect.poll(seen, patience).toMatchObject([{ node: "second", brokers: 3 }]);
});
