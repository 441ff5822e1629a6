/**
 * Links that stay open while nothing comes over them any more: calls take another way where
 * there is one, in their order, and come back at a sign of life.
 */
import { afterEach, describe, expect, it } from "vitest";
import { type AtlasNode, type CreateNodeOptions, type NodeEvent } from "../../mod.ts";
import { SILENCE_MS } from "../../src/limits.ts";
import { type FakeClock, fakeClock } from "../../testing.ts";
import { Gate, type TestApp } from "./cluster.ts";
import { Regions } from "./regions.ts";

type TestNode = AtlasNode<TestApp>;

/** By when a link that owes an answer has been found silent, ms; and longer than that. */
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
  /** What nodes told of roads and gateways. */
  readonly told: string[] = [];

  override async node(path: string, options: Partial<CreateNodeOptions> = {}): Promise<TestNode> {
    const onEvent = ({ event, fields: { node = "", reason = "" } }: NodeEvent) => {
      if (/^(?:link to region|gateway) /.test(event)) {
        this.told.push(`${event} ${node} ${reason}`.trim());
      }
    };
    const { clock } = this;
    const node = await clock.run(super.node(path, { clock, onEvent, ...options }));
    this.nodes.push(node);
    return node;
  }

  /** The path of a call, or why there is none. */
  async path(node: TestNode, id: string, timeoutMs: number = LONG_MS): Promise<readonly string[]> {
    const call = node.call("counters", id, "echo", [1], { timeoutMs });
    return await this.clock.run(call.then(({ path }) => path, ({ code }) => [code]));
  }

  /** Has one call wait for an answer until the silence was found; it goes on after that. */
  async findSilence(node: TestNode, id: string, timeoutMs: number = LONG_MS) {
    const call = node.call("counters", id, "add", [1], { timeoutMs });
    call.catch(() => {});
    await this.clock.advance(FOUND_MS);
    return { call };
  }
}

/** The owner of `eu~x` beside other nodes there, and us/a, which knows its way to it. */
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
const silent = expect.stringMatching(
  /^link to region down eu\/owner nothing came over its link for \d+ ms$/,
);

describe("calls to an owner over whose link nothing comes any more", () => {
  it("go through a gateway, and come back at a sign of life", async () => {
    const { made, us } = await world(["eu/g"]);
    expect(await made.path(us, "eu~x")).toEqual(STRAIGHT);
    made.swallow("us/a", "eu/owner", true);
    const lost = us.call("counters", "eu~x", "add", [1], { timeoutMs: 4_000 });
    await expect(made.clock.run(lost)).rejects.toMatchObject({
      code: "timeout",
      maybeExecuted: true,
      message: expect.stringMatching(/and eu\/owner did not answer/),
    });
    expect(await made.path(us, "eu~x")).toEqual(around("eu/g"));
    expect(made.told).toContainEqual(silent);
    made.swallow("us/a", "eu/owner", false);
    await made.clock.advance(0);
    expect(await made.path(us, "eu~x")).toEqual(STRAIGHT);
    expect(made.told.at(-1)).toBe("link to region up eu/owner");
  });

  it("do so where each is given up before the silence is found", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    made.swallow("us/a", "eu/owner", true);
    expect(await made.path(us, "eu~x", 900)).toEqual(["timeout"]);
    await made.clock.advance(FOUND_MS);
    expect(await made.path(us, "eu~x", 900)).toEqual(around("eu/g"));
  });

  it("go through any other node of its region where that has no gateways", async () => {
    const { made, us } = await world([], ["eu/other"]);
    await made.path(us, "eu~x");
    await made.path(us, "eu~y");
    made.swallow("us/a", "eu/owner", true);
    await made.findSilence(us, "eu~x");
    expect(await made.path(us, "eu~y")).toEqual(around("eu/other"));
  });

  it("don't overtake those of their resource that may be under way there", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    made.swallow("us/a", "eu/owner", true);
    const { call: first } = await made.findSilence(us, "eu~x");
    made.forget();
    const next = [2, 3].map((n) => us.call("counters", "eu~x", "add", [n]));
    await made.clock.advance(0);
    expect(made.requests()).toEqual([]);
    expect(await made.path(us, "eu~y")).toEqual(around("eu/g"));
    made.swallow("us/a", "eu/owner", false);
    const answers = await made.clock.run(Promise.all([first, ...next]));
    expect(answers.map(({ result }) => result)).toMatchObject(
      [2, 4, 7].map((total) => ({ total })),
    );
    expect(answers.map(({ path }) => path)).toEqual([STRAIGHT, STRAIGHT, STRAIGHT]);
  });

  it("go on once those have run out of time, in their order", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    made.swallow("us/a", "eu/owner", true);
    await made.findSilence(us, "eu~x", 2 * SILENCE_MS);
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

  it("wait for it where there is no other way", async () => {
    const { made, us } = await world(["eu/g"]);
    await made.path(us, "eu~x");
    await made.path(us, "eu~y");
    made.swallow("us/a", "eu/owner", true);
    made.swallow("us/a", "eu/g", true);
    await made.findSilence(us, "eu~x");
    made.forget();
    const call = us.call("counters", "eu~y", "echo", [1], { timeoutMs: LONG_MS });
    await made.clock.advance(FOUND_MS);
    expect(made.requests()).toEqual(["us/a>eu/owner request"]);
    made.swallow("us/a", "eu/owner", false);
    expect((await made.clock.run(call)).path).toEqual(STRAIGHT);
  });

  it("stay with one that takes long, and says that it lives", async () => {
    const { made, us } = await world(["eu/g"]);
    const long = us.call("counters", "eu~x", "wait", ["long"], { timeoutMs: LONG_MS });
    await made.clock.advance(LONG_MS / 2);
    expect(made.sent).toContain("us/a>eu/owner ping");
    expect(await made.path(us, "eu~y")).toEqual(STRAIGHT);
    Gate.of("long").open();
    expect((await made.clock.run(long)).path).toEqual(STRAIGHT);
    expect(made.told.filter((line) => line.startsWith("link to region"))).toEqual([]);
  });
});

describe("links that nothing replaces", () => {
  it("are asked for no sign of life in one's own region", async () => {
    const { made, us } = await world(["eu/g"]);
    const near = await made.node("us/b");
    await made.clock.run(near.call("counters", "us~z", "add", [1]));
    await made.path(us, "us~z");
    made.swallow("us/a", "us/b", true);
    const { call } = await made.findSilence(us, "us~z");
    made.swallow("us/a", "us/b", false);
    expect((await made.clock.run(call)).path).toEqual(["us/a", "us/b"]);
    expect(made.sent.filter((line) => line.endsWith("ping"))).toEqual([]);
  });

  it("are asked for none where the region has no gateway and no other node", async () => {
    const { made, us } = await world([]);
    await made.path(us, "eu~x");
    made.swallow("us/a", "eu/owner", true);
    const calls = [1, 2].map((n) => us.call("counters", "eu~x", "add", [n]));
    await made.clock.advance(FOUND_MS);
    expect(made.sent.filter((line) => line.endsWith("ping"))).toEqual([]);
    made.swallow("us/a", "eu/owner", false);
    await made.clock.run(Promise.all(calls));
    expect(made.told).toEqual([]);
  });
});

describe("calls through a gateway over whose link nothing comes any more", () => {
  /** The road to the owner is shut; gives the gateway in use, too. */
  async function divided(gateways: readonly string[], others?: readonly string[]) {
    const { made, us } = await world(gateways, others);
    made.road("us/a", "eu/owner", false);
    made.road("eu/owner", "us/a", false);
    await made.path(us, "eu~y");
    const [, first = ""] = await made.path(us, "eu~x");
    return { made, us, first };
  }

  it("go through the next, behind those of their resource that may be under way", async () => {
    const { made, us, first } = await divided(["eu/g", "eu/h"]);
    const other = first === "eu/g" ? "eu/h" : "eu/g";
    made.swallow("us/a", first, true);
    const { call: lost } = await made.findSilence(us, "eu~x", 2 * SILENCE_MS);
    expect(await made.path(us, "eu~y")).toEqual(around(other));
    expect(await made.path(us, "eu~x")).toEqual(around(other));
    await expect(lost).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
  });

  it("don't go on over it as over any other node's, whatever its probes", async () => {
    const { made, us, first } = await divided(["eu/g"], ["eu/g", "eu/other"]);
    expect(first).toBe("eu/g");
    made.swallow("us/a", "eu/g", true);
    // Probes fail, and fail again, and what is fit again after each is nobody's to try.
    await made.clock.advance(LONG_MS);
    made.forget();
    const paths = [];
    for (let n = 0; n < 20; n++) {
      paths.push(await made.path(us, "eu~x", 1_000));
      await made.clock.advance(1_000);
    }
    expect(new Set(paths.map(String))).toEqual(new Set([String(around("eu/other"))]));
    made.swallow("us/a", "eu/g", false);
    await made.clock.advance(100);
    expect(await made.path(us, "eu~x")).toEqual(around("eu/g"));
  });
});
