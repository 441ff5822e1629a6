/**
 * Covers src/lambda/buy/shared_requests.ts: calls by `request`, which share a load balancer of
 * their node.
 */
import { expect, test } from "vitest";
import { fakeClock } from "../../testing.ts";
import { calc, CallGate, LASTING, market, until } from "./market.ts";

test("100 requests run two at a time, four after two more are sold, and then capacity is returned", async () => {
  const made = market();
  const [a, b, c] = [
    await made.node("a", LASTING),
    await made.node("b", LASTING),
    await made.node("c", LASTING),
  ];
  const gate = new CallGate();
  const one = a.publish(calc(gate), { capacity: 2 });
  const burst = (): Promise<unknown>[] =>
    Array.from({ length: 100 }, (_, n) => c.request("calc", "hold", [n]));
  const calls = burst();
  await until(() => gate.running === 2, "two run");
  expect(c.stats()).toMatchObject({ moduleWaiting: 98 });
  const two = b.publish(calc(gate), { capacity: 2 });
  await until(() => gate.running === 4, "four run");
  gate.open();
  const answers = await Promise.all(calls) as { result: number; node: string; version: string }[];
  expect(answers.map(({ result }) => result)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(new Set(answers.map(({ node, version }) => `${node} ${version}`))).toEqual(
    new Set(["a 1.0.0", "b 1.0.0"]),
  );
  expect(gate.most).toBe(4);
  const granted = (): number => one.stats().granted + two.stats().granted;
  await until(() => granted() === 0, "unneeded capacity is returned");
  expect(await c.request("calc", "pi", [2])).toMatchObject({ result: "3.14" });
});

test("requests wait in order of arrival, and abandoned ones spend no credit", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  const order: number[] = [];
  const abort = new AbortController();
  const calls = [0, 1, 2, 3].map((n) =>
    b.request("calc", "hold", [n], n === 2 ? { signal: abort.signal } : {})
      .then(() => order.push(n), (error) => error)
  );
  abort.abort(new Error("no more"));
  expect(await calls[2]).toMatchObject({ code: "timeout", maybeExecuted: false });
  gate.open();
  a.publish(calc(gate), { capacity: 1 });
  await Promise.all(calls);
  expect(order).toEqual([0, 1, 3]);
  expect(gate.served).toBe(3);
});

test("each range has its own load balancer; without a range the newest stable version runs", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const gate = new CallGate();
  a.publish(calc(gate, "1.0.0"), { capacity: 1 });
  a.publish(calc(gate, "2.0.0"), { capacity: 1 });
  const asked = ["^1", undefined, "2.0.0"].map((version) =>
    b.request("calc", "pi", [1], version === undefined ? {} : { version })
  );
  expect((await Promise.all(asked)).map(({ version }) => version))
    .toEqual(["1.0.0", "2.0.0", "2.0.0"]);
});

test("each failure has its own error code", async () => {
  const clock = fakeClock();
  const made = market(clock);
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  const early = b.request("calc", "pi", [], { timeoutMs: 60, version: "^1" });
  await expect(clock.run(early)).rejects.toMatchObject({
    code: "unavailable",
    message: "nobody sold any within 60 ms: capacity 1 of calc, ^1",
    maybeExecuted: false,
  });
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 1 });
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
  await until(() => gate.running === 1, "it runs");
  const late = b.request("calc", "pi", [], { timeoutMs: 50 });
  await expect(clock.run(late)).rejects.toMatchObject({ code: "timeout", maybeExecuted: false });
  await expect(clock.run(held)).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
});

test("a draining node sells nothing, and buys until it is closed", async () => {
  const made = market();
  const [a, b] = [await made.node("a", LASTING), await made.node("b", LASTING)];
  a.publish(calc(new CallGate()), { capacity: 2 });
  const proxy = await b.discover("calc");
  await b.drain();
  expect(() => b.publish(calc(new CallGate()), { capacity: 1 })).toThrow("the node is draining");
  expect(await proxy.pi(1)).toBe("3.1");
  expect(await b.request("calc", "pi", [1])).toMatchObject({ result: "3.1", node: "a" });
  await b.close();
  await expect(b.request("calc", "pi", [1])).rejects.toMatchObject({ code: "unavailable" });
});
