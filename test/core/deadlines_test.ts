/**
 * Deadlines of calls between nodes: which node notices them, and whether the call may have run.
 *
 * Covers src/time/timer_wheel.ts.
 */
import { expect, it } from "vitest";
import type { AtlasNode } from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { cluster, Gate, log, until } from "./cluster.ts";
import { Regions } from "./regions.ts";
import { client, roomApp } from "./sockets.ts";

/** Leases that don't end within these tests. */
const lease = { heartbeatMs: 1e6, leaseMs: 3e6 };

it("a running call's signal aborts at its deadline, also if its caller's node is frozen", async () => {
  const made = cluster();
  const clock = fakeClock();
  const owner = await made.node("owner", { clock, lease });
  await owner.call("counters", "x", "echo", [0]);
  const still = await made.node("still", { clock: fakeClock(), lease });
  still.resource("counters", "x", { timeoutMs: 1_000 }).wait("for ever").catch(() => {});
  await until(() => log.includes("waiting for ever"), "it runs");
  await clock.advance(900);
  expect(log).not.toContain("aborted for ever");
  await clock.advance(200);
  expect(log).toContain("aborted for ever");
  expect(await owner.resource("counters", "x").add(1)).toMatchObject({ total: 1 });
});

it("a call that no owner accepted fails as not executed, wherever it waited", async () => {
  const clock = fakeClock();
  const made = new Regions({ clock });
  const us = await made.node("us/a", { lease });
  const eu = await made.node("eu/b", { lease });
  await clock.run(us.call("counters", "eu~x", "echo", [0]));
  await eu.drain({ prefix: "rrp:eu/", forMs: 60_000 });
  for (const timeoutMs of [100, 2_000, 20_000]) {
    for (const node of [us, eu]) {
      const { relays } = eu.stats();
      const call = node.call("counters", "eu~x", "add", [1], { timeoutMs });
      call.catch(() => {});
      await until(() => node === eu || eu.stats().relays > relays, "it waits there");
      await expect(clock.run(call)).rejects.toMatchObject({
        code: "timeout",
        message: expect.stringMatching(/no node can take counters\/eu~x now/),
        maybeExecuted: false,
      });
    }
  }
});

it("a call that an owner accepted keeps its whole deadline, and fails as maybe executed", async () => {
  const clock = fakeClock();
  const made = new Regions({ clock });
  const us = await made.node("us/a", { lease });
  await made.node("eu/b", { lease });
  const waiting = us.call("counters", "eu~x", "wait", ["long"], { timeoutMs: 2_000 });
  const blocked = us.call("counters", "eu~x", "echo", [1], { timeoutMs: 2_000 });
  await until(() => log.includes("waiting long"), "it runs");
  await clock.advance(1_990);
  Gate.of("long").open();
  expect((await waiting).result).toBe("long");
  expect((await blocked).result).toBe(1);
  const lost = us.call("counters", "eu~x", "hang", [], { timeoutMs: 2_000 });
  await expect(clock.run(lost)).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
});

it("a call over a socket waits for hello, and is not made if its deadline passes first", async () => {
  const clock = fakeClock();
  const node = await cluster().node("a", { clock, lease }, roomApp);
  const busy = node.call("rooms", "x", "publishThenWait", ["g"]);
  await until(() => log.includes("waiting g"), "the room is busy");
  const one = client(node as unknown as AtlasNode, "x");
  const call = { t: "call", method: "publish", args: [] };
  one.send({ ...call, id: "short", timeoutMs: 50 });
  one.send({ ...call, id: "long", timeoutMs: 5_000 });
  one.send({ ...call, id: "none", args: "x" });
  await clock.advance(100);
  expect(one.frames).toEqual([]);
  Gate.of("g").open();
  await busy;
  await until(() => one.frames.filter(({ t }) => t === "reply").length === 3, "all are answered");
  expect(one.frames[0]).toMatchObject({ t: "hello", seq: 1 });
  const byId = new Map(one.frames.map((frame) => [frame.id, frame]));
  expect(byId.get("short").error).toMatchObject({ code: "timeout", maybeExecuted: false });
  expect(byId.get("long").result).toBe(1);
  expect(byId.get("none").error).toMatchObject({ code: "bad_request", maybeExecuted: false });
});
