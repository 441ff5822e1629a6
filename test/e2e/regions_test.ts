/**
 * Three regions, two nodes and a registry each, with delays between them: one owner for each key,
 * wherever it is called from; no more round trips than necessary; routes around closed connections;
 * a region that is cut off has no effect on others; resources move while they are called.
 *
 * All tests share one set-up and run in order. Delays are real, but no time is asserted: the tests
 * count messages.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { type Answer, call, result } from "./calls.ts";
import { checkHistory, startLoad } from "./load.ts";
import { endAll } from "./process.ts";
import {
  AP,
  EU,
  livingAt,
  type RegionName,
  type RegionNode,
  REGIONS,
  regionsMissing,
  type Sent,
  ThreeRegions,
  US,
} from "./regions.ts";
import { checkRegionsLoad, type RegionsLoad, startRegionsLoad } from "./regions_load.ts";
import { unless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const NAMES = 60;
/** Keys called at the same time, each through all nodes. */
const AT_ONCE = 12;
/** How long a region is cut off: longer than a lease, and than the wait for a store. */
const CUT_MS = 12_000;
/** How long one call may take, and one step of a test, in ms: longer than any stall. */
const PATIENCE_MS = 60_000;

const world = new ThreeRegions();
let followed: RegionsLoad;

describe("three regions", unless(regionsMissing), () => {
  beforeAll(async () => {
    await world.open();
    // The resource follows its callers within half a minute, during the next tests.
    expect((await home("followers/pet", US)).seq).toBe(1);
    followed = startRegionsLoad({
      type: "followers",
      id: "pet",
      urls: world.urls(EU),
      pauseMs: 150,
    });
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
        checkAnswers(id, await callAll(world.nodes, id));
      }
    }));
  }, 180_000);

  test.for([[US, AP], [AP, EU], [EU, US]] as const)(
    "a call from %s to %s takes one request to the registry and one to the owner, later calls only the latter",
    async ([from, to]) => {
      const [caller, another] = [world.node(from, 0), world.node(from, 1)];
      // If the machine was too busy to open a link in time, another route is used for some time.
      for (const asked of [caller, another]) await straight(asked, to);
      for (const [title, asked] of [["unowned", caller], ["owned", another]] as const) {
        const id = `${to}~journeys-from-${from}`;
        const messages = world.watch(`channels/${id}`);
        const send = () =>
          connect(asked.url, { timeoutMs: PATIENCE_MS }).call("channels", id, "send", [
            "ann",
            title,
          ]);
        const cold = await send();
        expect(requests(messages, from, to), `cold, ${title}`).toEqual(["registry", "link"]);
        expect(messages.every((message) => isBetween(message, from, to)), "no third region").toBe(
          true,
        );
        messages.length = 0;
        const warm = await send();
        expect(requests(messages, from, to), `warm, ${title}`).toEqual(["link"]);
        expect(warm).toMatchObject({ rrp: cold.rrp, epoch: cold.epoch });
        expect(warm.path).toEqual([asked.name, ownerOf(cold.rrp)]);
      }
    },
  );

  test(
    "calls are routed around a connection that drops all data, though links over it stay open",
    async () => {
      const [caller, owner, gateway] = [world.node(US, 0), world.node(AP, 0), world.node(AP, 1)];
      const id = `${AP}~silent`;
      await result(owner.url, `channels/${id}`, "send", ["ann", "first"]);
      const client = connect(caller.url);
      const isPath = async (...names: string[]) => {
        const call = client.call("channels", id, "whereami", [], { timeoutMs: 2_000 });
        return String(await call.then(({ path }) => path, () => [])) === String(names);
      };
      await until(() => isPath(caller.name, owner.name), "the direct route is taken");

      const set = (state: "open" | "silent") => {
        for (const target of ["n0", "gateway n0"] as const) {
          world.set(US, AP, target, state);
          world.set(AP, US, target, state);
        }
      };
      set("silent");
      // Long before idle links are closed, which takes 45 s.
      await until(
        () => isPath(caller.name, gateway.name, owner.name),
        "a gateway is taken",
        30_000,
      );
      set("open");
      await until(() => isPath(caller.name, owner.name), "the direct route is taken again");
    },
    90_000,
  );

  test(
    "calls are routed around closed connections, through a gateway, and if that dies through another one",
    async () => {
      const [caller, owner, gateway] = [world.node(US, 0), world.node(AP, 0), world.node(AP, 1)];
      const id = `${AP}~behind`;
      await result(owner.url, `channels/${id}`, "send", ["ann", "first"]);
      const client = connect(caller.url, { timeoutMs: PATIENCE_MS });
      // These calls have idempotency keys, so that one which a closing route cuts off is repeated.
      const path = async () => {
        const idempotencyKey = crypto.randomUUID();
        return (await client.call("channels", id, "whereami", [], { idempotencyKey })).path;
      };
      await straight(caller, AP);
      expect(await path()).toEqual([caller.name, owner.name]);

      for (const target of ["n0", "gateway n0"] as const) {
        world.set(US, AP, target, "closed");
        world.set(AP, US, target, "closed");
      }
      expect(await path()).toEqual([caller.name, gateway.name, owner.name]);

      const load = startLoad({ channel: id, callers: 4, urls: () => [caller.url] });
      await until(() => load.receipts.length >= 20, "calls through the gateway", PATIENCE_MS);
      gateway.program.signal("SIGKILL");
      await gateway.program.ended;
      world.set(US, AP, "gateway n0", "open");
      const before = load.receipts.length;
      const isOn = () => load.receipts.length >= before + 20;
      await until(isOn, "calls through the other gateway", PATIENCE_MS);
      expect(await path()).toEqual([caller.name, owner.name]);
      await load.finish();
      const receipts = [{ text: "first", seq: 1, epoch: 0, began: 0, ended: 0 }, ...load.receipts];
      await checkHistory(world.node(EU, 0).url, id, receipts);

      for (const target of ["n0", "gateway n0"] as const) {
        world.set(US, AP, target, "open");
        world.set(AP, US, target, "open");
      }
      await world.restart(gateway);
    },
    180_000,
  );

  test(
    "a region that is cut off affects no other, serves its own keys, and loses nothing",
    async () => {
      const [outside, inside] = [world.urls(US, EU), world.urls(AP)];
      await home(`channels/${AP}~island`, AP);
      const untouched = [
        startRegionsLoad({ type: "channels", id: `${US}~mainland`, urls: outside, pauseMs: 50 }),
        startRegionsLoad({ type: "channels", id: `${EU}~mainland`, urls: outside, pauseMs: 50 }),
        startRegionsLoad({ type: "channels", id: `${AP}~inland`, urls: inside, pauseMs: 50 }),
      ];
      const alive = await livingAt(world.node(US, 0).url);
      expect(alive.length).toBe(world.nodes.length);
      const crossing = [
        startLoad({ channel: `${AP}~crossing`, callers: 4, urls: () => outside }),
        startLoad({ channel: `${US}~crossing`, callers: 2, urls: () => inside }),
      ];
      const areAcross = () => crossing.every(({ receipts }) => receipts.length >= 8);
      await until(areAcross, "calls across", PATIENCE_MS);

      world.cutOff(AP, "silent");
      const since = performance.now();
      const during = untouched.map(({ notes }) => notes.length);
      await refusals();
      // New keys in the remaining regions, too.
      const left = world.nodes.filter(({ region }) => region !== AP);
      checkAnswers(`${EU}~meanwhile`, await callAll(left, `${EU}~meanwhile`));
      await until(() => performance.now() - since > CUT_MS, "the region was cut off long enough");
      world.cutOff(AP, "closed");
      await refusals();
      const areBusy = () =>
        untouched.every(({ notes }, i) => notes.length > (during[i] as number) + 50);
      await until(areBusy, "calls inside of what is left, and of what is cut off", PATIENCE_MS);
      // An answer may have crossed before the cut; calls that began after it are stuck.
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
        await checkRegionsLoad(url, `channels/${id}`, untouched[i] as RegionsLoad);
      }
      for (const [i, region] of [AP, US].entries()) {
        const { receipts = [] } = crossing[i] ?? {};
        await checkHistory(world.node(EU, 0).url, `${region}~crossing`, receipts);
      }
      for (const { url } of world.nodes) {
        expect(await livingAt(url), "nobody lapsed").toEqual(alive);
      }
    },
    180_000,
  );

  test("a resource moves from region to region while all call it, and no call fails", async () => {
    const load = startRegionsLoad({
      type: "channels",
      id: "traveller",
      urls: world.urls(...REGIONS),
    });
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
      const callers = () =>
        new Set(load.notes.filter((note) => note.epoch === epoch).map(callerOf));
      await until(() => callers().size === world.nodes.length, `all call it in ${to}`, PATIENCE_MS);
    }
    await load.finish();
    await checkRegionsLoad(world.node(EU, 1).url, "channels/traveller", load);
  }, 180_000);

  test("a resource follows its callers to their region, and no call fails", async () => {
    const isThere = () => followed.notes.at(-1)?.rrp.startsWith(`rrp:${EU}/`) === true;
    await until(isThere, "it has followed", 2 * PATIENCE_MS);
    const there = followed.notes.length;
    await until(() => followed.notes.length >= there + 8, "calls where it is now", PATIENCE_MS);
    await followed.finish();
    const first = { text: "at home", seq: 1, epoch: 0, rrp: "" };
    const all = { ...followed, notes: [first, ...followed.notes] };
    await checkRegionsLoad(world.node(AP, 0).url, "followers/pet", all);
  }, 240_000);
});

if (regionsMissing !== null) {
  test("three regions", ({ skip }) => skip(regionsMissing as string));
}

/** Sends a resource its first message, in its home region. */
async function home(resource: string, region: RegionName): Promise<{ seq: number }> {
  const { status, body } = await send(world.node(region, 0), resource, ["ann", "at home"]);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.result;
}

/** Calls one key through all these nodes at once. */
function callAll(nodes: readonly RegionNode[], id: string): Promise<Answer[]> {
  return Promise.all(nodes.map((node) => send(node, `channels/${id}`, [node.name, id])));
}

/**
 * Sends a message, and repeats it if it was certainly not executed: a node on a busy machine may
 * not reach its store in time.
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

/** Waits until calls go directly from a node to both of another region. */
async function straight(from: RegionNode, to: RegionName): Promise<void> {
  for (const owner of world.nodes.filter(({ region }) => region === to)) {
    const id = `${to}~at-${owner.name.replace("/", "-")}`;
    await send(owner, `channels/${id}`, ["ann", "here"]);
    const client = connect(from.url, { timeoutMs: PATIENCE_MS });
    await until(
      async () => (await client.call("channels", id, "whereami", [])).path.length === 2,
      `a direct route from ${from.name} to ${owner.name}`,
      PATIENCE_MS,
    );
  }
}

/** Checks that all answers about one key have the same owner, and their order. */
function checkAnswers(id: string, answers: Answer[]): void {
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

/** The messages that went from one region to another. */
function requests(messages: readonly Sent[], from: RegionName, to: RegionName): Sent["over"][] {
  return messages.filter((message) => message.from === from && message.to === to).map(({ over }) =>
    over
  );
}

/** Whether a message went between two regions. */
function isBetween(message: Sent, one: RegionName, other: RegionName): boolean {
  return [message.from, message.to].every((region) => region === one || region === other);
}

/** The node that a pointer names, as paths do. */
function ownerOf(rrp: string): string {
  return rrp.slice("rrp:".length).split("/").slice(0, 2).join("/");
}

/** Checks that calls from and to a region that is cut off fail, and name the region. */
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
  // The key, which may contain a region's name, comes first if the message has one.
  expect(body.error.message.replace(`channels/${id} `, "")).toContain(region);
}

/** The caller of a message. */
function callerOf({ text }: { text: string }): string {
  return text.split(".")[1] as string;
}
