/**
 * Types with `partition: "available"`: what a node serves while the store is unreachable, how it
 * marks answers, and how turns are reconciled when the store is back.
 *
 * Covers src/resource/offline_log.ts and src/resource/reconciliation.ts.
 */
import { describe, expect, test } from "vitest";
import type { CallResult } from "../../mod.ts";
import { MAX_OFFLINE_CHARACTERS, MAX_OFFLINE_TURNS } from "../../src/limits.ts";
import { OfflineLog } from "../../src/resource/offline_log.ts";
import { add, clock, cutOff, heal, member, one, seen, until } from "./available.ts";

describe("while the store is unreachable", () => {
  test("an available resource serves and marks its answers; a fenced one refuses", async () => {
    const { a } = await one();
    const before = await add(a.node, "x", "1");
    expect(before.verdict).toBeUndefined();
    await add(a.node, "x", "1", "fenced");
    await cutOff(a);
    expect(await add(a.node, "x", "2")).toMatchObject({
      result: ["1", "2"],
      epoch: before.epoch,
      verdict: "suspect",
    });
    await expect(add(a.node, "x", "2", "fenced")).rejects.toMatchObject({
      code: "unavailable",
      maybeExecuted: false,
    });
    const { rrp, epoch } = before;
    expect(await clock.run(a.node.lookup("notes", "x"))).toMatchObject({
      rrp,
      epoch,
      verdict: "suspect",
    });
    await expect(clock.run(a.node.lookup("notes", "x", { require: "confirmed" }))).rejects
      .toMatchObject({
        code: "unavailable",
      });
    expect(a.node.stats().offlineResources).toBe(1);
    await heal(a);
    const after = await add(a.node, "x", "3");
    expect(after.result).toEqual(["1", "2", "3"]);
    expect(after.verdict).toBeUndefined();
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(a.node.stats()).toMatchObject({
      offlineTurnsCommitted: 1,
      offlineTurnsLost: 0,
      conflictsLost: 0,
    });
    expect(seen).toEqual(["stop x fenced"]);
  });

  test("callers at other nodes get the mark", async () => {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(a.node, "x", "1");
    await add(b.node, "x", "2");
    await Promise.all([cutOff(a), cutOff(b)]);
    expect(await add(b.node, "x", "3")).toMatchObject({
      result: ["1", "2", "3"],
      verdict: "suspect",
      path: ["local/b", "local/a"],
    });
    await Promise.all([heal(a), heal(b)]);
    await until(async () => {
      // The link to a's former incarnation may break during a call.
      const answer = await clock.run(b.node.call("notes", "x", "all", [])).catch(() => null);
      return answer && !answer.verdict;
    }, "answers have no mark any more");
    expect((await clock.run(b.node.call("notes", "x", "all", []))).result).toEqual(["1", "2", "3"]);
  });

  test("state that was not read before can't be read, and a failed turn writes nothing", async () => {
    const { a } = await one();
    await add(a.node, "x", "1");
    await cutOff(a);
    for (const [method, args] of [["other", ["z"]], ["listed", []]] as const) {
      await expect(clock.run(a.node.call("notes", "x", method, args))).rejects.toMatchObject({
        code: "unavailable",
      });
    }
    expect((await add(a.node, "x", "2")).result).toEqual(["1", "2"]);
  });

  test("the same instance goes on, also for calls that use no storage", async () => {
    const { a } = await one();
    await clock.run(a.node.call("notes", "x", "visit", []));
    await cutOff(a);
    expect(await clock.run(a.node.call("notes", "x", "visit", []))).toMatchObject({
      result: 2,
      verdict: "suspect",
    });
    await heal(a);
    expect((await clock.run(a.node.call("notes", "x", "visit", []))).result).toBe(3);
    expect(seen).toEqual([]);
  });

  test("answers for idempotency keys are kept with the turns", async () => {
    const { a } = await one();
    const keyed = (note: string, idempotencyKey: string): Promise<CallResult> =>
      clock.run(a.node.call("notes", "x", "add", [note], { idempotencyKey, timeoutMs: 2_000 }));
    await keyed("1", "k1");
    await cutOff(a);
    expect((await keyed("1", "k1")).result).toEqual(["1"]);
    expect((await keyed("2", "k2")).result).toEqual(["1", "2"]);
    expect((await keyed("2", "k2")).result).toEqual(["1", "2"]);
    await heal(a);
    expect((await keyed("2", "k2")).result).toEqual(["1", "2"]);
    expect((await keyed("3", "k3")).result).toEqual(["1", "2", "3"]);
  });

  test("a commit whose answer was lost counts once", async () => {
    const { a } = await one();
    await add(a.node, "x", "1");
    a.connection.cutAtCommit = true;
    expect(await add(a.node, "x", "2")).toMatchObject({ result: ["1", "2"], verdict: "suspect" });
    expect((await add(a.node, "x", "3")).result).toEqual(["1", "2", "3"]);
    await heal(a);
    expect((await clock.run(a.node.call("notes", "x", "all", []))).result).toEqual(["1", "2", "3"]);
    // One of the two kept turns had been applied.
    expect(a.node.stats()).toMatchObject({ offlineTurnsCommitted: 1, conflictsLost: 0 });
  });

  test("a hanging instance is replaced, and its kept turns are committed", async () => {
    const { a } = await one();
    await add(a.node, "x", "1", "brisk");
    await cutOff(a);
    await add(a.node, "x", "2", "brisk");
    await expect(clock.run(a.node.call("brisk", "x", "hang", []))).rejects.toMatchObject({
      code: "timeout",
    });
    await expect(add(a.node, "x", "3", "brisk")).rejects.toMatchObject({ code: "unavailable" });
    await heal(a);
    expect((await clock.run(a.node.call("brisk", "x", "all", []))).result).toEqual(["1", "2"]);
  });

  test("the number and size of kept turns are bounded", () => {
    const budget = { characters: 0 };
    const log = new OfflineLog(budget, false);
    const writes = new Map([["s:a", "b"]]);
    for (let n = 0; n < MAX_OFFLINE_TURNS; n++) {
      log.checkRoom("notes/x");
      log.keep(writes, null);
    }
    expect(() => log.checkRoom("notes/x")).toThrow(/logged 1024 turns/);
    expect(log.clear()).toBe(MAX_OFFLINE_TURNS);
    expect(budget.characters).toBe(0);
    budget.characters = MAX_OFFLINE_CHARACTERS;
    expect(() => log.checkRoom("notes/x")).toThrow(/logged 67108864 characters/);
  });

  test("only writing turns are refused once no further turn can be kept", async () => {
    const { a } = await one();
    const call = (method: string, args: unknown[], idempotencyKey?: string): Promise<CallResult> =>
      clock.run(
        a.node.call("notes", "x", method, args, { ...idempotencyKey && { idempotencyKey } }),
      );
    await add(a.node, "x", "1");
    await cutOff(a);
    await call("overwrite", ["first"], "old");
    for (let n = 1; n < MAX_OFFLINE_TURNS; n++) await call("overwrite", [`${n}`]);
    const full = { code: "overloaded", message: expect.stringMatching(/logged 1024 turns/) };
    await expect(call("overwrite", ["more"])).rejects.toMatchObject(full);
    expect(await call("all", [])).toMatchObject({ result: ["1023"], verdict: "suspect" });
    expect((await call("visit", [])).result).toBe(1);
    // The answer of a keyed call would have to be kept, too.
    await expect(call("visit", [], "new")).rejects.toMatchObject({ ...full, maybeExecuted: false });
    // The answer is cached, so that it doesn't run again.
    expect((await call("overwrite", ["first"], "old")).verdict).toBe("suspect");
    expect((await call("all", [])).result).toEqual(["1023"]);
    await heal(a);
    expect((await add(a.node, "x", "2")).result).toEqual(["1023", "2"]);
    expect(a.node.stats()).toMatchObject({
      offlineTurnsCommitted: MAX_OFFLINE_TURNS,
      offlineTurnsLost: 0,
    });
  });

  test("kept turns of a node that closes are reported as lost", async () => {
    const { made, a } = await one();
    await add(a.node, "x", "1");
    await cutOff(a);
    await add(a.node, "x", "2");
    await clock.run(a.node.close({ drainMs: 100 }));
    expect(made.events).toContainEqual({
      level: "error",
      event: "offline turns lost",
      fields: { key: "notes/x", turns: 1 },
    });
  });
});

describe("a key that no node here owns", () => {
  test("is claimed if its type keeps no storage, and reconciled later", async () => {
    const { a } = await one();
    await cutOff(a);
    expect(await clock.run(a.node.call("notes", "new", "visit", []))).toMatchObject({
      result: 1,
      epoch: 0,
      rrp: "rrp:local/a/notes/new",
      verdict: "suspect",
    });
    await clock.run(a.node.call("notes", "new", "overwrite", ["1"]));
    await heal(a);
    const { result, epoch, verdict } = await clock.run(a.node.call("notes", "new", "visit", []));
    expect({ result, verdict }).toEqual({ result: 2, verdict: undefined });
    expect(epoch).toBeGreaterThan(0);
    expect((await clock.run(a.node.call("notes", "new", "all", []))).result).toEqual(["1"]);
  });

  test("can't be served if its storage has to be read", async () => {
    const { made, a } = await one();
    await cutOff(a);
    await expect(add(a.node, "known", "1")).rejects.toMatchObject({ code: "unavailable" });
    await expect(add(a.node, "x", "1")).rejects.toMatchObject({ code: "unavailable" });
    await heal(a);
    // No call was answered, so nothing is claimed.
    expect(await made.store.lookup("notes/x")).toBeNull();
    expect((await add(a.node, "x", "1")).result).toEqual(["1"]);
  });

  test("keeps the state that it already has, and both owners report the conflict", async () => {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(b.node, "x", "b");
    await cutOff(a);
    await clock.run(a.node.call("notes", "x", "overwrite", ["a"]));
    await heal(a);
    await until(() => b.node.stats().conflictsWon === 1, "the winner knows");
    expect(seen[0]).toBe("conflict x rrp:local/b/notes/x a");
    await until(
      async () =>
        ((await clock.run(b.node.call("notes", "x", "all", []))).result as string[]).includes("a"),
      "the notes are merged",
    );
    expect((await clock.run(b.node.call("notes", "x", "all", []))).result).toEqual(["b", "a"]);
  });
});
