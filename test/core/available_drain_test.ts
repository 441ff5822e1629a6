/**
 * Types with `partition: "available"`: a draining node commits the turns that it kept while the
 * store was away.
 */
import { expect, test } from "vitest";
import { add, clock, cutOff, member, one, seen, until } from "./available.ts";

async function kept() {
  const { made, a } = await one();
  await add(a.node, "x", "1");
  await cutOff(a);
  expect((await add(a.node, "x", "2")).verdict).toBe("suspect");
  return { made, a };
}

test("a draining node commits its kept turns if the store returns in time", async () => {
  const { made, a } = await kept();
  const closed = a.node.close({ drainMs: 10_000 });
  await clock.advance(2_000);
  expect(a.node.state).toBe("draining");
  // Meanwhile it serves its own resources, and claims no others.
  expect((await add(a.node, "x", "3")).result).toEqual(["1", "2", "3"]);
  await expect(clock.run(a.node.call("notes", "new", "visit", [], { timeoutMs: 5_000 }))).rejects
    .toMatchObject({ code: "unavailable" });
  a.connection.isCut = false;
  await clock.run(closed);
  expect(seen).toEqual(["stop x drain"]);
  const lines = made.events.map(({ event }) => event);
  expect(lines).toEqual(expect.arrayContaining(["reconciled", "left", "closed"]));
  expect(lines).not.toContain("offline turns lost");
  const b = await member(made, "b");
  expect(await add(b.node, "x", "4")).toMatchObject({ result: ["1", "2", "3", "4"] });
});

test("a draining node commits its kept turns if the store is reachable only twice, for a moment each", async () => {
  const { made, a } = await kept();
  const closed = a.node.close({ drainMs: 30_000 });
  a.connection.isCut = false;
  await until(() => a.node.stats().offlineTurnsCommitted === 1, "they are committed");
  a.connection.isCut = true;
  await clock.advance(3_000);
  a.connection.isCut = false;
  await clock.run(closed);
  expect(made.events.map(({ event }) => event)).not.toContain("offline turns lost");
  const b = await member(made, "b");
  await until(async () => {
    const answer = await clock.run(b.node.call("notes", "x", "all", [])).catch(() => null);
    return String(answer?.result) === "1,2";
  }, "another has it");
});

test("a node without kept turns drains at once", async () => {
  const { a } = await one();
  await add(a.node, "x", "1");
  await cutOff(a);
  expect((await clock.run(a.node.call("notes", "x", "all", []))).verdict).toBe("suspect");
  const since = clock.now();
  await clock.run(a.node.close({ drainMs: 60_000 }));
  expect(clock.now() - since).toBeLessThan(10_000);
});

test("a requested drain waits for kept turns, and ends if another owner has won", async () => {
  const { made, a } = await kept();
  const b = await member(made, "b");
  await until(
    async () => (await made.store.members()).members.some((it) => it.state === "dead"),
    "a is dead",
  );
  await clock.run(b.node.call("notes", "x", "add", ["b"]));
  const drained = a.node.drain();
  await clock.advance(2_000);
  a.connection.isCut = false;
  await clock.run(drained);
  expect(seen[0]).toBe("conflict x rrp:local/b/notes/x 1,2");
  expect((await clock.run(b.node.call("notes", "x", "all", []))).result).toEqual(["1", "b", "2"]);
  expect(a.node.stats()).toMatchObject({ offlineResources: 0, conflictsLost: 1 });
});
