/**
 * Regions whose registries fail over, and lose the forwarding entries of keys that have moved.
 *
 * Covers adapters/store/regional/forwarding_repair.ts.
 */
import { afterEach, expect, it } from "vitest";
import { regionalStore } from "../../adapters/store/regional/store.ts";
import {
  type AtlasNode,
  createNode,
  defineApp,
  type InProcessNetwork,
  inProcessNetwork,
  inProcessTransport,
  type NodeEvent,
  type Ownership,
  type Store,
} from "../../mod.ts";
import { StoreState } from "../../adapters/store/store_state.ts";
import { fakeClock } from "../../testing.ts";
import { lost } from "../store/regions.ts";
import { Counter, untilBy } from "./cluster.ts";

/** The time of all nodes and stores here. */
const clock = fakeClock();
const until = (condition: () => unknown, what: string) => untilBy(clock, condition, what);

/** Stores' clocks run so many times faster, because membership is read every few seconds. */
const HASTE = 50;

/** Calls the winner of a conflict before it stops. */
class Loser extends Counter {
  static readonly farewells: string[] = [];

  override async onConflict(winner: Ownership): Promise<void> {
    const kept = await this.storage.get<number>("total");
    Loser.farewells.push(`${this.rrp} had ${kept}, ${winner.rrp} stays`);
  }
}

const app = defineApp({ resources: { counters: Loser } });
type Node = AtlasNode<typeof app>;

/** Registries that can be replaced by copies of themselves which lack some steps. */
class CopiedRegistries {
  readonly regions: readonly string[];
  /** Closed connections to registries, `ap>us`. */
  readonly closed = new Set<string>();
  readonly events: NodeEvent[] = [];
  readonly #states = new Map<string, StoreState>();
  readonly #written = new Map<string, [name: string, args: unknown[]][]>();
  readonly #network: InProcessNetwork = inProcessNetwork();
  #copies = 0;

  constructor(regions: readonly string[]) {
    this.regions = regions;
    for (const region of regions) {
      this.#states.set(region, new StoreState(region));
      this.#written.set(region, []);
    }
  }

  async node(region: string, name: string): Promise<Node> {
    const stores = Object.fromEntries(this.regions.map((it) => [it, this.#registry(region, it)]));
    const homes = { default: this.regions[0] as string };
    const node = await createNode(app, {
      region,
      node: name,
      store: await regionalStore({
        self: region,
        stores,
        homes,
        now: () => clock.now() * HASTE,
      }),
      transport: inProcessTransport(this.#network),
      clock,
      lease: { heartbeatMs: 25, leaseMs: 500 },
      onEvent: (event) => this.events.push(event),
    });
    opened.push(node);
    return node;
  }

  /**
   * A copy of a region's registry takes its place, with only those claims that `keeps` accepts;
   * without it the copy is empty.
   */
  failOver(region: string, keeps?: (incarnation: string) => boolean): void {
    // The copy writes its entries in the name of the registry that it replaces.
    const copy = new StoreState(this.#states.get(region)?.id);
    const written = (this.#written.get(region) ?? []).filter(([name, args]) =>
      keeps && (name !== "claim" || keeps((args[0] as { incarnation: string }).incarnation))
    );
    for (const [name, args] of written) step(copy, name, args);
    copy.id = `${region} copy ${++this.#copies}`;
    this.#states.set(region, copy);
    this.#written.set(region, written);
  }

  entry(region: string, key: string): Ownership | null {
    return (this.#states.get(region) as StoreState).lookup(key);
  }

  #registry(self: string, region: string): Store {
    return new Proxy({ claim: null } as unknown as Store, {
      get: (_, name) => {
        if (name === "status") return () => "up";
        if (name === "close") return () => Promise.resolve();
        if (typeof name !== "string" || !(name in StoreState.prototype)) return undefined;
        return async (...args: unknown[]) => {
          await null;
          if (this.closed.has(`${self}>${region}`)) throw lost("the link is closed");
          this.#written.get(region)?.push([name, args]);
          return step(this.#states.get(region) as StoreState, name, args);
        };
      },
    });
  }
}

function step(state: StoreState, name: string, args: unknown[]): unknown {
  return (state as unknown as Record<string, (...args: unknown[]) => unknown>)[name]?.(...args);
}

const opened: Node[] = [];
afterEach(async () => {
  Loser.farewells.length = 0;
  await Promise.all(opened.splice(0).map((node) => clock.run(node.close({ drainMs: 200 }))));
});

const KEY = "counters/x";
const add = (node: Node) => clock.run(node.call("counters", "x", "add", [1], { timeoutMs: 5_000 }));
const isNoDeparture = (incarnation: string) => incarnation !== "departed";

/** A key of `us` that has moved to `ap`. */
async function moved(registries: CopiedRegistries): Promise<{ us: Node; ap: Node }> {
  const [us, ap] = [await registries.node("us", "n"), await registries.node("ap", "n")];
  await add(us);
  expect((await clock.run(us.move("counters", "x", "ap"))).rrp).toBe("rrp:ap/n/counters/x");
  await add(ap);
  return { us, ap };
}

it("a forwarding entry lost in a failover is restored before any node may claim the key", async () => {
  for (const keeps of [isNoDeparture, () => false]) {
    const registries = new CopiedRegistries(["us", "eu", "ap"]);
    const { us, ap } = await moved(registries);
    registries.failOver("us", keeps);
    const late = await registries.node("us", "late");
    for (const [i, node] of [late, us, ap].entries()) {
      const { rrp, result } = await add(node);
      expect(rrp).toBe("rrp:ap/n/counters/x");
      expect(result).toMatchObject({ total: 3 + i });
    }
    expect(registries.entry("us", KEY)).toMatchObject({ incarnation: "departed" });
    expect(registries.events.some(({ event }) => event === "store failed over")).toBe(true);
    expect(Loser.farewells).toEqual([]);
  }
});

it("an owner that claimed before the entry could be restored keeps the key, and the other owner stops", async () => {
  const registries = new CopiedRegistries(["us", "ap"]);
  const { us, ap } = await moved(registries);
  // This node would remember the entry, and not claim the key.
  await clock.run(us.close());
  registries.closed.add("ap>us");
  registries.failOver("us", isNoDeparture);
  const late = await registries.node("us", "late");
  expect((await add(late)).rrp).toBe("rrp:us/late/counters/x");
  expect((await add(ap)).rrp).toBe("rrp:ap/n/counters/x");
  registries.closed.clear();
  await until(() => Loser.farewells.length > 0, "one of two owners stops");
  expect(Loser.farewells).toEqual(["rrp:ap/n/counters/x had 3, rrp:us/late/counters/x stays"]);
  expect(ap.stats().conflictsLost).toBe(1);
  expect(late.stats().conflictsLost).toBe(0);
  expect(registries.events.map(({ event }) => event)).toContain("lost to a greater claim");
  await until(() => registries.entry("ap", KEY)?.incarnation === "departed", "it has left");
  for (const node of [late, ap, await registries.node("ap", "late")]) {
    expect((await add(node)).rrp).toBe("rrp:us/late/counters/x");
    const looked = await clock.run(node.lookup("counters", "x", { require: "confirmed" }));
    expect(looked).toMatchObject({ rrp: "rrp:us/late/counters/x", verdict: "confirmed" });
  }
  // It can be moved like any other resource.
  expect((await clock.run(late.move("counters", "x", "ap"))).rrp).toMatch("rrp:ap/");
  for (const node of [late, ap]) expect((await add(node)).rrp).toMatch("rrp:ap/");
});

it("an owner that claimed under a lower epoch learns it from its registry, and stops", async () => {
  const registries = new CopiedRegistries(["us", "ap"]);
  const { us, ap } = await moved(registries);
  await clock.run(us.close());
  registries.closed.add("ap>us");
  // No node there knows of the former claim: epochs start from the beginning.
  registries.failOver("us");
  const late = await registries.node("us", "late");
  expect((await add(late)).rrp).toBe("rrp:us/late/counters/x");
  registries.closed.clear();
  await until(() => registries.entry("us", KEY)?.incarnation === "departed", "the entry is there");
  const stopped = () => registries.events.some(({ event }) => event === "ownership is lost");
  await until(stopped, "its owner has noticed");
  for (const node of [late, ap]) expect((await add(node)).rrp).toBe("rrp:ap/n/counters/x");
});

it("an owner of a moved key learns that another node has claimed the key at its home", async () => {
  const registries = new CopiedRegistries(["us", "ap"]);
  const { us, ap } = await moved(registries);
  // No node is left that knows where the key is.
  await clock.run(us.close());
  await clock.run(ap.close());
  registries.failOver("us", isNoDeparture);
  const [owner, newcomer] = [
    await registries.node("us", "late"),
    await registries.node("ap", "late"),
  ];
  expect((await add(owner)).rrp).toBe("rrp:us/late/counters/x");
  registries.closed.add("ap>us");
  expect((await add(newcomer)).rrp).toBe("rrp:ap/late/counters/x");
  registries.closed.clear();
  await until(() => Loser.farewells.length > 0, "the newcomer gives way");
  for (const node of [newcomer, owner]) {
    expect((await add(node)).rrp).toBe("rrp:us/late/counters/x");
  }
});
