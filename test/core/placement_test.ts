/**
 * Covers src/routing/placement.ts, src/routing/migration.ts and src/routing/caller_affinity.ts:
 * which node claims a key, moves between regions, and resources that follow their callers.
 */
import { describe, expect, it } from "vitest";
import { type AtlasNode, defineApp, type Placement } from "../../mod.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { FOLLOW_CALLS, FOLLOW_COOL_DOWN_MS, FOLLOW_HOLD_MS } from "../../src/limits.ts";
import { CallerAffinity } from "../../src/routing/caller_affinity.ts";
import { Gate, LASTING, log, type TestApp, until } from "./cluster.ts";
import { CallerReporter, Regions } from "./regions.ts";

const withPlacement = (placement: Placement) =>
  defineApp({
    resources: { counters: { class: CallerReporter, placement } },
  }) as unknown as TestApp;

const nodeOf = (rrp: string) => rrp.split("/").slice(0, 2).join("/").slice(4);

type Node = AtlasNode<TestApp>;

/** Nodes on one registry, one for each path, in the same order. */
async function started(of: TestApp, ...paths: string[]) {
  return await startedAt(undefined, of, ...paths);
}

/** The same on a given clock. */
async function startedAt(clock: FakeClock | undefined, of: TestApp, ...paths: string[]) {
  const made = new Regions({ shared: true, clock });
  const nodes: Node[] = [];
  for (const path of paths) nodes.push(await made.node(path, { lease: LASTING }, of));
  const [first, second, third] = nodes as [Node, Node, Node];
  return { made, nodes, first, second, third };
}

async function places(nodes: readonly Node[], ids: readonly string[]) {
  const places = new Map<string, string>();
  for (const [i, id] of ids.entries()) {
    const node = nodes[i % nodes.length] as Node;
    places.set(id, nodeOf((await node.call("counters", id, "echo", [0])).rrp));
  }
  return places;
}

const IDS = Array.from({ length: 60 }, (_, i) => `name-${i}`);

describe("placement `spread`", () => {
  const SPREAD = withPlacement("spread");

  it("distributes keys over all nodes of the region, whichever is asked, and never moves them", async () => {
    // With the real clock a node that stalls for a moment would be skipped.
    const clock = fakeClock();
    const { made, nodes } = await startedAt(clock, SPREAD, "us/a", "us/b", "us/c");
    await clock.advance(2 * LASTING.heartbeatMs);
    const before = made.requests().length;
    const found = await places(nodes, IDS);
    const counts = ["us/a", "us/b", "us/c"].map((name) =>
      [...found.values()].filter((at) => at === name).length
    );
    expect(Math.min(...counts)).toBeGreaterThan(8);
    expect(made.requests().length - before).toBeLessThanOrEqual(IDS.length);
  });

  it("asks the next node if the one that should own a key is gone", async () => {
    const { made, first, second } = await started(SPREAD, "us/a", "us/b");
    let round = 0;
    const isSeen = async () => {
      const { rrp } = await first.call("counters", `try-${round++}`, "echo", [0]);
      return nodeOf(rrp) === "us/b";
    };
    await until(isSeen, "the other is known");
    made.setLink("us/a", "us/b", false);
    await second.close({ drainMs: 0 });
    await until(() => first.stats().links === 0, "the link has ended");
    const found = await places([first], IDS.slice(0, 10));
    expect(new Set(found.values())).toEqual(new Set(["us/a"]));
  });
});

describe("placement in a region", () => {
  it("by name: only nodes of that region claim the key, whichever is asked", async () => {
    const { nodes } = await started(withPlacement({ region: "eu" }), "eu/x", "us/a", "us/b");
    const found = await places(nodes, IDS.slice(0, 9));
    expect(new Set(found.values())).toEqual(new Set(["eu/x"]));
  });

  it("is known to a node that doesn't run the type", async () => {
    const { made } = await started(withPlacement({ region: "eu" }), "eu/x", "us/a");
    const bare = await made.node("us/bare", {}, { resources: {} });
    const answer = await bare.call("counters", "name", "echo", [0]);
    expect(nodeOf(answer.rrp)).toBe("eu/x");
  });

  it("`local`: the asked node claims first, and no node of another region", async () => {
    const of = withPlacement("region");
    const { made, nodes } = await started(of, "us/a", "eu/x");
    const found = await places(nodes, IDS.slice(0, 6));
    expect([...found.values()]).toEqual(["us/a", "eu/x", "us/a", "eu/x", "us/a", "eu/x"]);
    const ap = await made.node("ap/n", {}, { resources: {} });
    expect((await ap.call("counters", "far", "echo", [0])).result).toBe(0);
  });
});

it.each([
  ["far", "bad_request"],
  [{ region: "a b" }, "invalid_rrp"],
  [null, "bad_request"],
  [7, "bad_request"],
])("placement %j is refused", (placement, code) => {
  expect(() => withPlacement(placement as never)).toThrow(expect.objectContaining({ code }));
});

describe("a move", () => {
  const LOCAL = withPlacement("local");

  it("keeps the state, raises the epoch, and gives the new owner", async () => {
    const { first: us, second: eu } = await started(LOCAL, "us/a", "eu/b");
    const before = await us.call("counters", "x", "add", [5]);
    const moved = await us.move("counters", "x", "eu");
    expect(moved).toEqual({ rrp: "rrp:eu/b/counters/x", epoch: expect.any(Number) });
    expect(moved.epoch).toBeGreaterThan(before.epoch);
    expect(log).toContain("stop x move");
    expect(await us.call("counters", "x", "add", [1])).toMatchObject({
      result: { total: 6 },
      rrp: moved.rrp,
      epoch: moved.epoch,
    });
    expect(await eu.move("counters", "x", "eu")).toEqual(moved);
    // Requested at another node, and then back again.
    const back = await eu.move("counters", "x", "us");
    expect(back.rrp).toBe("rrp:us/a/counters/x");
    expect(back.epoch).toBeGreaterThan(moved.epoch);
    expect((await eu.call("counters", "x", "total", [])).result).toBe(6);
  });

  it("loses no call and runs none twice, whichever node calls", async () => {
    const { first: us, second: eu, third: ap } = await started(LOCAL, "us/a", "eu/b", "ap/c");
    await us.call("counters", "x", "add", [0]);
    await Promise.all([eu, ap].map((node) => node.call("counters", "x", "add", [0])));
    const running = us.call("counters", "x", "wait", ["stairs"]);
    await until(() => log.includes("waiting stairs"), "it runs");
    const calls = [us, eu, ap].flatMap((node) =>
      Array.from({ length: 20 }, () => node.call("counters", "x", "add", [1]))
    );
    const moving = ap.move("counters", "x", "eu");
    const more = [us, eu, ap].flatMap((node) =>
      Array.from({ length: 20 }, () => node.call("counters", "x", "add", [1]))
    );
    Gate.of("stairs").open();
    expect((await running).result).toBe("stairs");
    expect((await moving).rrp).toBe("rrp:eu/b/counters/x");
    const totals = (await Promise.all([...calls, ...more])).map(({ result }) =>
      (result as { total: number }).total
    );
    expect(totals.sort((one, other) => one - other)).toEqual(
      Array.from({ length: 120 }, (_, i) => i + 1),
    );
  });

  it("to a region where no node can claim it leaves the resource where it is", async () => {
    const { made, first: us } = await started(LOCAL, "us/a", "eu/b");
    const { epoch } = await us.call("counters", "x", "add", [1]);
    await expect(us.move("counters", "x", "mars")).rejects.toMatchObject({ code: "unavailable" });
    made.setLink("us/a", "eu/b", false);
    await expect(us.move("counters", "x", "eu")).rejects.toMatchObject({ code: "unavailable" });
    expect(await us.call("counters", "x", "total", [])).toMatchObject({ result: 1, epoch });
    await expect(us.move("counters", "x", "a b")).rejects.toMatchObject({ code: "invalid_rrp" });
  });

  it("can't be requested by calling the internal method", async () => {
    const { first: us } = await started(LOCAL, "us/a");
    for (const method of ["$move", "$take"]) {
      await expect(us.call("counters", "x", method, ["eu"])).rejects.toMatchObject({
        code: "not_found",
      });
    }
  });
});

describe("placement `caller`", () => {
  it("follows a lasting majority of many calls, and then doesn't move for a while", async () => {
    const of = withPlacement("caller");
    const made = new Regions({ shared: true });
    const clock = fakeClock();
    const us = await made.node("us/a", { clock, lease: { heartbeatMs: 1e6, leaseMs: 3e6 } }, of);
    const eu = await made.node("eu/b", {}, of);
    const call = async (node: Node) => await node.call("counters", "x", "add", [1]);
    await call(us);
    for (let i = 0; i < FOLLOW_CALLS * 2; i++) await call(eu);
    expect((await call(eu)).rrp).toBe("rrp:us/a/counters/x");
    await clock.advance(FOLLOW_HOLD_MS);
    for (let i = 0; i < FOLLOW_CALLS * 2; i++) await call(eu);
    await until(async () => (await call(eu)).rrp === "rrp:eu/b/counters/x", "it has followed");
    const before = (await call(eu)).result as { total: number };
    for (let i = 0; i < FOLLOW_CALLS * 3; i++) await call(us);
    const after = await call(us);
    expect(after.rrp).toBe("rrp:eu/b/counters/x");
    expect((after.result as { total: number }).total).toBe(before.total + FOLLOW_CALLS * 3 + 1);
  });

  it("still doesn't move after a takeover within its region", async () => {
    const clock = fakeClock();
    const { first: us, second: eu, third: other } = await startedAt(
      clock,
      withPlacement("caller"),
      "us/a",
      "eu/b",
      "eu/c",
    );
    const call = (node: Node) => clock.run(node.call("counters", "x", "add", [1]));
    const calls = async (node: Node): Promise<string> => {
      for (let i = 0; i < FOLLOW_CALLS * 2; i++) await call(node);
      await clock.advance(FOLLOW_HOLD_MS);
      for (let i = 0; i < FOLLOW_CALLS * 2; i++) await call(node);
      await clock.advance(1_000);
      return nodeOf((await call(node)).rrp);
    };
    await call(us);
    const at = await calls(eu);
    expect(at).toMatch(/^eu\//);
    const [owner, next] = at === "eu/b" ? [eu, other] : [other, eu];
    await clock.run(owner.close());
    const taken = nodeOf((await call(next)).rrp);
    expect(taken).toMatch(/^eu\//);
    expect(taken).not.toBe(at);
    expect(await calls(us)).toBe(taken);
    await clock.advance(FOLLOW_COOL_DOWN_MS);
    expect(await calls(us)).toBe("us/a");
  });
});

describe("caller affinity", () => {
  async function gauge() {
    const clock = fakeClock();
    const drift = new CallerAffinity(clock, "us");
    const burst = (calls: number, region: string): string | null => {
      let last = null;
      for (let i = 0; i < calls; i++) last = drift.note("t/x", region) ?? last;
      return last;
    };
    return { clock, drift, burst };
  }

  it("needs many calls, most of them from one other region, for some time", async () => {
    const { clock, burst } = await gauge();
    expect(burst(FOLLOW_CALLS - 2, "eu")).toBe(null);
    await clock.advance(FOLLOW_HOLD_MS);
    expect(burst(FOLLOW_CALLS * 2, "eu")).toBe(null);
    await clock.advance(FOLLOW_HOLD_MS);
    expect(burst(1, "eu")).toBe("eu");
  });

  it("stays if calls come from several regions, or from its own", async () => {
    const { clock, burst } = await gauge();
    for (let round = 0; round < 10; round++) {
      expect(burst(FOLLOW_CALLS, "eu")).toBe(null);
      expect(burst(FOLLOW_CALLS, "us")).toBe(null);
      await clock.advance(FOLLOW_HOLD_MS);
    }
  });

  it("starts counting again if the majority changes", async () => {
    const { clock, burst } = await gauge();
    burst(FOLLOW_CALLS * 2, "eu");
    await clock.advance(FOLLOW_HOLD_MS / 2);
    burst(FOLLOW_CALLS * 2, "us");
    await clock.advance(FOLLOW_HOLD_MS / 2);
    expect(burst(FOLLOW_CALLS * 8, "eu")).toBe(null);
  });

  it("doesn't move again soon after a move", async () => {
    const { clock, drift, burst } = await gauge();
    drift.coolDown("t/x");
    for (let ms = 0; ms < FOLLOW_COOL_DOWN_MS; ms += FOLLOW_HOLD_MS / 2) {
      expect(burst(FOLLOW_CALLS * 2, "eu")).toBe(null);
      await clock.advance(FOLLOW_HOLD_MS / 2);
    }
    expect(burst(FOLLOW_CALLS * 2, "eu")).toBe("eu");
  });

  it("counts a bounded number of regions and resources", async () => {
    const { burst } = await gauge();
    for (let i = 0; i < 100; i++) burst(1, `region-${i}`);
    expect(burst(FOLLOW_CALLS, "eu")).toBe(null);
  });
});
