/** Publishing, discovering and calling a module within its capacity. */
import { expect, test } from "vitest";
import { calc, CallGate, market, until } from "./market.ts";

test("a node discovers and calls a module that another node publishes", async () => {
  const made = market();
  const [a, b] = [await made.node("a"), await made.node("b")];
  const gate = new CallGate();
  const listener = a.publish(calc(gate), { capacity: 2 });
  const proxy = await b.discover("calc", { capacity: 2, version: "^1" });
  expect(await proxy.pi(4)).toBe("3.1415");
  expect(Object.keys(proxy)).toEqual(["fail", "hold", "pi"]);
  expect(proxy.$plb.capacity()).toBe(2);
  expect(listener.stats()).toMatchObject({ capacity: 2, granted: 2, free: 0, running: 0 });
  await proxy.$plb.close();
  await until(() => listener.stats().granted === 0, "the capacity is back");
});

test("with capacity 2, 100 calls run two at a time; after buying two more, four at a time", async () => {
  const made = market();
  const [a, b, c] = [await made.node("a"), await made.node("b"), await made.node("c")];
  const gate = new CallGate();
  a.publish(calc(gate), { capacity: 2 });
  const proxy = await c.discover("calc", { capacity: 4 });
  expect(proxy.$plb.capacity()).toBe(2);
  const some = await Promise.all(Array.from({ length: 100 }, () => proxy.pi(2)));
  expect(some).toEqual(Array(100).fill("3.14"));
  expect(gate.most).toBe(2);
  b.publish(calc(gate), { capacity: 2 });
  await until(() => proxy.$plb.capacity() === 4, "the new capacity is bought");
  await Promise.all(Array.from({ length: 100 }, () => proxy.pi(2)));
  expect(gate.most).toBe(4);
  expect(gate.served).toBe(200);
});
