/** Covers src/lambda/bus/metrics.ts: counters per module, for modules that are traded. */
import { expect, test } from "vitest";
import { defineModule } from "../../mod.ts";
import { CallCounters, ModuleMetrics } from "../../src/lambda/bus/metrics.ts";
import { MAX_METERS } from "../../src/limits.ts";
import { calc, CallGate, LASTING, market } from "./market.ts";

const gone = { signal: AbortSignal.abort() };

test("names without a seller have no counters of their own and evict none", async () => {
  const made = market();
  const a = await made.node("a", LASTING);
  for (let n = 0; n < MAX_METERS + 4; n++) {
    await a.request(`junk${n}`, "f", [], gone).catch(() => {});
    await a.discover(`junk${n}` as "calc", gone).catch(() => {});
  }
  expect(a.stats().modules).toMatchObject([{ module: "other", calls: MAX_METERS + 4 }]);
  a.publish(calc(new CallGate()), { capacity: 1 });
  expect(await a.request("calc", "pi", [1])).toMatchObject({ result: "3.1" });
  const { modules, moduleCalls } = a.stats();
  const [named, other] = modules;
  expect(modules).toHaveLength(2);
  expect(named).toMatchObject({ module: "calc", calls: 1, used: 1 });
  expect(other).toMatchObject({ module: "other", calls: MAX_METERS + 4 });
  expect(moduleCalls).toBe(MAX_METERS + 5);
});

test("calls that wait for a seller are counted at once, and under their module once there is one", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const call = b.request("calc", "pi", [1]);
  expect(b.stats()).toMatchObject({
    moduleCalls: 1,
    moduleWaits: 1,
    moduleWaiting: 1,
    modules: [{ module: "other", calls: 0, waiting: 1 }],
  });
  a.publish(calc(new CallGate()), { capacity: 1 });
  await call;
  const { moduleCalls, moduleWaits, moduleWaitedMs, modules } = b.stats();
  expect({ moduleCalls, moduleWaits }).toEqual({ moduleCalls: 1, moduleWaits: 1 });
  expect(modules).toMatchObject([
    { module: "calc", calls: 1, waits: 1, waitedMs: moduleWaitedMs },
    { module: "other", calls: 0, waiting: 0 },
  ]);
});

test("new modules always get counters; of unused ones the least recently used are evicted", async () => {
  const made = market();
  const a = await made.node("a", LASTING);
  const count = MAX_METERS + 3;
  for (let n = 0; n < count; n++) {
    const functions = { f: () => n };
    const listener = a.publish(defineModule({ functions }), { name: `m${n}`, capacity: 1 });
    const proxy = await a.discover(`m${n}` as "calc");
    expect(await proxy.$plb.call("f", [])).toMatchObject({ result: n });
    await proxy.$plb.close();
    await listener.close();
    expect(a.stats().modules.some(({ module }) => module === `m${n}`)).toBe(true);
  }
  const { modules, moduleCalls, creditsUsed } = a.stats();
  const of = (name: string) => modules.find(({ module }) => module === name);
  expect(modules).toHaveLength(MAX_METERS + 1);
  expect(of("m0")).toBeUndefined();
  expect(of(`m${count - 1}`)).toMatchObject({ calls: 1, used: 1 });
  expect(of("other")).toMatchObject({ calls: 3, used: 3 });
  expect({ moduleCalls, creditsUsed }).toEqual({ moduleCalls: count, creditsUsed: count });
});

test("counters in use or not settled are kept; modules beyond the limit share one set", () => {
  const meters = new ModuleMetrics();
  const holds = Array.from({ length: MAX_METERS }, (_, n) => meters.acquire(`m${n}`));
  const late = meters.acquire("late");
  expect(meters.nameOf("late")).toBe("other");
  holds[3]?.release();
  holds[5]?.release();
  (holds[3] as typeof late).counters.running = 1;
  const next = meters.acquire("next");
  expect(["m3", "m5", "next"].map((name) => meters.nameOf(name))).toEqual(["m3", "other", "next"]);
  // A module that shares the set evicts none.
  late.release();
  next.counters.calls++;
  const tally = new CallCounters(meters, "next");
  next.release();
  tally.add("calls", 1);
  meters.acquire("more");
  expect(meters.nameOf("more")).toBe("other");
  expect(meters.total([]).calls).toBe(2);
});

test("a module may be named other", () => {
  const meters = new ModuleMetrics();
  meters.acquire("other").counters.calls++;
  new CallCounters(meters, "nobody's").end();
  expect([...meters]).toMatchObject([["other", { calls: 1 }]]);
});
