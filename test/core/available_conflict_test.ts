/**
 * Types with `partition: "available"`: a key that another owner claims while its own one can't
 * reach the store.
 *
 * Covers src/resource/conflicts.ts.
 */
import { describe, expect, test } from "vitest";
import { defineApp } from "../../mod.ts";
import {
  add,
  clock,
  cutOff,
  heal,
  member,
  type Node,
  Notes,
  one,
  seen,
  seenDead,
  until,
} from "./available.ts";
import { app as plainApp, type Cluster } from "./cluster.ts";
import type { StoreConnection } from "./store_connection.ts";

describe("after another owner took over", () => {
  async function split(): Promise<{
    made: Cluster;
    a: { node: Node; connection: StoreConnection };
    b: { node: Node; connection: StoreConnection };
  }> {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(a.node, "x", "1");
    await cutOff(a);
    await add(a.node, "x", "a");
    await seenDead(made, "a");
    expect((await add(b.node, "x", "b")).verdict).toBeUndefined();
    return { made, a, b };
  }

  test("the new owner's state stays, and the former owner learns the new owner's pointer and merges", async () => {
    const { made, a, b } = await split();
    const owner = await made.store.lookup("notes/x");
    expect(owner?.rrp).toBe("rrp:local/b/notes/x");
    expect((await add(a.node, "x", "a2")).verdict).toBe("suspect");
    await heal(a);
    await until(() => seen.includes("stop x fenced"), "it has stopped");
    expect(seen.filter((line) => line.startsWith("conflict"))).toHaveLength(1);
    expect(seen[0]).toBe("conflict x rrp:local/b/notes/x 1,a,a2");
    const all = (await clock.run(b.node.call("notes", "x", "all", []))).result as string[];
    expect(all).toEqual(["1", "b", "a", "a2"]);
    expect(a.node.stats()).toMatchObject({
      conflictsLost: 1,
      offlineTurnsCommitted: 0,
      offlineTurnsLost: 2,
    });
    await until(() => b.node.stats().conflictsWon === 1, "the winner knows");
    expect(await clock.run(a.node.lookup("notes", "x"))).toMatchObject({
      rrp: owner?.rrp,
      verdict: "contested",
    });
    expect(await clock.run(a.node.lookup("notes", "x", { require: "confirmed" }))).toMatchObject({
      verdict: "confirmed",
    });
    expect((await add(a.node, "x", "c")).rrp).toBe(owner?.rrp);
  });

  test("what the new owner wrote stays, also if that owner has stopped again", async () => {
    const { a, b } = await split();
    await clock.run(b.node.drain());
    await heal(a);
    await until(() => seen.some((line) => line === "stop x fenced"), "it has stopped");
    expect(seen.find((line) => line.startsWith("conflict"))).toContain("rrp:local/a/notes/x 1,a");
    const all = (await clock.run(a.node.call("notes", "x", "all", []))).result as string[];
    expect(all).toEqual(expect.arrayContaining(["1", "a", "b"]));
  });

  test("an owner that answered no call while it was cut off causes no conflict", async () => {
    const { made, a } = await one();
    const b = await member(made, "b");
    await add(a.node, "x", "1");
    await cutOff(a);
    await seenDead(made, "a");
    await clock.run(b.node.call("notes", "x", "all", []));
    await heal(a);
    await until(() => seen.length > 0, "it has stopped");
    expect(seen).toEqual(["stop x fenced"]);
    expect(a.node.stats()).toMatchObject({ conflictsLost: 0, offlineTurnsLost: 0 });
    expect((await clock.run(a.node.call("notes", "x", "all", []))).result).toEqual(["1"]);
  });
});

test("an invalid partition policy is refused", () => {
  const resources = { notes: { class: Notes, partition: "both" as "fence" } };
  expect(() => defineApp({ resources })).toThrow(
    'resource type notes: partition is "both", it must be fence or available',
  );
  expect(() => defineApp({ resources: plainApp.resources })).not.toThrow();
});
