/**
 * Three regions, two nodes and a registry each, with delays between them: one owner for each key,
 * wherever it is called from; no more round trips than necessary; routes around closed
 * connections; a region that is cut off without effect on others; resources that move while they
 * are called.
 *
 * All tests share one set-up, in order. Delays are real, and no time is asserted: messages are
 * counted.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { type Answer, call, result } from "./calls.ts";
import { checkLedger, startLoad } from "./load.ts";
import { endAll } from "./process.ts";
import {
  AP,
  EU,
  livingAt,
  type RegionName,
  type RegionNode,
  REGIONS,
  regionsMissing,
  type Trip,
  US,
  World,
} from "./regions.ts";
import { checkInspection, inspect, type Inspection } from "./regions_load.ts";
import { unless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const NAMES = 60;
/** Names in the air at once; each is called through all nodes. */
const AT_ONCE = 12;
/** How long a region is cut off: longer than a lease, and than a store is waited for. */
const CUT_MS = 12_000;
/** How long one call may take, and one step of a test, in ms: longer than any stall. */
const PATIENCE_MS = 60_000;

const world = new World();
let followed: Inspection;

describe("three regions", unless(regionsMissing), () => {
  beforeAll(async () => {
    await world.open();
    // Half a minute from now it is to have followed its callers.
    expect((await home("followers/pet", US)).seq).toBe(1);
    followed = inspect({ type: "followers", id: "pet", doors: world.doors(EU), thinksMs: 150 });
  }, 120_000);

  afterAll(async () => {
    await followed?.finish();
    await endAll();
    await world.close();
  }, 60_000);

  test("a key has one owner in its home region, wherever it is called from", async () => {
    const ids = Array.from({ length: NAMES }, (_, i) => {
      const region = [...REGIONS, null][i % 4];
      return region ? `${region}~name-${i}` : `name-${i}`;
    });
    const queue = [...ids];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
        judge(id, await callAll(world.nodes, id));
      }
    }));
  }, 180_000);

  test.for([[US, AP], [AP, EU], [EU, US]] as const)(
    "requests from %s to %s: one to the registry and one to the owner, then only the latter",
    async ([from, to]) => {
      const [door, another] = [world.node(from, 0), world.node(from, 1)];
      // Where a machine was too busy for a link in time, a way around is taken for a while.
      for (const asked of [door, another]) await straight(asked, to);
      for (const [title, asked] of [["unowned", door], ["owned", another]] as const) {
        const id = `${to}~journeys-from-${from}`;
        const trips = world.watch(`channels/${id}`);
        const send = () =>
          connect(asked.url, { timeoutMs: PATIENCE_MS }).call("channels", id, "send", [
            "ann",
            title,
          ]);
        const cold = await send();
        expect(requests(trips, from, to), `cold, ${title}`).toEqual(["registry", "link"]);
        expect(trips.every((trip) => isBetween(trip, from, to)), "no third region").toBe(true);
        trips.length = 0;
        const warm = await send();
        expect(requests(trips, from, to), `warm, ${title}`).toEqual(["link"]);
        expect(warm).toMatchObject({ rrp: cold.rrp, epoch: cold.epoch });
        expect(warm.path).toEqual([asked.name, ownerOf(cold.rrp)]);
      }
    },
  );

  test("around a connection that drops all data, though links over it stay open", async () => {
    const [door, owner, gateway] = [world.node(US, 0), world.node(AP, 0), world.node(AP, 1)];
    const id = `${AP}~swallowed`;
    await result(owner.url, `channels/${id}`, "send", ["ann", "first"]);
    const client = connect(door.url);
    const isPath = async (...names: string[]) => {
      const call = client.call("channels", id, "whereami", [], { timeoutMs: 2_000 });
      return String(await call.then(({ path }) => path, () => [])) === String(names);
    };
    await until(() => isPath(door.name, owner.name), "the straight road is taken");

    const set = (state: "open" | "silent") => {
      for (const goal of ["n0", "gateway n0"] as const) {
        world.set(US, AP, goal, state);
        world.set(AP, US, goal, state);
      }
    };
    set("silent");
    // Well before links are closed that have nothing to say: those are given 45 s.
    await until(() => isPath(door.name, gateway.name, owner.name), "a gateway is taken", 30_000);
    set("open");
    await until(() => isPath(door.name, owner.name), "the straight road is taken again");
  }, 90_000);

  test(
    "around closed connections: through a gateway, and where that dies through the next",
    async () => {
      const [door, owner, gateway] = [world.node(US, 0), world.node(AP, 0), world.node(AP, 1)];
      const id = `${AP}~behind`;
      await result(owner.url, `channels/${id}`, "send", ["ann", "first"]);
      const client = connect(door.url, { timeoutMs: PATIENCE_MS });
      // With a key, so that one which a closing road cuts short is made again.
      const path = async () => {
        const idempotencyKey = crypto.randomUUID();
        return (await client.call("channels", id, "whereami", [], { idempotencyKey })).path;
      };
      await straight(door, AP);
      expect(await path()).toEqual([door.name, owner.name]);

      for (const goal of ["n0", "gateway n0"] as const) {
        world.set(US, AP, goal, "shut");
        world.set(AP, US, goal, "shut");
      }
      expect(await path()).toEqual([door.name, gateway.name, owner.name]);

      const load = startLoad({ channel: id, callers: 4, doors: () => [door.url] });
      await until(() => load.receipts.length >= 20, "calls through the gateway", PATIENCE_MS);
      gateway.program.signal("SIGKILL");
      await gateway.program.ended;
      world.set(US, AP, "gateway n0", "open");
      const before = load.receipts.length;
      const isOn = () => load.receipts.length >= before + 20;
      await until(isOn, "calls through the other gateway", PATIENCE_MS);
      expect(await path()).toEqual([door.name, owner.name]);
      await load.finish();
      const receipts = [{ text: "first", seq: 1, epoch: 0, began: 0, ended: 0 }, ...load.receipts];
      await checkLedger(world.node(EU, 0).url, id, receipts);

      for (const goal of ["n0", "gateway n0"] as const) {
        world.set(US, AP, goal, "open");
        world.set(AP, US, goal, "open");
      }
      await world.restart(gateway);
    },
    180_000,
  );

  test(
    "a region is cut off: others are not affected, it serves its own keys, and nothing is lost",
    async () => {
      const [outside, inside] = [world.doors(US, EU), world.doors(AP)];
      await home(`channels/${AP}~island`, AP);
      const untouched = [
        inspect({ type: "channels", id: `${US}~mainland`, doors: outside, thinksMs: 50 }),
        inspect({ type: "channels", id: `${EU}~mainland`, doors: outside, thinksMs: 50 }),
        inspect({ type: "channels", id: `${AP}~inland`, doors: inside, thinksMs: 50 }),
      ];
      const alive = await livingAt(world.node(US, 0).url);
      expect(alive.length).toBe(world.nodes.length);
      const crossing = [
        startLoad({ channel: `${AP}~crossing`, callers: 4, doors: () => outside }),
        startLoad({ channel: `${US}~crossing`, callers: 2, doors: () => inside }),
      ];
      const areAcross = () => crossing.every(({ receipts }) => receipts.length >= 8);
      await until(areAcross, "calls across", PATIENCE_MS);

      world.cutOff(AP, "silent");
      const since = performance.now();
      const during = untouched.map(({ notes }) => notes.length);
      await refusals();
      // Of the regions that are left, new names too.
      const left = world.nodes.filter(({ region }) => region !== AP);
      judge(`${EU}~meanwhile`, await callAll(left, `${EU}~meanwhile`));
      await until(() => performance.now() - since > CUT_MS, "the region was cut off long enough");
      world.cutOff(AP, "shut");
      await refusals();
      const areBusy = () =>
        untouched.every(({ notes }, i) => notes.length > (during[i] as number) + 50);
      await until(areBusy, "calls inside of what is left, and of what is cut off", PATIENCE_MS);
      // An answer may have been past the sea before; what was begun since then is stuck.
      const begunSince = crossing.flatMap(({ receipts }) =>
        receipts.filter((it) => it.began > since)
      );
      expect(begunSince).toEqual([]);
      const promised = crossing.map(({ receipts }) => receipts.length);
      world.cutOff(AP, "open");

      await until(
        () => crossing.every(({ receipts }, i) => receipts.length >= (promised[i] as number) + 8),
        "calls across again",
        PATIENCE_MS,
      );
      await Promise.all([...untouched, ...crossing].map((load) => load.finish()));
      const homes = [[US, AP], [EU, AP], [AP, US]] as const;
      for (const [i, [region, asked]] of homes.entries()) {
        const id = region === AP ? `${AP}~inland` : `${region}~mainland`;
        const url = world.node(asked, 1).url;
        await checkInspection(url, `channels/${id}`, untouched[i] as Inspection);
      }
      for (const [i, region] of [AP, US].entries()) {
        const { receipts = [] } = crossing[i] ?? {};
        await checkLedger(world.node(EU, 0).url, `${region}~crossing`, receipts);
      }
      for (const { url } of world.nodes) {
        expect(await livingAt(url), "nobody lapsed").toEqual(alive);
      }
    },
    180_000,
  );

  test("a resource moves from region to region while all call it, and no call fails", async () => {
    const load = inspect({ type: "channels", id: "traveller", doors: world.doors(...REGIONS) });
    await until(() => load.notes.length >= 20, "calls at home", PATIENCE_MS);
    let epoch = 0;
    for (const [to, guide] of [[AP, EU], [EU, US], [US, AP]] as const) {
      const moved = await result<{ rrp: string; epoch: number }>(
        world.node(guide, 0).url,
        `guides/${guide}~guide`,
        "move",
        ["channels", "traveller", to],
        { timeoutMs: PATIENCE_MS, patienceMs: 2 * PATIENCE_MS },
      );
      expect(moved.rrp).toMatch(new RegExp(`^rrp:${to}/n\\d/channels/traveller$`));
      expect(moved.epoch).toBeGreaterThan(epoch);
      ({ epoch } = moved);
      const doors = () => new Set(load.notes.filter((note) => note.epoch === epoch).map(callerOf));
      await until(() => doors().size === world.nodes.length, `all call it in ${to}`, PATIENCE_MS);
    }
    await load.finish();
    await checkInspection(world.node(EU, 1).url, "channels/traveller", load);
  }, 180_000);

  test("a resource follows its callers to their region, and no call fails", async () => {
    const isThere = () => followed.notes.at(-1)?.rrp.startsWith(`rrp:${EU}/`) === true;
    await until(isThere, "it has followed", 2 * PATIENCE_MS);
    const there = followed.notes.length;
    await until(() => followed.notes.length >= there + 8, "calls where it is now", PATIENCE_MS);
    await followed.finish();
    const first = { text: "at home", seq: 1, epoch: 0, rrp: "" };
    const all = { ...followed, notes: [first, ...followed.notes] };
    await checkInspection(world.node(AP, 0).url, "followers/pet", all);
  }, 240_000);
});

if (regionsMissing !== null) {
  test("three regions", ({ skip }) => skip(regionsMissing as string));
}

/** Sends a resource its first message, in a region, where it belongs. */
async function home(resource: string, region: RegionName): Promise<{ seq: number }> {
  const { status, body } = await send(world.node(region, 0), resource, ["ann", "at home"]);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.result;
}

/** Calls one name through all these doors at once. */
function callAll(nodes: readonly RegionNode[], id: string): Promise<Answer[]> {
  return Promise.all(nodes.map((node) => send(node, `channels/${id}`, [node.name, id])));
}

/**
 * Sends a message, again where it was surely not taken: a node on a busy machine that can't
 * reach its store in time says so, and whoever asked comes back.
 */
async function send(node: RegionNode, resource: string, args: string[]): Promise<Answer> {
  const settings = { timeoutMs: PATIENCE_MS, patienceMs: 2 * PATIENCE_MS };
  let answer = await call(node.url, resource, "send", args, settings);
  await until(
    async () => {
      if (answer.status !== 503 || answer.body.error.maybeExecuted) return true;
      answer = await call(node.url, resource, "send", args, settings);
      return false;
    },
    `an answer of ${node.name} about ${resource}`,
    PATIENCE_MS,
  );
  return answer;
}

/** Waits until calls go straight from a node to both of another region. */
async function straight(from: RegionNode, to: RegionName): Promise<void> {
  for (const owner of world.nodes.filter(({ region }) => region === to)) {
    const id = `${to}~at-${owner.name.replace("/", "-")}`;
    await send(owner, `channels/${id}`, ["ann", "here"]);
    const client = connect(from.url, { timeoutMs: PATIENCE_MS });
    await until(
      async () => (await client.call("channels", id, "whereami", [])).path.length === 2,
      `a straight road from ${from.name} to ${owner.name}`,
      PATIENCE_MS,
    );
  }
}

/** What the answers about one name have in common, and in which order they came. */
function judge(id: string, answers: Answer[]): void {
  expect(answers.filter(({ status }) => status !== 200), "refused").toEqual([]);
  const [rrp, ...otherRrps] = new Set(answers.map(({ body }) => body.rrp));
  const epochs = new Set(answers.flatMap(({ body }) => [body.epoch, body.result.epoch]));
  expect(otherRrps).toEqual([]);
  expect(epochs.size).toBe(1);
  const at = REGIONS.find((region) => id.startsWith(`${region}~`)) ?? US;
  expect(rrp).toMatch(new RegExp(`^rrp:${at}/n\\d/channels/${id}$`));
  const seqs = answers.map(({ body }) => body.result.seq).sort((a, b) => a - b);
  expect(seqs).toEqual(answers.map((_, i) => i + 1));
}

/** Over what requests went from one region to another. */
function requests(trips: readonly Trip[], from: RegionName, to: RegionName): Trip["over"][] {
  return trips.filter((trip) => trip.from === from && trip.to === to).map(({ over }) => over);
}

/** Whether something went from one of two regions to the other. */
function isBetween(trip: Trip, one: RegionName, other: RegionName): boolean {
  return [trip.from, trip.to].every((region) => region === one || region === other);
}

/** The node that a pointer names, as paths do. */
function ownerOf(rrp: string): string {
  return rrp.slice("rrp:".length).split("/").slice(0, 2).join("/");
}

/** Calls from and to a region that is cut off fail, and say which region is out of reach. */
async function refusals(): Promise<void> {
  const [us, eu, ap, ap1] = [
    world.node(US, 0),
    world.node(EU, 1),
    world.node(AP, 0),
    world.node(AP, 1),
  ];
  await Promise.all([
    refused(us, AP, `${AP}~island`),
    refused(eu, AP, `${AP}~never-called`),
    refused(ap, US, `${US}~mainland`),
    refused(ap1, EU, `${EU}~never-called`),
  ]);
}

async function refused({ url }: RegionNode, region: RegionName, id: string): Promise<void> {
  const settings = { timeoutMs: 1_500, patienceMs: PATIENCE_MS };
  const { status, body } = await call(url, `channels/${id}`, "whereami", [], settings);
  expect([503, 504]).toContain(status);
  expect(body.error.code).toBe(status === 503 ? "unavailable" : "timeout");
  // The key, which may hold a region's name, comes first where it is named at all.
  expect(body.error.message.replace(`channels/${id} `, "")).toContain(region);
}

/** Which caller a note is of. */
function callerOf({ text }: { text: string }): string {
  return text.split(".")[1] as string;
}
