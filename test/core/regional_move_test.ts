/** Moves to a region whose registry is away: the resource can still be reached. */
import { afterEach, describe, expect, it } from "vitest";
import { type AtlasNode, createNode, inProcessNetwork, inProcessTransport } from "../../mod.ts";
import { claimOf } from "../conformance/store_kit.ts";
import { Regions } from "../store/regions.ts";
import { app as plain, log, type TestApp, until } from "./cluster.ts";

type Node = AtlasNode<TestApp>;

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const it of opened.splice(0).reverse()) await it.close();
  log.length = 0;
});

/** A node in each of three regions; `us` is the home. They know each other. */
async function cutOff(after?: (region: string, step: string) => void) {
  const world = new Regions();
  opened.push(world);
  const network = inProcessNetwork();
  const nodes: Node[] = [];
  for (const region of ["us", "eu", "ap"]) {
    const node = await createNode(plain, {
      region,
      node: "only",
      store: await world.handle(region, region === "us" && after ? { after } : {}),
      transport: inProcessTransport(network),
      lease: { heartbeatMs: 50, leaseMs: 20_000 },
    });
    nodes.push(node);
    opened.push({ close: () => node.close({ drainMs: 200 }) });
  }
  const [us, eu, ap] = nodes as [Node, Node, Node];
  for (const node of nodes) {
    for (const region of ["us", "eu", "ap"]) {
      await node.call("counters", `${region}~hello`, "echo", [0]);
    }
  }
  return { world, us, eu, ap };
}

const at = (region: string) => `rrp:${region}/only/counters/x`;

describe("a move to a region whose registry is away", () => {
  it("is refused before anything stops, and succeeds once the registry is back", async () => {
    const { world, us, ap } = await cutOff();
    await us.call("counters", "x", "add", [1]);
    world.away.add("eu");
    for (const node of [us, ap]) {
      await expect(node.move("counters", "x", "eu")).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringMatching(/counters\/x stays where it is: region eu/),
        maybeExecuted: false,
      });
    }
    expect(log).not.toContain("stop x move");
    expect((await ap.call("counters", "x", "add", [1])).result).toMatchObject({ total: 2 });
    world.away.delete("eu");
    expect((await us.move("counters", "x", "eu")).rrp).toBe(at("eu"));
    const moved = await us.call("counters", "x", "add", [1]);
    expect(moved).toMatchObject({ rrp: at("eu"), result: { total: 3 } });
  });

  it("is undone if the registry fails at the last moment", async () => {
    let isMoving = false;
    const { world, us, eu, ap } = await cutOff((region, step) => {
      if (isMoving && region === "us" && step === "claim") world.away.add("eu");
    });
    const { epoch } = await us.call("counters", "x", "add", [1]);
    isMoving = true;
    await expect(us.move("counters", "x", "eu")).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/could not be moved to eu: .*; it stays where it was/),
    });
    isMoving = false;
    expect(log).toContain("stop x move");
    const again = await ap.call("counters", "x", "add", [1]);
    expect(again).toMatchObject({ rrp: at("us"), result: { total: 2 } });
    expect(again.epoch).toBeGreaterThan(epoch);
    expect((await us.move("counters", "x", "ap")).rrp).toBe(at("ap"));
    world.away.delete("eu");
    expect((await eu.call("counters", "x", "add", [1])).rrp).toBe(at("ap"));
    expect((await eu.move("counters", "x", "eu")).rrp).toBe(at("eu"));
    expect((await us.call("counters", "x", "total", [])).result).toBe(3);
  });

  it.each([["us", "us"], ["us", "ap"], ["ap", "us"], ["ap", "ap"]])(
    "that was interrupted is completed by a node of %s, to %s",
    async (asked, to) => {
      const { world, us, ap } = await cutOff();
      await us.call("counters", "x", "add", [1]);
      await us.drain({ prefix: at("us"), forMs: 1 }).catch(() => {});
      const mover = await world.handle("us");
      await until(async () => await mover.lookup("counters/x") === null, "it is given up");
      const incarnation = crypto.randomUUID();
      const { owner } = await mover.claim(claimOf("counters/x", { incarnation }));
      const isGone = await mover.depart?.("counters/x", incarnation, owner?.epoch ?? 0, "eu");
      expect(isGone).toBe(true);
      world.away.add("eu");
      const node = asked === "us" ? us : ap;
      expect((await node.move("counters", "x", to)).rrp).toBe(at(to));
      for (const other of [us, ap]) {
        const { rrp, result } = await other.call("counters", "x", "total", []);
        expect([rrp, result]).toEqual([at(to), 1]);
      }
    },
  );
});

it("a move to an unknown region is a bad request that names the known ones", async () => {
  const { us, ap } = await cutOff();
  for (const node of [us, ap]) {
    await expect(node.move("counters", "x", "mars")).rejects.toMatchObject({
      code: "bad_request",
      message: `region is "mars", it must be one of us, eu, ap`,
      maybeExecuted: false,
    });
  }
  await expect(us.move("counters", "x", "ap", null as unknown as object)).rejects.toMatchObject({
    code: "bad_request",
    message: "options is null, it must be an object",
  });
  await expect(us.move("counters", "x", "")).rejects.toMatchObject({ code: "invalid_rrp" });
  expect((await us.lookup("counters", "x", { require: "confirmed" })).verdict).toBe("unowned");
});
