/**
 * Answers for idempotency keys over a node's life: compared by value, and dropped after their
 * time.
 *
 * Covers src/resource/expired_answers.ts.
 */
import { expect, test } from "vitest";
import { defineApp, inProcessNetwork, memoryStore, Resource, type Store } from "../../mod.ts";
import { fakeClock, testNode } from "../../testing.ts";

class Counter extends Resource {
  async add(n: number): Promise<number> {
    const total = ((await this.storage.get<number>("total")) ?? 0) + n;
    await this.storage.put("total", total);
    return total;
  }

  async clear(_options: unknown): Promise<string> {
    await this.storage.delete("total");
    return "cleared";
  }

  async touch(): Promise<void> {
    await this.storage.get("total");
  }
}

const app = defineApp({ resources: { counters: { class: Counter, idleAfterMs: 30_000 } } });
const KEY = "counters/a";
const MINUTE = 60_000;

const fieldsOf = async (store: Store): Promise<string[]> => {
  const range = { start: "", end: "\u{10ffff}", limit: 1_000, reverse: false };
  return (await store.range(KEY, range)).map(([field]) => field);
};

const isAnswer = (field: string): boolean => !field.startsWith("s:");

test("a key used again with other arguments is refused, and runs nothing", async () => {
  const { node, clock, close } = await testNode(app);
  const add = (n: unknown) =>
    node.call("counters", "a", "add", [n], { idempotencyKey: "once" }).then(({ result }) => result);
  expect(await add(2)).toBe(2);
  expect(await add(2)).toBe(2);
  await expect(add(3)).rejects.toMatchObject({
    code: "bad_request",
    maybeExecuted: false,
    message: expect.stringContaining(
      'the idempotency key "once" was already used for "add" with other',
    ),
  });
  await expect(add("2")).rejects.toMatchObject({ code: "bad_request" });
  const clear = (options: object) =>
    node.call("counters", "a", "clear", [options], { idempotencyKey: "twice" });
  await clear({ a: 1, b: { c: [1, 2], d: undefined } });
  expect((await clear({ b: { c: [1, 2] }, a: 1 })).result).toBe("cleared");
  await expect(clear({ b: { c: [2, 1] }, a: 1 })).rejects.toMatchObject({ code: "bad_request" });
  // The same if the answer has to be read from the store.
  await clock.advance(MINUTE);
  expect(node.stats().resources).toBe(0);
  await expect(add(3)).rejects.toMatchObject({ code: "bad_request" });
  expect(await add(2)).toBe(2);
  await close();
});

test("answers of a resource that is no longer called are dropped in time", async () => {
  const store = memoryStore();
  const { node, clock, close } = await testNode(app, { store });
  for (let n = 0; n < 3; n++) {
    await node.resource("counters", "a", { idempotencyKey: `k${n}` }).add(1);
  }
  await clock.advance(2 * MINUTE);
  expect(node.stats().resources).toBe(0);
  expect((await fieldsOf(store)).filter(isAnswer).length).toBeGreaterThan(3);
  await clock.advance(12 * MINUTE);
  expect(await fieldsOf(store)).toEqual(["s:total"]);
  expect(await store.lookup(KEY)).toBeNull();
  expect(await node.resource("counters", "a").add(1)).toBe(4);
  await close();
});

test("an answer that is dropped last leaves no state behind", async () => {
  const store = memoryStore();
  const { node, clock, close } = await testNode(app, { store });
  await node.resource("counters", "a", { idempotencyKey: "k1" }).add(1);
  await node.resource("counters", "a", { idempotencyKey: "k2" }).clear(null);
  await clock.advance(15 * MINUTE);
  expect(await fieldsOf(store)).toEqual([]);
  const claim = { key: KEY, rrp: `rrp:x/y/${KEY}`, incarnation: "i", opId: "o", expected: null };
  expect((await store.claim(claim)).last).toEqual({ epoch: 0, turn: 0 });
  await close();
});

test("answers of a resource that is called without keys are dropped while it is awake", async () => {
  const store = memoryStore();
  const { node, clock, close } = await testNode(app, { store });
  await node.resource("counters", "a", { idempotencyKey: "k" }).add(1);
  for (let half = 0; half < 26; half++) {
    await clock.advance(MINUTE / 2);
    await node.resource("counters", "a").touch().catch(() => {});
    expect(node.stats().resources).toBe(1);
  }
  expect(await fieldsOf(store)).toEqual(["s:total"]);
  await close();
});

test("answers of a former owner are dropped by the next, without a keyed call", async () => {
  const store = memoryStore();
  const network = inProcessNetwork();
  const clock = fakeClock();
  const one = await testNode(app, { store, network, clock, node: "one" });
  await one.node.resource("counters", "a", { idempotencyKey: "k" }).add(1);
  await one.close();
  const other = await testNode(app, { store, network, clock, node: "other" });
  await clock.advance(15 * MINUTE);
  expect((await fieldsOf(store)).filter(isAnswer).length).toBeGreaterThan(0);
  await clock.run(other.node.resource("counters", "a").touch());
  await clock.advance(2 * MINUTE);
  expect(await fieldsOf(store)).toEqual(["s:total"]);
  expect(other.node.stats().resources).toBe(0);
  await other.close();
});
