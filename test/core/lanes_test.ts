/** Where calls wait before they leave: room is for those that somebody still waits for. */
import { describe, expect, it } from "vitest";
import { memoryStore, type Store } from "../../mod.ts";
import { MAX_MAILBOX } from "../../src/limits.ts";
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

/** Calls up to the bound that are given up at once: they keep nobody out. */
async function giveUp(call: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const abort = new AbortController();
  const given = Array.from({ length: MAX_MAILBOX }, () => call(abort.signal));
  const overloaded = call(abort.signal);
  await expect(overloaded).rejects.toMatchObject({ code: "overloaded", maybeExecuted: false });
  abort.abort();
  const ended = await Promise.allSettled(given);
  expect(new Set(ended.map(({ status }) => status))).toEqual(new Set(["rejected"]));
}

describe("calls that were given up", () => {
  it("make room while their name is looked for", async () => {
    const found = Gate.of("found");
    const node = await cluster(slow(found)).node("a");
    await giveUp((signal) => node.resource("counters", "x", { signal }).add(1));
    const alone = node.resource("counters", "x").add(1);
    found.open();
    expect((await alone).total).toBe(1);
  });

  it("make room while others are to arrive by another road", async () => {
    const made = new Regions();
    const owner = await made.node("eu/owner");
    await owner.call("counters", "eu~x", "add", [1]);
    await made.node("eu/g");
    const us = await made.node("us/a", { gateways: { eu: [made.address("eu/g")] } });
    made.road("us/a", "eu/owner", false);
    await us.call("counters", "us~y", "echo", [1]);
    const passed = us.call("counters", "eu~x", "wait", ["side road"]);
    await until(() => log.includes("waiting side road"), "it runs");
    // Its own dial is the straight road.
    await owner.call("counters", "us~y", "echo", [1]);
    await giveUp((signal) => us.call("counters", "eu~x", "add", [1], { signal }));
    const alone = us.call("counters", "eu~x", "add", [1]);
    Gate.of("side road").open();
    await passed;
    expect((await alone).result).toMatchObject({ total: 2 });
  });
});
