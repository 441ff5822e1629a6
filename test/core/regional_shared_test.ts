/**
 * Nodes of two regions whose registries are one store under two names: nothing moves, and calls
 * succeed.
 */
import { afterEach, expect, it } from "vitest";
import { regionalStore } from "../../adapters/store/regional/store.ts";
import {
  type AtlasNode,
  createNode,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
  type NodeEvent,
  type Store,
} from "../../mod.ts";
import { type TestApp, until } from "./cluster.ts";
import { app } from "./regions.ts";

type Node = AtlasNode<TestApp>;

const opened: Node[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((node) => node.close({ drainMs: 200 })));
});

/** The same store under another name. */
function alias(store: Store): Store {
  return new Proxy(store, { get: (it, name) => Reflect.get(it, name)?.bind?.(it) });
}

/** One registry that two regions use, each as its own. */
class SharedRegistry {
  readonly store: Store = memoryStore();
  readonly events: NodeEvent[] = [];
  readonly #network = inProcessNetwork();

  async open(self: string): Promise<Store> {
    const stores = { us: alias(this.store), eu: alias(this.store) };
    const onEvent = (event: NodeEvent) => void this.events.push(event);
    return await regionalStore({ self, stores, onEvent });
  }

  async node(region: string): Promise<Node> {
    const node = await createNode(app, {
      region,
      node: "only",
      store: await this.open(region),
      transport: inProcessTransport(this.#network),
      lease: { heartbeatMs: 1_000, leaseMs: 60_000 },
    });
    opened.push(node);
    return node;
  }
}

async function add(node: Node, id: string): Promise<number> {
  return (await node.resource("counters", id).add(1)).total;
}

it("a resource keeps its state and is served, whichever region a move asks for", async () => {
  const shared = new SharedRegistry();
  const [us, eu] = [await shared.node("us"), await shared.node("eu")];
  expect([await add(us, "x"), await add(eu, "x")]).toEqual([1, 2]);
  const { rrp, epoch } = await us.lookup("counters", "x", { require: "confirmed" });
  for (const asked of [us, eu]) {
    await expect(asked.move("counters", "x", "eu")).rejects.toThrow(
      /counters\/x stays where it is: the registry of region (us|eu) is not its own: /,
    );
  }
  expect([await add(us, "x"), await add(eu, "x")]).toEqual([3, 4]);
  expect(await eu.lookup("counters", "x", { require: "confirmed" })).toMatchObject({ rrp, epoch });
  await until(() => shared.events.length >= 4, "both nodes log both registries");
  expect(new Set(shared.events.map(({ level, event }) => `${level}: ${event}`))).toEqual(
    new Set(["error: registry shared by regions"]),
  );
});

it("a resource that departed before the sharing was detected is recalled with its state by the next move", async () => {
  const shared = new SharedRegistry();
  const before = await shared.node("us");
  expect(await add(before, "x")).toBe(1);
  await before.close();
  const mover = await shared.open("us");
  const incarnation = crypto.randomUUID();
  const rrp = "rrp:us/mover/counters/x";
  const { owner } = await mover.claim({
    key: "counters/x",
    rrp,
    incarnation,
    opId: crypto.randomUUID(),
    expected: null,
  });
  expect(await mover.depart?.("counters/x", incarnation, owner?.epoch ?? 0, "eu")).toBe(true);
  const [us, eu] = [await shared.node("us"), await shared.node("eu")];
  for (const node of [us, eu]) {
    const confirmed = node.lookup("counters", "x", { require: "confirmed" });
    await expect(confirmed).rejects.toThrow("the registry of region eu is not its own");
  }
  expect((await eu.move("counters", "x", "us")).rrp).toBe("rrp:us/only/counters/x");
  expect(await add(eu, "x")).toBe(2);
});
