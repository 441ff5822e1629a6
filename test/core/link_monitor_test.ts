/**
 * Covers src/links/link_monitor.ts: links that stay open while nothing arrives over them. Calls
 * take another route if there is one, keep their order, and return once the link answers again.
 */
import { afterEach, describe, expect, it } from "vitest";
import { type AtlasNode, type CreateNodeOptions, type NodeEvent } from "../../mod.ts";
import { SILENCE_MS } from "../../src/limits.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { Gate, type TestApp } from "./cluster.ts";
import { Regions } from "./regions.ts";

type TestNode = AtlasNode<TestApp>;

/**
 * How long until a link without an awaited answer counts as unresponsive, in ms; and a longer time.
 */
const FOUND_MS = 1.5 * SILENCE_MS;
const LONG_MS = 10 * SILENCE_MS;

const worlds: World[] = [];
afterEach(async () => {
  for (const gate of Gate.gates.values()) gate.open();
  for (const { clock, nodes } of worlds.splice(0)) {
    for (const node of nodes) await clock.run(node.close({ drainMs: 0 }));
  }
});

/** Regions on one fake clock. */
class World extends Regions {
  readonly clock: FakeClock = fakeClock();
  readonly nodes: TestNode[] = [];
  /** Log events of links to regions and of gateways. */
  readonly logged: string[] = [];

  override async node(path: string, options: Partial<CreateNodeOptions> = {}): Promise<TestNode> {
    const onEvent = ({ event, fields: { node = "", reason = "" } }: NodeEvent) => {
      if (/^(?:link to region|gateway) /.test(event)) {
        this.logged.push(`${event} ${node} ${reason}`.trim());
      }
    };
    const { clock } = this;
    const node = await clock.run(super.node(path, { clock, onEvent, ...options }));
    this.nodes.push(node);
    return node;
  }

  /** The path of a call, or the error if it failed. */
  async path(node: TestNode, id: string, timeoutMs: number = LONG_MS): Promise<readonly string[]> {
    const call = node.call("counters", id, "echo", [1], { timeoutMs });
    return await this.clock.run(call.then(({ path }) => path, ({ code }) => [code]));
  }

  /** Makes one call that waits until the link was found unresponsive; the call goes on after that. */
  async findUnresponsive(node: TestNode, id: string, timeoutMs: number = LONG_MS) {
    const call = node.call("counters", id, "add", [1], { timeoutMs });
    call.catch(() => {});
    await this.clock.advance(FOUND_MS);
    return { call };
  }
}

/** The owner of `eu~x` beside other nodes there, and us/a with a direct link to it. */
async function world(gateways: readonly string[], others: readonly string[] = gateways) {
  const made = new World();
  worlds.push(made);
  const owner = await made.node("eu/owner");
  for (const path of others) await made.node(path);
  await made.clock.run(owner.call("counters", "eu~x", "add", [1]));
  await made.clock.run(owner.call("counters", "eu~y", "add", [1]));
  const eu = gateways.map((path) => made.address(path));
  const us = await made.node("us/a", eu.length > 0 ? { gateways: { eu } } : {});
  return { made, us, owner };
}

const STRAIGHT = ["us/a", "eu/owner"];
const around = (by: string) => ["us/a", by, "eu/owner"];
const isDown = expect.stringMatching(
  /^link to region down eu\/owner nothing came over its link for \d+ ms$/,
);

describe("calls to an owner over an unresponsive link", () => {
  it("go through a gateway, and return to the link once it answers", async () => {
    const { made, us } = await world(["eu/g"]);
    expect(await made.path(us, "eu~x")).toEqual(STRAIGHT);
    made.stall("us/a", "eu/owner", true);
    const lost = us.call("counters", "eu~x", "add", [1], { timeoutMs: 4_000 });
    await expect(made.clock.run(lost)).rejects.toMatchObject({
      code: "timeout",
      maybeExecuted: true,
      message: expect.stringMatching(/and eu\/owner did not answer/),
    });
    expect(await made.path(us, "eu~x")).toEqual(around("eu/g"));
    expect(made.logged).toContainEqual(isDown);
    made.stall("us/a", "eu/owner", false);
    await made.clock.advance(0);
    expect(await made.path(us, "eu~x")).toEqual(STRAIGHT);
    expect(made.logged.at(-1)).toBe("link to region up eu/owner");
  });

  it("go through a gateway, also if each times out before the link is found unresponsive", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    made.stall("us/a", "eu/owner", true);
    expect(await made.path(us, "eu~x", 900)).toEqual(["timeout"]);
    await made.clock.advance(FOUND_MS);
    expect(await made.path(us, "eu~x", 900)).toEqual(around("eu/g"));
  });

  it("go through any other node of the region if it has no gateways", async () => {
    const { made, us } = await world([], ["eu/other"]);
    await made.path(us, "eu~x");
    await made.path(us, "eu~y");
    made.stall("us/a", "eu/owner", true);
    await made.findUnresponsive(us, "eu~x");
    expect(await made.path(us, "eu~y")).toEqual(around("eu/other"));
  });

  it("wait for earlier calls of their resource that may be running there", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    made.stall("us/a", "eu/owner", true);
    const { call: first } = await made.findUnresponsive(us, "eu~x");
    made.resetCounts();
    const next = [2, 3].map((n) => us.call("counters", "eu~x", "add", [n]));
    await made.clock.advance(0);
    expect(made.requests()).toEqual([]);
    expect(await made.path(us, "eu~y")).toEqual(around("eu/g"));
    made.stall("us/a", "eu/owner", false);
    const answers = await made.clock.run(Promise.all([first, ...next]));
    expect(answers.map(({ result }) => result)).toMatchObject(
      [2, 4, 7].map((total) => ({ total })),
    );
    expect(answers.map(({ path }) => path)).toEqual([STRAIGHT, STRAIGHT, STRAIGHT]);
  });

  it("go on in their order once those have timed out", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    made.stall("us/a", "eu/owner", true);
    await made.findUnresponsive(us, "eu~x", 2 * SILENCE_MS);
    const late = us.call("counters", "eu~x", "echo", [1], { timeoutMs: 100 });
    const next = [2, 3].map((n) => us.call("counters", "eu~x", "add", [n]));
    await expect(made.clock.run(late)).rejects.toMatchObject({
      code: "timeout",
      maybeExecuted: false,
      message: expect.stringMatching(
        /before that: eu\/owner, which has earlier calls to .*, does not respond/,
      ),
    });
    const answers = await made.clock.run(Promise.all(next));
    expect(answers.map(({ result }) => result)).toMatchObject([{ total: 3 }, { total: 6 }]);
    expect(answers.map(({ path }) => path)).toEqual([around("eu/g"), around("eu/g")]);
  });

  it("wait for the link if there is no other route", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    await made.path(us, "eu~y");
    made.stall("us/a", "eu/owner", true);
    made.stall("us/a", "eu/g", true);
    await made.findUnresponsive(us, "eu~x");
    made.resetCounts();
    const call = us.call("counters", "eu~y", "echo", [1], { timeoutMs: LONG_MS });
    await made.clock.advance(FOUND_MS);
    expect(made.requests()).toEqual(["us/a>eu/owner request"]);
    made.stall("us/a", "eu/owner", false);
    expect((await made.clock.run(call)).path).toEqual(STRAIGHT);
  });

  it("stay on a link whose owner is slow but answers probes", async () => {
    const { made, us } = await world(["eu/g"]);
    const long = us.call("counters", "eu~x", "wait", ["long"], { timeoutMs: LONG_MS });
    await made.clock.advance(LONG_MS / 2);
    expect(made.sent).toContain("us/a>eu/owner ping");
    expect(await made.path(us, "eu~y")).toEqual(STRAIGHT);
    Gate.of("long").open();
    expect((await made.clock.run(long)).path).toEqual(STRAIGHT);
    expect(made.logged.filter((line) => line.startsWith("link to region"))).toEqual([]);
  });
});

describe("links without an alternative", () => {
  it("are not probed within the node's own region", async () => {
    const { made, us } = await world(["eu/g"]);
    const near = await made.node("us/b");
    await made.clock.run(near.call("counters", "us~z", "add", [1]));
    await made.path(us, "us~z");
    made.stall("us/a", "us/b", true);
    const { call } = await made.findUnresponsive(us, "us~z");
    made.stall("us/a", "us/b", false);
    expect((await made.clock.run(call)).path).toEqual(["us/a", "us/b"]);
    expect(made.sent.filter((line) => line.endsWith("ping"))).toEqual([]);
  });

  it("are not probed if the region has no gateway and no other node", async () => {
    const { made, us } = await world([]);
    await made.path(us, "eu~x");
    made.stall("us/a", "eu/owner", true);
    const calls = [1, 2].map((n) => us.call("counters", "eu~x", "add", [n]));
    await made.clock.advance(FOUND_MS);
    expect(made.sent.filter((line) => line.endsWith("ping"))).toEqual([]);
    made.stall("us/a", "eu/owner", false);
    await made.clock.run(Promise.all(calls));
    expect(made.logged).toEqual([]);
  });
});

describe("calls through a gateway over an unresponsive link", () => {
  /** Closes the link to the owner; also gives the gateway in use. */
  async function divided(gateways: readonly string[], others?: readonly string[]) {
    const { made, us } = await world(gateways, others);
    made.setLink("us/a", "eu/owner", false);
    made.setLink("eu/owner", "us/a", false);
    await made.path(us, "eu~y");
    const [, first = ""] = await made.path(us, "eu~x");
    return { made, us, first };
  }

  it("go through the next gateway, after earlier calls of their resource that may be running", async () => {
    const { made, us, first } = await divided(["eu/g", "eu/h"]);
    const other = first === "eu/g" ? "eu/h" : "eu/g";
    made.stall("us/a", first, true);
    const { call: lost } = await made.findUnresponsive(us, "eu~x", 2 * SILENCE_MS);
    expect(await made.path(us, "eu~y")).toEqual(around(other));
    expect(await made.path(us, "eu~x")).toEqual(around(other));
    await expect(lost).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
  });

  it("don't use the unresponsive gateway as an ordinary node of its region either", async () => {
    const { made, us, first } = await divided(["eu/g"], ["eu/g", "eu/other"]);
    expect(first).toBe("eu/g");
    made.stall("us/a", "eu/g", true);
    // Each probe fails, and the link must not be used between two probes.
    await made.clock.advance(LONG_MS);
    made.resetCounts();
    const paths = [];
    for (let n = 0; n < 20; n++) {
      paths.push(await made.path(us, "eu~x", 1_000));
      await made.clock.advance(1_000);
    }
    expect(new Set(paths.map(String))).toEqual(new Set([String(around("eu/other"))]));
    made.stall("us/a", "eu/g", false);
    await made.clock.advance(100);
    expect(await made.path(us, "eu~x")).toEqual(around("eu/g"));
  });
});
