/**
 * Covers src/model/call_path.ts: the path of a call between regions, its limit of hops, and loops.
 */
import { describe, expect, it } from "vitest";
import type { AtlasNode } from "../../mod.ts";
import { MAX_HOPS } from "../../src/limits.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { type TestApp, until } from "./cluster.ts";
import { Regions } from "./regions.ts";

const endsWith = (message: RegExp) =>
  expect.objectContaining({
    code: "timeout",
    message: expect.stringMatching(message),
    maybeExecuted: false,
  });

describe("forwarded calls", () => {
  /**
   * Makes a call that is returned until it has to wait before the next attempt, and then times out.
   */
  async function inVain(
    clock: FakeClock,
    made: Regions,
    from: AtlasNode<TestApp>,
    back: string,
  ): Promise<unknown> {
    // Shorter than the shortest pause.
    const call = from.call("counters", "x", "echo", [1], { timeoutMs: 5 });
    const returns = () => made.sent.filter((line) => line === `${back} failure`).length;
    await until(() => returns() > MAX_HOPS, "it waits");
    return await clock.run(call);
  }

  it("a call that goes in a circle fails, and its message names the circle", async () => {
    const clock = fakeClock();
    const made = new Regions({ clock });
    // Each believes that the other is the home.
    made.homeOf = (_key, asking) => asking === "us" ? "eu" : "us";
    const us = await made.node("us/a");
    await made.node("eu/b");
    await expect(inVain(clock, made, us, "eu/b>us/a")).rejects.toEqual(
      endsWith(/the call goes in a circle: us\/a → eu\/b/),
    );
  });

  it("a call is forwarded over three links at most", async () => {
    const clock = fakeClock();
    const made = new Regions({ clock });
    const next: Record<string, string> = { r1: "r2", r2: "r3", r3: "r4", r4: "r5" };
    made.homeOf = (_key, asking) => next[asking] ?? null;
    const first = await made.node("r1/n");
    for (const region of ["r2", "r3", "r4", "r5"]) await made.node(`${region}/n`);
    await expect(inVain(clock, made, first, "r2/n>r1/n")).rejects.toEqual(
      endsWith(/over 3 links at most/),
    );
    delete next["r4"];
    // Nodes that refused are skipped for this long.
    await clock.advance(1_000);
    const answer = await first.call("counters", "x", "echo", [1]);
    expect(answer.path).toEqual(["r1/n", "r2/n", "r3/n", "r4/n"]);
  });
});

describe("the path of a call", () => {
  it("has one node if the owner is local, and two if it is another node", async () => {
    const made = new Regions();
    const [a, b] = [await made.node("us/a"), await made.node("us/b")];
    expect((await a.call("counters", "us~x", "echo", [1])).path).toEqual(["us/a"]);
    expect((await b.call("counters", "us~x", "echo", [1])).path).toEqual(["us/b", "us/a"]);
  });
});
