/** Nodes on the regional store: homes, lookups and moves as their callers see them. */
import { afterEach, expect, it } from "vitest";
import { type HomeRules, regionalStore } from "../../adapters/store/regional/store.ts";
import {
  type AtlasNode,
  createNode,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
  type Store,
} from "../../mod.ts";
import { Gate, LASTING, log, type TestApp, until } from "./cluster.ts";
import { lost } from "../store/regions.ts";
import { app } from "./regions.ts";

type Node = AtlasNode<TestApp>;

const opened: Node[] = [];
afterEach(async () => {
  for (const gate of Gate.gates.values()) gate.open();
  await Promise.all(opened.splice(0).map((node) => node.close({ drainMs: 200 })));
});

/** Regions with a registry each, any of which may be away. */
class RegionCluster {
  readonly away = new Set<string>();
  readonly #stores: Record<string, Store> = {};
  readonly #homes: HomeRules;
  readonly #network = inProcessNetwork();

  constructor(regions: readonly string[], homes: HomeRules) {
    this.#homes = homes;
    for (const region of regions) this.#stores[region] = this.#registry(region);
  }

  async node(region: string, name: string): Promise<Node> {
    const node = await createNode(app, {
      region,
      node: name,
      store: await regionalStore({ self: region, stores: this.#stores, homes: this.#homes }),
      transport: inProcessTransport(this.#network),
      lease: LASTING,
    });
    opened.push(node);
    return node;
  }

  #registry(region: string): Store {
    return new Proxy(memoryStore(), {
      get: (store, name) => {
        const value = Reflect.get(store, name);
        if (typeof value !== "function") return value;
        if (name === "status" || name === "close") return value.bind(store);
        return async (...args: unknown[]) => {
          if (this.away.has(region)) throw lost("the registry is away");
          return await value.apply(store, args);
        };
      },
    });
  }
}

/** A node in each region, on a registry in each region. */
async function nodesIn(regions: readonly string[], homes: HomeRules): Promise<Node[]> {
  const regionCluster = new RegionCluster(regions, homes);
  const nodes: Node[] = [];
  for (const region of regions) nodes.push(await regionCluster.node(region, "only"));
  return nodes;
}

/** Calls a counter from every node; its total shows lost and repeated calls. */
const adds = (nodes: readonly Node[], times: number): Promise<number>[] =>
  nodes.flatMap((node) =>
    Array.from({ length: times }, async () => (await node.resource("counters", "x").add(1)).total)
  );

const inOrder = (totals: readonly number[]) => [...totals].sort((one, other) => one - other);
const upTo = (most: number) => Array.from({ length: most }, (_, i) => i + 1);

it("calls from every region reach the home, and lookups agree", async () => {
  const nodes = await nodesIn(["us", "eu", "ap"], { default: "us" });
  for (const node of nodes) {
    expect((await node.call("counters", "x", "echo", [1])).rrp).toBe("rrp:us/only/counters/x");
    const answer = await node.call("counters", "eu~y", "echo", [1]);
    expect(answer.rrp).toBe("rrp:eu/only/counters/eu~y");
    const confirmed = await node.lookup("counters", "eu~y", { require: "confirmed" });
    expect(confirmed).toMatchObject({ rrp: answer.rrp, verdict: "confirmed" });
  }
});

it("a move under load loses no call, and runs none twice", async () => {
  const nodes = await nodesIn(["us", "eu", "ap"], { default: "us" });
  const [us, , ap] = nodes as [Node, Node, Node];
  await us.call("counters", "x", "echo", [0]);
  const running = us.call("counters", "x", "wait", ["removal"]);
  await until(() => log.includes("waiting removal"), "it runs");
  const before = adds(nodes, 20);
  const moving = ap.move("counters", "x", "eu");
  const after = adds(nodes, 20);
  Gate.of("removal").open();
  await running;
  expect((await moving).rrp).toBe("rrp:eu/only/counters/x");
  const [first, second] = [await Promise.all(before), await Promise.all(after)];
  expect(inOrder([...first, ...second])).toEqual(upTo(120));
  for (const i of nodes.keys()) {
    const own = [...first.slice(i * 20, i * 20 + 20), ...second.slice(i * 20, i * 20 + 20)];
    expect(own).toEqual(inOrder(own));
  }
  for (const node of nodes) {
    expect((await node.call("counters", "x", "total", [])).rrp).toBe("rrp:eu/only/counters/x");
  }
});

it("repeated moves keep the state and raise the epoch", async () => {
  const regions = ["us", "eu", "ap"];
  const nodes = await nodesIn(regions, { default: "us" });
  let epoch = 0;
  let added = 0;
  for (let round = 0; round < 9; round++) {
    const mover = nodes[(round * 2) % 3] as Node;
    const target = regions[(round + 1) % 3] as string;
    const calls = adds(nodes, 5);
    const moved = await mover.move("counters", "x", target);
    expect(moved.rrp).toBe(`rrp:${target}/only/counters/x`);
    expect(moved.epoch).toBeGreaterThan(epoch);
    epoch = moved.epoch;
    const totals = inOrder(await Promise.all(calls));
    expect(totals).toEqual(upTo(added + 15).slice(added));
    added += 15;
  }
});

it("a region whose registry is away reaches nodes elsewhere that have started since", async () => {
  const regionCluster = new RegionCluster(["us", "eu"], { default: "us" });
  const eu = await regionCluster.node("eu", "only");
  regionCluster.away.add("eu");
  const late = await regionCluster.node("us", "late");
  const { rrp } = await late.call("counters", "x", "add", [1]);
  expect(rrp).toBe("rrp:us/late/counters/x");
  expect((await eu.call("counters", "x", "total", [])).rrp).toBe(rrp);
  expect((await eu.call("counters", "unowned", "total", [])).rrp).toContain("rrp:us/late/");
  // A node whose own registry is unreadable can't list members.
  await expect(eu.members()).rejects.toThrow("region eu: the registry can't be reached");
});

it("a region whose registry is away confirms owners whose home is elsewhere", async () => {
  const regionCluster = new RegionCluster(["us", "eu"], { default: "us" });
  const us = await regionCluster.node("us", "only");
  const eu = await regionCluster.node("eu", "only");
  const { rrp } = await us.call("counters", "x", "add", [1]);
  const { rrp: own } = await eu.call("counters", "eu~x", "add", [1]);
  const confirmed = (id: string) => eu.lookup("counters", id, { require: "confirmed" });

  regionCluster.away.add("eu");
  expect(await confirmed("x")).toMatchObject({ rrp, verdict: "confirmed" });
  expect(await confirmed("unowned")).toMatchObject({ rrp: null, verdict: "unowned" });
  await expect(confirmed("eu~x")).rejects.toThrow("region eu: the registry can't be reached");
  await us.close();
  expect(await confirmed("x")).toMatchObject({ rrp: null, verdict: "unowned" });

  // It needs an answer from the home region's registry, even if it has one in its cache.
  regionCluster.away.delete("eu");
  regionCluster.away.add("us");
  expect(await confirmed("eu~x")).toMatchObject({ rrp: own, verdict: "confirmed" });
  await expect(confirmed("x")).rejects.toThrow("region us: the registry can't be reached");
});
