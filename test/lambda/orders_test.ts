/** Several orders at once from one listener, and from one load balancer. */
import { expect, test } from "vitest";
import type { DiscoverOptions, PublishOptions } from "../../mod.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

test("a proxy buys with several orders, and calls use the channels of all of them", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  gate.open();
  a.publish(calc(gate, "1.0.0"), { capacity: 8 });
  a.publish(calc(gate, "2.0.0"), { capacity: 8 });
  const proxy = await b.discover("calc", {
    orders: [{ version: "^1", capacity: 3 }, { version: "^2" }],
    waitFor: "all",
  });
  const { wanted, granted, orders } = proxy.$plb.stats();
  expect([wanted, granted]).toEqual([4, 4]);
  expect(orders.map(({ version, wanted, granted }) => [version, wanted, granted])).toEqual([
    ["^1", 3, 3],
    ["^2", 1, 1],
  ]);
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => proxy.$plb.call("hold", [1])),
  );
  expect(answers.map(({ version }) => version).sort()).toEqual([
    "1.0.0",
    "1.0.0",
    "1.0.0",
    "2.0.0",
  ]);
  const [book] = await a.exchange("calc");
  expect(book?.orders.filter(({ side }) => side === "buy").map(({ version }) => version).sort())
    .toEqual(["^1", "^2"]);
  proxy.$plb.resize(2);
  await until(() => proxy.$plb.stats().granted === 2, "half is given back");
  expect(proxy.$plb.stats().orders.map(({ granted }) => granted)).toEqual([2, 0]);
  proxy.$plb.resize(8);
  await until(() => proxy.$plb.stats().granted === 8, "more is bought");
  expect(proxy.$plb.stats().orders.map(({ granted }) => granted)).toEqual([6, 2]);
  await proxy.$plb.close();
  await until(async () => {
    const [book] = await a.exchange("calc");
    return book?.orders.every(({ side }) => side === "sell");
  }, "its orders are gone");
});

test("an order without a seller does not block other orders", async () => {
  const made = market();
  const a = await made.node("a", LASTING);
  const gate = new CallGate();
  a.publish(calc(gate, "1.0.0"), { capacity: 2 });
  const options: DiscoverOptions = { orders: [{ version: "^1" }, { version: "^9" }] };
  const proxy = await a.discover("calc", options);
  expect(await proxy.pi(1)).toBe("3.1");
  await expect(a.discover("calc", { ...options, waitFor: "all", timeoutMs: 200 })).rejects
    .toMatchObject({
      code: "unavailable",
      message: "nobody sold all of it within 200 ms: capacity 2 of calc, ^1 and ^9",
    });
  a.publish(calc(gate, "9.0.0"), { capacity: 1 });
  await until(() => proxy.$plb.stats().granted === 2, "the other is served, too");
});

test("a listener can reserve capacity for buyers of some regions", async () => {
  const made = market();
  const a = await made.node("a", { region: "home", ...LASTING });
  const b = await made.node("b", { region: "away", ...LASTING });
  const gate = new CallGate();
  const listener = a.publish(calc(gate), {
    orders: [{ capacity: 2, regions: ["home"] }, { capacity: 3 }],
  });
  const far = await b.discover("calc", { capacity: 9 });
  await until(() => far.$plb.stats().granted === 3, "all is bought that is for everybody");
  const near = await a.discover("calc", { capacity: 9 });
  await until(() => near.$plb.stats().granted === 2, "the rest is for buyers nearby");
  expect(listener.stats()).toMatchObject({ capacity: 5, granted: 5, free: 0 });
  expect(
    listener.stats().orders.map(({ capacity, granted, regions }) => [capacity, granted, regions]),
  )
    .toEqual([[2, 2, ["home"]], [3, 3, []]]);
  const [book] = await a.exchange("calc");
  expect(book?.orders.filter(({ side }) => side === "sell")).toHaveLength(2);
  const calls = Array.from({ length: 20 }, () => [near.hold(1), far.hold(1)]).flat();
  await until(() => gate.running === 5, "all capacity is in use");
  gate.open();
  await Promise.all(calls);
  expect(gate.most).toBe(5);
  await near.$plb.close();
  await until(() => listener.stats().granted === 3, "the reserved capacity is free again");
  expect(far.$plb.stats().granted).toBe(3);
});

test("invalid orders are rejected", async () => {
  const a = await market().node("a", LASTING);
  const module = calc(new CallGate());
  const list = "it must be a list of 1 to 16 orders";
  for (
    const [options, message] of [
      [{ orders: [] }, `orders is [], ${list}`],
      [{ orders: {} }, `orders is {}, ${list}`],
      [{ orders: Array(17).fill({ capacity: 1 }) }, list],
      [{ orders: [{ capacity: 0 }] }, "orders[0].capacity is 0, it must be a whole number"],
      [{ orders: [{ capacity: 1 }], capacity: 2 }, "capacity and orders are both given"],
      [{ orders: [{ capacity: 65_536 }, { capacity: 1 }] }, "the capacity of all orders is 65537"],
      [{ orders: [{ capacity: 1, size: 2 }] }, 'there is no option "size"'],
      [{ orders: [null] }, "options is null, it must be an object"],
    ] as const
  ) {
    const refused = expect.objectContaining({
      code: "bad_request",
      message: expect.stringContaining(message),
    });
    expect(() => a.publish(module, options as unknown as PublishOptions)).toThrow(refused);
    await expect(a.discover("calc", options as unknown as DiscoverOptions)).rejects.toEqual(
      refused,
    );
  }
  expect(() => a.publish(module, { orders: [{ capacity: 1, regions: "r" as never }] })).toThrow(
    'orders[0].regions is "r", it must be a list of at most 64 names',
  );
  await expect(a.discover("calc", { orders: [{ version: "x.y" }] })).rejects.toMatchObject({
    code: "bad_request",
  });
  await expect(a.discover("calc", { version: "1", orders: [{}] })).rejects.toMatchObject({
    message: "version and orders are both given: each order has its own",
  });
});
