/** Deadlines of calls between nodes: who notices them, and what is said of them. */
import { afterEach, expect, it } from "vitest";
import type { AtlasNode } from "../../mod.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { cluster, Gate, log, type TestApp, until } from "./cluster.ts";
import { Regions } from "./regions.ts";

/** Leases that no clock here reaches the end of. */
const lease = { heartbeatMs: 1e6, leaseMs: 3e6 };

const started: [FakeClock, AtlasNode<TestApp>][] = [];
afterEach(async () => {
  for (const gate of Gate.gates.values()) gate.open();
  for (const [clock, node] of started.splice(0)) await clock.run(node.close({ drainMs: 0 }));
});

/** A node whose time is another's, which closes by it. */
async function on(clock: FakeClock, starting: Promise<AtlasNode<TestApp>>) {
  const node = await starting;
  started.push([clock, node]);
  return node;
}

it("a running call's signal aborts at its deadline, though its caller's node stands still", async () => {
  const made = cluster();
  const clock = fakeClock();
  const owner = await on(clock, made.node("owner", { clock, lease }));
  await owner.call("counters", "x", "echo", [0]);
  const stopped = fakeClock();
  const still = await on(stopped, made.node("still", { clock: stopped, lease }));
  still.resource("counters", "x", { timeoutMs: 1_000 }).wait("for ever").catch(() => {});
  await until(() => log.includes("waiting for ever"), "it runs");
  await clock.advance(900);
  expect(log).not.toContain("aborted for ever");
  await clock.advance(200);
  expect(log).toContain("aborted for ever");
  expect(await owner.resource("counters", "x").add(1)).toMatchObject({ total: 1 });
});

it("a call that nobody took is told as one that didn't run, wherever it waited", async () => {
  const made = new Regions();
  const clock = fakeClock();
  const us = await on(clock, made.node("us/a", { clock, lease }));
  const eu = await on(clock, made.node("eu/b", { clock, lease }));
  await clock.run(us.call("counters", "eu~x", "echo", [0]));
  await eu.drain({ prefix: "rrp:eu/", forMs: 60_000 });
  for (const timeoutMs of [100, 2_000, 20_000]) {
    for (const node of [us, eu]) {
      const { relays } = eu.stats();
      const call = node.call("counters", "eu~x", "add", [1], { timeoutMs });
      call.catch(() => {});
      await until(() => node === eu || eu.stats().relays > relays, "it waits there");
      // What it finds out there takes no time of the clock's, but some turns of the event loop.
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      await expect(clock.run(call)).rejects.toMatchObject({
        code: "timeout",
        message: expect.stringMatching(/no node can take counters\/eu~x now/),
        maybeExecuted: false,
      });
    }
  }
});

it("a call that was taken has all of its time, and may have run", async () => {
  const made = new Regions();
  const clock = fakeClock();
  const us = await on(clock, made.node("us/a", { clock, lease }));
  await on(clock, made.node("eu/b", { clock, lease }));
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
