/**
 * Modules for clients without a node of their own: the same capacity, errors and waiting as on a
 * node, and a purchase that survives the node that keeps it.
 */
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { type Registry, SQLITE } from "./cluster.ts";
import { startTrader, tally, type Trader } from "./market_traders.ts";
import { endAll } from "./process.ts";
import { until } from "../support/until.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

let registry: Registry;
/** The seller of `calc` with capacity 2, a further seller, and two nodes for clients. */
let ann: Trader;
let bob: Trader;
let nodes: Trader[];

beforeAll(async () => {
  registry = await SQLITE.open();
  const shared = { registry: registry.url, lease: "frugal" };
  [ann, bob, ...nodes] = await Promise.all([
    startTrader({ ...shared, name: "ann", runtime: "deno", sells: true }),
    startTrader({ ...shared, name: "bob", runtime: "node" }),
    startTrader({ ...shared, name: "node-bun", runtime: "bun" }),
    startTrader({ ...shared, name: "node-node", runtime: "node" }),
  ]) as [Trader, Trader, Trader, Trader];
});
afterAll(async () => {
  await endAll();
  await registry.close();
});
beforeEach(() => releaseAll(ann, bob));

const urls = (): string[] => nodes.map(({ url }) => url);

/** Never aborts: an answer at a deadline is read, however late it arrives. */
const patient: typeof fetch = (url, init) => fetch(url, { ...init, signal: null });

async function running(...traders: Trader[]): Promise<string> {
  const counts = await Promise.all(traders.map((trader) => trader.count()));
  return counts.map(({ running }) => running).join();
}

/** Releases held calls until none is left. */
async function releaseAll(...traders: Trader[]): Promise<void> {
  await until(async () => {
    await Promise.all(traders.map((trader) => trader.release()));
    return /^[0,]*$/.test(await running(...traders));
  }, "nobody is held");
}

test("without a seller discover fails as unavailable, and names what was asked for", async () => {
  const atlas = connect(urls(), { fetch: patient });
  await expect(atlas.discover("unheard", { timeoutMs: 1_000 })).rejects.toMatchObject({
    code: "unavailable",
    maybeExecuted: false,
    message: expect.stringContaining("unheard"),
  });
  const never = { version: "^9", capacity: 3, timeoutMs: 1_000 };
  await expect(atlas.discover("calc", never)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringMatching(/capacity 3 of calc, \^9$/),
  });
  for (const options of [{ version: "newest" }, { capacity: 0 }, { timeoutMs: 0 }]) {
    await expect(atlas.discover("calc", options)).rejects.toMatchObject({ code: "bad_request" });
  }
});

test("calls fail with the same errors as a node's proxy", async () => {
  const atlas = connect(urls(), { fetch: patient, timeoutMs: 60_000 });
  const { $plb } = await atlas.discover("calc", { capacity: 2, waitFor: "all" });
  await expect($plb.call("tau", [])).rejects.toMatchObject({
    code: "not_found",
    maybeExecuted: false,
    message: expect.stringMatching(/has no function "tau"/),
  });
  await expect($plb.call("pi", [() => 1])).rejects.toMatchObject({
    code: "bad_request",
    maybeExecuted: false,
  });
  await expect($plb.call("fail", ["on purpose"])).rejects.toMatchObject({
    code: "app",
    message: "on purpose",
    maybeExecuted: true,
  });
  await expect($plb.call("unencodable", [])).rejects.toMatchObject({ maybeExecuted: true });

  const holding = [1, 2].map((n) => $plb.call("hold", [n]));
  await until(async () => await running(ann) === "2", "both are held");
  await expect($plb.call("pi", [1], { timeoutMs: 300 })).rejects.toMatchObject({
    code: "timeout",
    maybeExecuted: false,
  });
  const controller = new AbortController();
  const given = $plb.call("pi", [1], { signal: controller.signal });
  controller.abort();
  await expect(given).rejects.toMatchObject({ code: "timeout" });
  await releaseAll(ann);
  expect(await Promise.all(holding)).toMatchObject([
    { result: 1, node: "ann", version: "1.0.0" },
    { result: 2, node: "ann", version: "1.0.0" },
  ]);
  await $plb.close();
  await expect($plb.call("pi", [1])).rejects.toMatchObject({ code: "unavailable" });
  await until(async () => (await ann.listeners())[0]?.granted === 0, "all is given back");
});

test("a node's proxy refuses arguments that can't be encoded, and spends no credit on them", async () => {
  const proxy = await (nodes[0] as Trader).discover();
  await expect(proxy.callWithFunction("pi")).rejects.toMatchObject({
    code: "bad_request",
    maybeExecuted: false,
  });
  expect(await proxy.plb()).toMatchObject({ capacity: 1, calls: 0 });
  await proxy.close();
});

test("a hundred calls run two at a time, and four at a time once another node sells", async () => {
  const { $plb } = await connect(urls()).discover("calc", { capacity: 4, callTimeoutMs: 60_000 });
  const calls = Array.from({ length: 100 }, (_, n) => $plb.call("hold", [n]));
  await until(async () => await running(ann) === "2", "two run");
  expect(await running(ann, bob)).toBe("2,0");
  const shop = await bob.publish({ capacity: 2 });
  await until(async () => await running(ann, bob) === "2,2", "four run");
  let left = calls.length;
  for (const call of calls) call.finally(() => left--);
  await until(async () => {
    await Promise.all([ann.release(), bob.release()]);
    return left === 0;
  }, "all are answered");
  const results = (await Promise.all(calls)).map(({ result }) => result);
  expect(results).toEqual(results.map((_, n) => n));
  expect((await ann.count()).most).toBe(2);
  expect((await bob.count()).most).toBe(2);
  await until(() => $plb.capacity() === 4, "the client sees both");
  await shop.close();
  await until(() => $plb.capacity() === 2, "the client sees one of them go");
  await $plb.close();
  expect($plb.capacity()).toBe(0);
});

test("when the node with the purchase is killed, the client buys again at another", async () => {
  const [first, second] = nodes as [Trader, Trader];
  const buyer = second;
  const proxy = await buyer.discover({ via: urls(), capacity: 2, waitFor: "all" });
  expect(tally(await proxy.many("pi", { args: [2], times: 20 }))).toEqual({ ok: 20 });
  const held = await proxy.begin("hold", { times: 1 });
  await until(async () => await running(ann) === "1", "one is held");
  await first.kill();
  expect(tally(await held.all()), "calls that were running").toEqual({
    "unavailable, maybe executed": 1,
  });
  await until(async () => (await ann.count()).running === 0, "its call is called off");
  expect(tally(await proxy.many("pi", { args: [2], times: 20 }))).toEqual({ ok: 20 });
  await proxy.close();
  await until(async () => (await ann.listeners())[0]?.granted === 0, "all is given back");
});
