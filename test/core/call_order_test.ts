/**
 * Covers src/routing/call_order.ts: queues of calls whose owner is not yet known, and their order
 * over several links. Aborted calls free their places.
 */
import { describe, expect, it } from "vitest";
import { memoryStore, type Store } from "../../mod.ts";
import { MAX_MAILBOX } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";
import { cluster, Gate, log, until } from "./cluster.ts";
import { Regions } from "./regions.ts";

/** A store whose claims wait for a gate. */
function slow(gate: Gate): Store {
  return new Proxy(memoryStore(), {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) =>
        name === "claim"
          ? gate.passed.then(() => value.apply(target, args))
          : value.apply(target, args);
    },
  });
}

/** Fills the queue with calls that are aborted at once. */
async function giveUp(call: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const abort = new AbortController();
  const given = Array.from({ length: MAX_MAILBOX }, () => call(abort.signal));
  const overloaded = call(abort.signal);
  await expect(overloaded).rejects.toMatchObject({ code: "overloaded", maybeExecuted: false });
  abort.abort();
  const ended = await Promise.allSettled(given);
  expect(new Set(ended.map(({ status }) => status))).toEqual(new Set(["rejected"]));
}

it("calls that join a queue fail with the reason for which its first call waits", async () => {
  const clock = fakeClock();
  // Looks for the owner at 0, 20, 60, 140, 300 and 620 ms.
  const random = { next: () => 1, uuid: () => crypto.randomUUID() };
  const node = await cluster(undefined, clock).node("a", { random });
  await node.drain({ prefix: "rrp:", forMs: 60_000 });
  const call = (timeoutMs: number) => node.call("counters", "x", "add", [1], { timeoutMs });
  const first = call(10_000).catch((error) => error);
  await clock.advance(310);
  for (const timeoutMs of [100, 150]) {
    await expect(clock.run(call(timeoutMs))).rejects.toMatchObject({
      code: "timeout",
      message: expect.stringMatching(
        /the deadline passed; before that: no node can take counters\/x/,
      ),
      maybeExecuted: false,
    });
  }
  expect(clock.now()).toBeLessThan(620);
  await clock.run(node.close({ drainMs: 0 }));
  expect(await first).toMatchObject({ code: "unavailable", maybeExecuted: false });
});

describe("calls that were aborted", () => {
  it("free their places in the queue while the owner is looked up", async () => {
    const found = Gate.of("found");
    const node = await cluster(slow(found)).node("a");
    await giveUp((signal) => node.resource("counters", "x", { signal }).add(1));
    const alone = node.resource("counters", "x").add(1);
    found.open();
    expect((await alone).total).toBe(1);
  });

  it("free their places in the queue while others wait for a call on another link", async () => {
    const made = new Regions();
    const owner = await made.node("eu/owner");
    await owner.call("counters", "eu~x", "add", [1]);
    await made.node("eu/g");
    const us = await made.node("us/a", { gateways: { eu: [made.address("eu/g")] } });
    made.setLink("us/a", "eu/owner", false);
    await us.call("counters", "us~y", "echo", [1]);
    const passed = us.call("counters", "eu~x", "wait", ["other link"]);
    await until(() => log.includes("waiting other link"), "it runs");
    // The owner's dial opens the direct link.
    await owner.call("counters", "us~y", "echo", [1]);
    await giveUp((signal) => us.call("counters", "eu~x", "add", [1], { signal }));
    const alone = us.call("counters", "eu~x", "add", [1]);
    Gate.of("other link").open();
    await passed;
    expect((await alone).result).toMatchObject({ total: 2 });
  });
});
