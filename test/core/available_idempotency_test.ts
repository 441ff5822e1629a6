/**
 * Types with `partition: "available"` and calls with idempotency keys while the store is away: a
 * new key is served, a known one is answered again or refused, and no call runs twice.
 */
import { expect, test } from "vitest";
import { AtlasError, type CallResult } from "../../mod.ts";
import { IDEMPOTENCY_MS, PRUNE_DELAY_MS } from "../../src/limits.ts";
import { add, clock, cutOff, heal, member, type Node, one } from "./available.ts";

/** More answers than a node caches. */
const MANY = 150;

function keyed(node: Node, note: string, idempotencyKey: string, id = "x"): Promise<CallResult> {
  const options = { idempotencyKey, timeoutMs: 2_000 };
  return clock.run(node.call("notes", id, "add", [note], options));
}

async function all(node: Node, id = "x"): Promise<unknown> {
  return (await clock.run(node.call("notes", id, "all", []))).result;
}

const unknown = {
  code: "unavailable",
  maybeExecuted: false,
  message: expect.stringMatching(/^notes\/\w+ goes on .* idempotency key "\w+" was answered/),
};

test("a new idempotency key is served once, however many keys came before", async () => {
  const { a } = await one();
  for (let n = 0; n < MANY; n++) await keyed(a.node, `${n}`, `k${n}`);
  await cutOff(a);
  const first = await keyed(a.node, "new", "new");
  expect(first).toMatchObject({ verdict: "suspect" });
  expect((await keyed(a.node, "new", "new")).result).toEqual(first.result);
  expect((await keyed(a.node, `${MANY - 1}`, `k${MANY - 1}`)).result).toHaveLength(MANY);
  // This key was answered long ago: only the store has the answer.
  await expect(keyed(a.node, "0", "k0")).rejects.toMatchObject(unknown);
  await heal(a);
  expect((await keyed(a.node, "new", "new")).result).toEqual(first.result);
  expect((await keyed(a.node, "0", "k0")).result).toEqual(["0"]);
  expect(await all(a.node)).toHaveLength(MANY + 1);
});

test("a key is served if the state has no answers yet", async () => {
  const { a } = await one();
  await add(a.node, "x", "1");
  await clock.run(a.node.call("notes", "y", "visit", []));
  await cutOff(a);
  expect((await keyed(a.node, "2", "k")).result).toEqual(["1", "2"]);
  expect((await keyed(a.node, "2", "k")).result).toEqual(["1", "2"]);
  await heal(a);
  expect((await keyed(a.node, "2", "k")).result).toEqual(["1", "2"]);
});

test("a key that a former owner did not answer is served, and one that it answered is refused", async () => {
  const { made, a } = await one();
  await keyed(a.node, "1", "k1");
  await clock.run(a.node.drain());
  const b = await member(made, "b");
  expect(await all(b.node)).toEqual(["1"]);
  await cutOff(b);
  await expect(keyed(b.node, "1", "k1")).rejects.toMatchObject(unknown);
  expect((await keyed(b.node, "2", "k2")).result).toEqual(["1", "2"]);
  await heal(b);
  expect((await keyed(b.node, "1", "k1")).result).toEqual(["1"]);
  expect(await all(b.node)).toEqual(["1", "2"]);
});

test("no key is served while it is unknown which keys have answers", async () => {
  const { made, a } = await one();
  await keyed(a.node, "1", "k1");
  await clock.run(a.node.drain());
  const b = await member(made, "b");
  const { range } = made.store;
  made.store.range = () => Promise.reject(new AtlasError("unavailable", "not by the page"));
  await all(b.node);
  await cutOff(b);
  made.store.range = range;
  await expect(keyed(b.node, "2", "k2")).rejects.toMatchObject(unknown);
  await expect(keyed(b.node, "2", "k2", "unknown")).rejects.toMatchObject(unknown);
  await heal(b);
  expect((await keyed(b.node, "2", "k2")).result).toEqual(["1", "2"]);
});

test("a key counts as new again once its answer was dropped", async () => {
  const { a } = await one();
  await keyed(a.node, "1", "k");
  for (let n = 0; n < 12; n++) {
    await clock.advance(PRUNE_DELAY_MS);
    await add(a.node, "x", `${n}`);
  }
  await clock.advance(IDEMPOTENCY_MS / 10);
  await add(a.node, "x", "awake");
  await cutOff(a);
  const before = await all(a.node) as string[];
  expect((await keyed(a.node, "again", "k")).result).toEqual([...before, "again"]);
});
