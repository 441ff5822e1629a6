/** Calls that buy nothing for themselves: they share what their node buys for all of them. */
import { expect, test } from "vitest";
import { fakeClock } from "../../testing.ts";
import { calc, LASTING, market, Shop, until } from "./market.ts";

test("a hundred requests run two at a time, two more make it four, and then it is given back", async () => {
  const made = market();
  const [a, b, c] = [
    await made.node("a", LASTING),
    await made.node("b", LASTING),
    await made.node("c", LASTING),
  ];
  const shop = new Shop();
  const one = a.publish(calc(shop), { capacity: 2 });
  const burst = (): Promise<unknown>[] =>
    Array.from({ length: 100 }, (_, n) => c.request("calc", "hold", [n]));
  const calls = burst();
  await until(() => shop.running === 2, "two run");
  expect(c.stats()).toMatchObject({ moduleWaiting: 98 });
  const two = b.publish(calc(shop), { capacity: 2 });
  await until(() => shop.running === 4, "four run");
  shop.open();
  const answers = await Promise.all(calls) as { result: number; node: string; version: string }[];
  expect(answers.map(({ result }) => result)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(new Set(answers.map(({ node, version }) => `${node} ${version}`))).toEqual(
    new Set(["a 1.0.0", "b 1.0.0"]),
  );
  expect(shop.most).toBe(4);
  const granted = (): number => one.stats().granted + two.stats().granted;
  await until(() => granted() === 0, "what nobody needs is given back");
  expect(await c.request("calc", "pi", [2])).toMatchObject({ result: "3.14" });
});

test("callers wait in the order in which they came, and those who gave up spend nothing", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const shop = new Shop();
  const order: number[] = [];
  const abort = new AbortController();
  const calls = [0, 1, 2, 3].map((n) =>
    b.request("calc", "hold", [n], n === 2 ? { signal: abort.signal } : {})
      .then(() => order.push(n), (error) => error)
  );
  abort.abort(new Error("no more"));
  expect(await calls[2]).toMatchObject({ code: "timeout", maybeExecuted: false });
  shop.open();
  a.publish(calc(shop), { capacity: 1 });
  await Promise.all(calls);
  expect(order).toEqual([0, 1, 3]);
  expect(shop.served).toBe(3);
});

test("each range has its own; without one it is the newest stable", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const shop = new Shop();
  a.publish(calc(shop, "1.0.0"), { capacity: 1 });
  a.publish(calc(shop, "2.0.0"), { capacity: 1 });
  const asked = ["^1", undefined, "2.0.0"].map((version) =>
    b.request("calc", "pi", [1], version === undefined ? {} : { version })
  );
  expect((await Promise.all(asked)).map(({ version }) => version))
    .toEqual(["1.0.0", "2.0.0", "2.0.0"]);
});

test("what goes wrong is told as it is", async () => {
  const clock = fakeClock();
  const made = market(clock);
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const early = b.request("calc", "pi", [], { timeoutMs: 60, version: "^1" });
  await expect(clock.run(early)).rejects.toMatchObject({
    code: "unavailable",
    message: "nobody sold any within 60 ms: capacity 1 of calc, ^1",
    maybeExecuted: false,
  });
  const shop = new Shop();
  a.publish(calc(shop), { capacity: 1 });
  const rejects = (args: Parameters<typeof b.request>, error: object) =>
    expect(b.request(...args)).rejects.toMatchObject(error);
  await rejects(["calc", "nothing", []], {
    code: "not_found",
    message: 'calc 1.0.0 has no function "nothing"; it has: fail, hold, pi',
    maybeExecuted: false,
  });
  await rejects(["calc", "constructor", []], {
    code: "not_found",
    message: 'calc has no function "constructor"; names of hooks (onStart), of Object\'s own and ' +
      "names that begin with _ or $ are not allowed",
  });
  await rejects(["a/b", "pi", []], { code: "invalid_rrp" });
  await rejects(["calc", "pi", [], { version: "one" }], { code: "bad_request" });
  await rejects(["calc", "pi", [], { timeoutMs: 0 }], { code: "bad_request" });
  await rejects(["calc", "pi", [() => 1]], { code: "bad_request", maybeExecuted: false });
  await rejects(["calc", "fail", []], { code: "app", maybeExecuted: true });
  const held = b.request("calc", "hold", [1], { timeoutMs: 200 });
  await until(() => shop.running === 1, "it runs");
  const late = b.request("calc", "pi", [], { timeoutMs: 50 });
  await expect(clock.run(late)).rejects.toMatchObject({ code: "timeout", maybeExecuted: false });
  await expect(clock.run(held)).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
});

test("a node that drains offers nothing more, and still buys until it is closed", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  a.publish(calc(new Shop()), { capacity: 2 });
  const proxy = await b.discover("calc");
  await b.drain();
  expect(() => b.publish(calc(new Shop()), { capacity: 1 })).toThrow("the node is draining");
  expect(await proxy.pi(1)).toBe("3.1");
  expect(await b.request("calc", "pi", [1])).toMatchObject({ result: "3.1", node: "a" });
  await b.close();
  await expect(b.request("calc", "pi", [1])).rejects.toMatchObject({ code: "unavailable" });
});
