/** Publishing, discovering, and never above capacity. */
import { expect, test } from "vitest";
import { calc, market, Shop, until } from "./market.ts";

test("what one node publishes another discovers and calls", async () => {
  const made = market();
  const [a, b] = [await made.node("a"), await made.node("b")];
  const shop = new Shop();
  const listener = a.publish(calc(shop), { capacity: 2 });
  const proxy = await b.discover("calc", { capacity: 2, version: "^1" });
  expect(await proxy.pi(4)).toBe("3.1415");
  expect(Object.keys(proxy)).toEqual(["fail", "hold", "pi"]);
  expect(proxy.$plb.capacity()).toBe(2);
  expect(listener.stats()).toMatchObject({ capacity: 2, granted: 2, free: 0, running: 0 });
  await proxy.$plb.close();
  await until(() => listener.stats().granted === 0, "the capacity is back");
});

test("a hundred calls at capacity 2 run two at a time; two more make it four", async () => {
  const made = market();
  const [a, b, c] = [await made.node("a"), await made.node("b"), await made.node("c")];
  const shop = new Shop();
  a.publish(calc(shop), { capacity: 2 });
  const proxy = await c.discover("calc", { capacity: 4 });
  expect(proxy.$plb.capacity()).toBe(2);
  const some = await Promise.all(Array.from({ length: 100 }, () => proxy.pi(2)));
  expect(some).toEqual(Array(100).fill("3.14"));
  expect(shop.most).toBe(2);
  b.publish(calc(shop), { capacity: 2 });
  await until(() => proxy.$plb.capacity() === 4, "the new capacity is bought");
  await Promise.all(Array.from({ length: 100 }, () => proxy.pi(2)));
  expect(shop.most).toBe(4);
  expect(shop.served).toBe(200);
});
