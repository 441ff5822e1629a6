/** Regions whose registries fail over, and lose where keys have moved to. */
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

/** Clocks of rolls run so much faster: they are read every few seconds. */
const HASTE = 50;

/** Says good-bye to its winner. */
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
class Archive {
  readonly regions: readonly string[];
  /** Roads that are shut, `ap>us`. */
  readonly shut = new Set<string>();
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
   * A copy of a region's registry takes its place, with those claims only that `keeps` says;
   * without it the copy is empty.
   */
  failOver(region: string, keeps?: (incarnation: string) => boolean): void {
    // What it has was written by the one before, in whose name.
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
          if (this.shut.has(`${self}>${region}`)) throw lost("the road is shut");
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
async function moved(archive: Archive): Promise<{ us: Node; ap: Node }> {
  const [us, ap] = [await archive.node("us", "n"), await archive.node("ap", "n")];
  await add(us);
  expect((await clock.run(us.move("counters", "x", "ap"))).rrp).toBe("rrp:ap/n/counters/x");
  await add(ap);
  return { us, ap };
}

it("an address that a failover lost is restored before anybody may claim the key", async () => {
  for (const keeps of [isNoDeparture, () => false]) {
    const archive = new Archive(["us", "eu", "ap"]);
    const { us, ap } = await moved(archive);
    archive.failOver("us", keeps);
    const late = await archive.node("us", "late");
    for (const [i, node] of [late, us, ap].entries()) {
      const { rrp, result } = await add(node);
      expect(rrp).toBe("rrp:ap/n/counters/x");
      expect(result).toMatchObject({ total: 3 + i });
    }
    expect(archive.entry("us", KEY)).toMatchObject({ incarnation: "departed" });
    expect(archive.events.some(({ event }) => event === "store failed over")).toBe(true);
    expect(Loser.farewells).toEqual([]);
  }
});

it("an owner that came because nobody could restore the address stays, and the other says so", async () => {
  const archive = new Archive(["us", "ap"]);
  const { us, ap } = await moved(archive);
  // Else it would remember, and take nothing.
  await clock.run(us.close());
  archive.shut.add("ap>us");
  archive.failOver("us", isNoDeparture);
  const late = await archive.node("us", "late");
  expect((await add(late)).rrp).toBe("rrp:us/late/counters/x");
  expect((await add(ap)).rrp).toBe("rrp:ap/n/counters/x");
  archive.shut.clear();
  await until(() => Loser.farewells.length > 0, "one of two owners stops");
  expect(Loser.farewells).toEqual(["rrp:ap/n/counters/x had 3, rrp:us/late/counters/x stays"]);
  expect(ap.stats().conflictsLost).toBe(1);
  expect(late.stats().conflictsLost).toBe(0);
  expect(archive.events.map(({ event }) => event)).toContain("lost to a greater claim");
  await until(() => archive.entry("ap", KEY)?.incarnation === "departed", "it has left");
  for (const node of [late, ap, await archive.node("ap", "late")]) {
    expect((await add(node)).rrp).toBe("rrp:us/late/counters/x");
    const looked = await clock.run(node.lookup("counters", "x", { require: "confirmed" }));
    expect(looked).toMatchObject({ rrp: "rrp:us/late/counters/x", verdict: "confirmed" });
  }
  // It moves on as any other.
  expect((await clock.run(late.move("counters", "x", "ap"))).rrp).toMatch("rrp:ap/");
  for (const node of [late, ap]) expect((await add(node)).rrp).toMatch("rrp:ap/");
});

it("an owner that came under a lower epoch is told by its own registry, and stops", async () => {
  const archive = new Archive(["us", "ap"]);
  const { us, ap } = await moved(archive);
  await clock.run(us.close());
  archive.shut.add("ap>us");
  // Nobody there knows that it ever held anything: epochs begin anew.
  archive.failOver("us");
  const late = await archive.node("us", "late");
  expect((await add(late)).rrp).toBe("rrp:us/late/counters/x");
  archive.shut.clear();
  await until(() => archive.entry("us", KEY)?.incarnation === "departed", "the address is there");
  const stopped = () => archive.events.some(({ event }) => event === "ownership is lost");
  await until(stopped, "its owner has noticed");
  for (const node of [late, ap]) expect((await add(node)).rrp).toBe("rrp:ap/n/counters/x");
});

it("whoever takes a moved key finds out that another has claimed it where its address was", async () => {
  const archive = new Archive(["us", "ap"]);
  const { us, ap } = await moved(archive);
  // Nobody is left who could say where it lives.
  await clock.run(us.close());
  await clock.run(ap.close());
  archive.failOver("us", isNoDeparture);
  const [owner, newcomer] = [await archive.node("us", "late"), await archive.node("ap", "late")];
  expect((await add(owner)).rrp).toBe("rrp:us/late/counters/x");
  archive.shut.add("ap>us");
  expect((await add(newcomer)).rrp).toBe("rrp:ap/late/counters/x");
  archive.shut.clear();
  await until(() => Loser.farewells.length > 0, "the newcomer gives way");
  for (const node of [newcomer, owner]) {
    expect((await add(node)).rrp).toBe("rrp:us/late/counters/x");
  }
});
