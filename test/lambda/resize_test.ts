/** Covers src/lambda/buy/allocation.ts: resizing a load balancer. */
import { expect, test } from "vitest";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

test("resize buys more as it is sold, returns unwanted capacity, and running calls finish", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  const listener = a.publish(calc(gate), { capacity: 8 });
  const proxy = await b.discover("calc", { capacity: 2 });
  expect(proxy.$plb.capacity()).toBe(2);
  proxy.$plb.resize(6);
  await until(() => proxy.$plb.capacity() === 6, "four more are bought");
  const calls = [1, 2, 3, 4, 5, 6].map((n) => proxy.hold(n));
  await until(() => gate.running === 6, "six run");
  proxy.$plb.resize(3);
  expect(proxy.$plb.stats().wanted).toBe(3);
  await until(() => proxy.$plb.stats().granted === 3, "three are kept");
  gate.open();
  expect(await Promise.all(calls)).toEqual([1, 2, 3, 4, 5, 6]);
  await until(() => listener.stats().granted === 3, "three are given back");
  await until(() => proxy.$plb.capacity() === 3, "all that is kept can be used");
  gate.most = 0;
  await Promise.all(Array.from({ length: 20 }, () => proxy.pi(1)));
  expect(gate.most).toBe(3);
});

test("noWait calls find credit while capacity is returned and bought", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 4 });
  const proxy = await b.discover("calc", { capacity: 4, waitFor: "all" });
  let isOver = false;
  const caller = (async () => {
    let calls = 0;
    for (; !isOver; calls++) await proxy.$plb.call("pi", [1], { noWait: true });
    return calls;
  })();
  for (const capacity of [2, 1, 3, 1, 4, 2]) {
    proxy.$plb.resize(capacity);
    await until(() => proxy.$plb.stats().granted === capacity, `${capacity} are held`);
  }
  isOver = true;
  expect(await caller).toBeGreaterThan(0);
});

test("waiting calls are not lost when capacity is returned", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 4 });
  const proxy = await b.discover("calc", { capacity: 4 });
  const calls = Array.from({ length: 50 }, (_, n) => proxy.hold(n));
  proxy.$plb.resize(1);
  gate.open();
  expect(await Promise.all(calls)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  expect(gate.most).toBeLessThanOrEqual(4);
});

test("remote capacity is returned first; spread capacity stays spread", async () => {
  const made = market();
  for (const [name, region] of [["a", "home"], ["b", "away"], ["c", "away"]] as const) {
    (await made.node(name, { region, ...LASTING })).publish(calc(new CallGate()), { capacity: 3 });
  }
  const buyer = await made.node("buyer", { region: "home", ...LASTING });
  const held = (plb: { stats(): ReturnType<typeof proxy["$plb"]["stats"]> }) =>
    plb.stats().channels.filter(({ draining }) => !draining)
      .map(({ node, grant }) => `${node} ${grant}`).sort().join();
  const proxy = await buyer.discover("calc", { capacity: 9, waitFor: "all" });
  proxy.$plb.resize(2);
  await until(() => held(proxy.$plb) === "a 2", "only near capacity is kept");
  await proxy.$plb.close();
  const spread = await buyer.discover("calc", { capacity: 9, prefer: "spread", waitFor: "all" });
  spread.$plb.resize(3);
  await until(() => held(spread.$plb) === "a 1,b 1,c 1", "one of each is kept");
});

test("invalid capacities are rejected", async () => {
  const a = await market().node("a", LASTING);
  a.publish(calc(new CallGate()), { capacity: 1 });
  const { $plb } = await a.discover("calc");
  expect(() => $plb.resize(0)).toThrow(expect.objectContaining({
    code: "bad_request",
    message: "capacity is 0, it must be a whole number from 1 to 65536",
  }));
  await $plb.close();
  expect(() => $plb.resize(2)).toThrow(expect.objectContaining({ code: "unavailable" }));
});
