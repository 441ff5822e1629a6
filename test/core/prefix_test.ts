/** Covers src/routing/drains.ts: counting, draining and policies by prefix. */
import { describe, expect, test } from "vitest";
import { AtlasError, defineApp, type Store } from "../../mod.ts";
import { resolveTypes } from "../../src/api/app.ts";
import { countOwned } from "../../src/node/lookup.ts";
import { DrainedPrefixes } from "../../src/resource/host.ts";
import { fakeClock } from "../../sim/testing/fake_clock.ts";
import { app, cluster, Counter } from "./cluster.ts";

describe("counting by prefix", () => {
  test("gives the number of resources under a prefix", async () => {
    const all = cluster();
    const [a, b] = [await all.node("a"), await all.node("b", { region: "west" })];
    await Promise.all(Array.from({ length: 5 }, (_, i) => a.resource("counters", `a${i}`).add(1)));
    await Promise.all(Array.from({ length: 3 }, (_, i) => b.resource("open", `b${i}`).echo(1)));
    expect(await a.count("rrp:")).toBe(8);
    expect(await b.count("rrp:local/")).toBe(5);
    expect(await a.count("rrp:west/b/open/")).toBe(3);
    expect(await a.count("rrp:west/b/counters/")).toBe(0);
    await expect(a.count("west")).rejects.toMatchObject({ code: "invalid_rrp" });
  });

  test("ends with an error if pages never end", async () => {
    const clock = fakeClock();
    const endless = {
      list: async () => {
        await clock.advance(400);
        return { entries: [], next: "more" };
      },
    };
    const counted = countOwned(endless as unknown as Store, clock, "rrp:", 1_000);
    await expect(counted).rejects.toMatchObject({ code: "timeout" });
  });
});

describe("a drain by prefix", () => {
  test("releases matching resources and keeps the rest, and the node goes on serving", async () => {
    const all = cluster();
    const [a, b] = [await all.node("a"), await all.node("b")];
    await a.resource("counters", "x").add(1);
    await a.resource("open", "y").add(1);
    await a.drain({ prefix: "rrp:local/a/counters/" });
    expect(a.state).toBe("serving");
    expect(await a.count("rrp:local/a/")).toBe(1);
    expect(await a.resource("counters", "x").add(1)).toMatchObject({ total: 2 });
    expect((await a.lookup("counters", "x")).rrp).toBe("rrp:local/b/counters/x");
    expect((await a.lookup("open", "y")).rrp).toBe("rrp:local/a/open/y");
    expect((await a.call("counters", "new", "echo", [1])).rrp).toBe("rrp:local/b/counters/new");
    expect((await a.call("open", "new", "echo", [1])).rrp).toBe("rrp:local/a/open/new");
    expect(b.state).toBe("serving");
  });

  test("may name one resource or all, and does nothing if it names other nodes", async () => {
    const all = cluster();
    const [a] = [await all.node("a"), await all.node("b")];
    for (const id of ["x", "xx"]) await a.resource("counters", id).add(1);
    await a.drain({ prefix: "rrp:local/b/" });
    await a.drain({ prefix: "rrp:west/" });
    expect(await a.count("rrp:local/a/")).toBe(2);
    await a.drain({ prefix: "rrp:local/a/counters/x" });
    expect(await a.count("rrp:local/a/")).toBe(1);
    await a.drain({ prefix: "rrp:" });
    expect(await a.count("rrp:")).toBe(0);
    expect(a.state).toBe("serving");
  });

  test("loses no call, whichever node is called during the drain", async () => {
    const all = cluster();
    const nodes = [await all.node("a"), await all.node("b"), await all.node("c")];
    const [a] = nodes as [typeof nodes[0] & object];
    await a.resource("counters", "x").add(1);
    const calls = Array.from(
      { length: 60 },
      (_, i) => nodes[i % 3]?.resource("counters", "x").add(1),
    );
    await a.drain({ prefix: "rrp:local/a/" });
    const totals = (await Promise.all(calls)).map((answer) => answer?.total);
    expect(new Set(totals).size).toBe(60);
    expect(await a.resource("counters", "x").total()).toBe(61);
    expect((await a.lookup("counters", "x")).rrp).not.toContain("/a/");
  });

  test("ends: after its time the node claims such resources again", async () => {
    const all = cluster();
    const a = await all.node("a");
    await a.resource("counters", "x").add(1);
    await a.drain({ prefix: "rrp:local/a/", forMs: 50 });
    expect(await a.resource("counters", "x").add(1)).toMatchObject({ total: 2 });
  });

  test("refuses an invalid prefix and an invalid time", async () => {
    const all = cluster();
    const a = await all.node("a");
    await expect(a.drain({ prefix: "channels/" })).rejects.toMatchObject({ code: "invalid_rrp" });
    // A prefix of everything is refused, too.
    for (const options of [null, "rrp:", { prefix: "rrp:", for: 5 }]) {
      await expect(a.drain(options as never)).rejects.toThrow(
        /^options is|^there is no option "for"/,
      );
    }
    expect(a.state).toBe("serving");
    for (const forMs of [0, NaN, 1e9, "50" as never]) {
      await expect(a.drain({ prefix: "rrp:", forMs })).rejects.toThrow(/forMs is/);
    }
  });

  test("is remembered within bounds, until its time is over", async () => {
    const clock = fakeClock();
    const declined = new DrainedPrefixes(clock);
    declined.add("rrp:a/b/", 100);
    expect(declined.covers("rrp:a/b/c/d")).toBe(true);
    await clock.advance(101);
    expect(declined.covers("rrp:a/b/c/d")).toBe(false);
    declined.add("rrp:a/b/", 1_000);
    expect(declined.covers("rrp:a/bb/c/d")).toBe(false);
    for (let i = 0; i < 64; i++) declined.add(`rrp:x${i}/`, 1_000);
    expect(declined.covers("rrp:a/b/c/d")).toBe(false);
    expect(declined.covers("rrp:x63/b/c/d")).toBe(true);
  });
});

describe("policies by prefix", () => {
  const types = { counters: Counter, brief: { class: Counter, idleAfterMs: 40, mailbox: 7 } };

  test("apply the settings of the longest prefix that matches the node", () => {
    const policied = defineApp({
      resources: types,
      policies: {
        "rrp:": { mailbox: 5 },
        "rrp:eu/": { idleAfterMs: 1_000, placement: "spread" },
        "rrp:eu/one/": { mailbox: 9 },
        "rrp:eu/one/brief/": { placement: "region" },
      },
    });
    const at = (region: string, node: string) => resolveTypes(policied, { region, node });
    expect(at("us", "one").get("counters")).toMatchObject({ mailbox: 5, placement: "local" });
    expect(at("eu", "two").get("counters")).toMatchObject({ mailbox: 5, placement: "spread" });
    expect(at("eu", "one").get("brief")).toMatchObject({
      idleAfterMs: 1_000,
      mailbox: 9,
      placement: "region",
    });
    expect(resolveTypes(policied).get("brief")).toMatchObject({ idleAfterMs: 40, mailbox: 7 });
  });

  test("are applied by a node", async () => {
    const policied = defineApp({ ...app, policies: { "rrp:local/a/": { mailbox: 1 } } });
    const all = cluster();
    const a = await all.node("a", {}, policied);
    const calls = Array.from({ length: 4 }, () => a.resource("counters", "x").add(1));
    const outcomes = await Promise.allSettled(calls);
    const refused = outcomes.filter((it) => it.status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    expect((refused[0] as PromiseRejectedResult).reason).toMatchObject({ code: "overloaded" });
  });

  test.each([
    [{ "eu/": {} }, /does not start with/],
    [{ "rrp:eu": {} }, /must end with/],
    [{ "rrp:eu/one/brief/x": {} }, /names one resource/],
    [{ "rrp:eu/": { mailbox: 0 } }, /mailbox is 0/],
    [{ "rrp:eu/": { class: Counter } }, /without its class/],
    [{ "rrp:eu/": null }, /without its class/],
    [7, /policies must be/],
  ])("%o is refused", (policies, message) => {
    const define = () => defineApp({ resources: types, policies: policies as never });
    expect(define).toThrow(AtlasError);
    expect(define).toThrow(message);
  });
});
