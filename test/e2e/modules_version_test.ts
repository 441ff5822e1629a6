/**
 * Versions and hot code loading, on real processes: buyers get the version that they ask for, and
 * an update under sixty-four concurrent callers fails no call.
 */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Registry, SQLITE } from "./cluster.ts";
import { startTrader, tally, type Trader, UNTIL_FINISHED } from "./market_traders.ts";
import { endAll } from "./process.ts";
import { until } from "../support/until.ts";

// The tests start many processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

const CALLERS = 64;

let registry: Registry;
let ann: Trader;
let bob: Trader;
let buyer: Trader;

beforeAll(async () => {
  registry = await SQLITE.open();
  const shared = { registry: registry.url, lease: "frugal" };
  [ann, bob, buyer] = await Promise.all([
    startTrader({ ...shared, name: "ann", runtime: "node" }),
    startTrader({ ...shared, name: "bob", runtime: "bun" }),
    startTrader({ ...shared, name: "buyer", runtime: "deno" }),
  ]);
  await Promise.all([
    ann.publish({ name: "lib", capacity: 4, code: { version: "1.0.0", functions: ["mark"] } }),
    ann.publish({ name: "lib", capacity: 4, code: { version: "2.0.0" } }),
    bob.publish({ name: "lib", capacity: 4, code: { version: "1.2.0" } }),
    bob.publish({ name: "lib", capacity: 4, code: { version: "3.0.0-beta.1" } }),
  ]);
  await until(async () => {
    const views = await Promise.all([ann, bob, buyer].map((trader) => trader.modules()));
    return views.every(([view]) => view?.sellers.length === 4);
  }, "all four are offered");
});
afterAll(async () => {
  await endAll();
  await registry.close();
});

/** The version of the code that answers callers who ask for `version`. */
async function answering(version?: string): Promise<string> {
  const proxy = await buyer.discover({ name: "lib", ...version && { version } });
  const { result, version: told } = await proxy.call("mark");
  expect(result, "the answer names its code").toBe(told);
  expect((await proxy.plb()).version).toBe(told);
  await proxy.close();
  return told as string;
}

test.for(
  [
    ["none, to the newest stable version", undefined, "2.0.0"],
    ["an exact pin", "1.0.0", "1.0.0"],
    ["a pin before a release", "3.0.0-beta.1", "3.0.0-beta.1"],
    ["a caret", "^1.1", "1.2.0"],
    ["a tilde", "~1.0.0", "1.0.0"],
    ["bounds", ">=1.5 <3", "2.0.0"],
    ["one or the other", "1.0.x || ^9", "1.0.0"],
  ] as const,
)("a range is resolved: %s", async ([, asked, found]) => {
  expect(await answering(asked)).toBe(found);
});

test("versions are served side by side, each to the buyers that asked for it", async () => {
  const pins = ["1.0.0", "1.2.0", "2.0.0"];
  const proxies = await Promise.all(
    pins.map((version) => buyer.discover({ name: "lib", version, capacity: 2, waitFor: "all" })),
  );
  const outcomes = await Promise.all(
    proxies.map((proxy) => proxy.many("mark", { args: [], times: 50 })),
  );
  outcomes.forEach((of, at) =>
    expect(tally(of, ({ version, result }) => `${version} ${result}`)).toEqual({
      [`${pins[at]} ${pins[at]}`]: 50,
    })
  );
  await Promise.all(proxies.map((proxy) => proxy.close()));
});

test("discover fails as unavailable if no seller has the requested version", async () => {
  const asked = { name: "lib", version: "^4", capacity: 3, timeoutMs: 200 };
  await expect(buyer.discover(asked)).rejects.toMatchObject({
    code: "unavailable",
    maybeExecuted: false,
    message: expect.stringMatching(/capacity 3 of lib, \^4$/),
  });
  await expect(buyer.discover({ name: "unheard", timeoutMs: 200 })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("capacity 1 of unheard, any stable version"),
  });
});

test("a function that the chosen version lacks fails at the caller, and spends no credit", async () => {
  const proxy = await buyer.discover({ name: "lib", version: "1.0.0" });
  expect(proxy.exports).toEqual(["mark"]);
  const outcomes = await proxy.many("pi", { args: [2], times: 20 });
  expect(tally(outcomes)).toEqual({ not_found: 20 });
  expect(outcomes[0]?.error?.message).toBe('lib 1.0.0 has no function "pi"; it has: mark');
  expect(await proxy.plb()).toMatchObject({ calls: 0, capacity: 1, channels: [{ used: 0 }] });
  expect(await proxy.call("mark")).toMatchObject({ result: "1.0.0" });
  await proxy.close();
});

test("with 64 callers new code fails no call: running calls end on the old code, which is then dropped", async () => {
  const shop = await bob.publish({
    name: "hot",
    capacity: 8,
    code: { version: "1.0.0", functions: ["slow", "hold", "mark"] },
  });
  const proxy = await buyer.discover({ name: "hot", version: "^1", capacity: 8, waitFor: "all" });
  const holding = await proxy.begin("hold", { times: 2 });
  await until(async () => (await bob.count()).running === 2, "two run for long");
  const load = await proxy.begin("slow", { args: [5], times: UNTIL_FINISHED, callers: CALLERS });
  await until(async () => (await load.outcomes()).length > 300, "callers are at it");

  await shop.update({ version: "1.1.0" });
  await until(
    async () => (await load.outcomes()).at(-1)?.version === "1.1.0",
    "new code answers",
  );
  // Two calls of the old code still run, so it is still there.
  const during = (await bob.listeners()).find(({ module }) => module === "hot");
  expect(during?.codes.map(({ version }) => version)).toEqual(["1.1.0", "1.0.0"]);
  expect(await holding.outcomes()).toEqual([]);
  expect((await proxy.plb()).exports, "the proxy is the new code's").toContain("pi");

  const outcomes = await load.finish();
  expect(tally(outcomes)).toEqual({ ok: outcomes.length });
  const versions = outcomes.map(({ version }) => version);
  const turn = versions.indexOf("1.1.0");
  expect(turn).toBeGreaterThan(300);
  // Calls that ran at the moment of the change may still be answered after the first new answer.
  expect(versions.slice(turn + 8)).not.toContain("1.0.0");

  const isDropped = async () =>
    (await bob.events()).some(({ event }) => event === "old code dropped");
  expect(await isDropped()).toBe(false);
  await bob.release();
  expect(tally(await holding.all(), ({ version }) => version)).toEqual({ "1.0.0": 2 });
  await until(isDropped, "the old code is dropped");
  const after = (await bob.listeners()).find(({ module }) => module === "hot");
  expect(after?.codes.map(({ version }) => version)).toEqual(["1.1.0"]);
  expect((await bob.count()).most, "never above capacity").toBeLessThanOrEqual(8);
  await proxy.granted(8);
  await proxy.close();
  await shop.close();
});

test("a buyer that accepts the new version changes to it, and a buyer that doesn't stays on the old one", async () => {
  const shop = await ann.publish({ name: "both", capacity: 4, code: { version: "1.0.0" } });
  const range = await buyer.discover({ name: "both", version: "^1", capacity: 2, waitFor: "all" });
  const pin = await bob.discover({ name: "both", version: "1.0.0", capacity: 2, waitFor: "all" });
  await shop.update({ version: "1.5.0" });
  await until(async () => (await range.plb()).version === "1.5.0", "the range swaps");
  expect(tally(await range.many("mark", { args: [], times: 20 }), ({ result }) => result)).toEqual({
    "1.5.0": 20,
  });
  expect(tally(await pin.many("mark", { args: [], times: 20 }), ({ result }) => result)).toEqual({
    "1.0.0": 20,
  });
  const codes = async () =>
    (await ann.listeners()).find(({ module }) => module === "both")?.codes.map((code) =>
      code.version
    );
  expect(await codes()).toEqual(["1.5.0", "1.0.0"]);
  await range.granted(2);

  // Different code of the same version is treated as a new version.
  await shop.update({ version: "1.5.0", mark: "mended" });
  await until(async () => (await range.call("mark")).result === "mended", "the mended code runs");
  await shop.update({ version: "2.0.0" });
  expect((await range.call("mark")).result).toBe("mended");
  await Promise.all([pin.close(), range.close()]);
  await until(async () => String(await codes()) === "2.0.0", "the old ones are dropped");
  const newest = await buyer.discover({ name: "both", capacity: 4, waitFor: "all" });
  expect((await newest.call("mark")).version).toBe("2.0.0");
  await newest.close();
});
