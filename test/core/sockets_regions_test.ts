/** Client sockets of resources in other regions, forwarded and while the resource moves. */
import { expect, it } from "vitest";
import { regionalStore } from "../../adapters/store/regional/store.ts";
import {
  type AtlasNode,
  createNode,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
} from "../../mod.ts";
import { LASTING, until } from "./cluster.ts";
import { Regions } from "./regions.ts";
import { type Client, client, roomApp } from "./sockets.ts";

async function nodes(made: Regions, ...paths: string[]): Promise<AtlasNode[]> {
  const all: AtlasNode[] = [];
  for (const path of paths) all.push(await made.node(path, {}, roomApp) as unknown as AtlasNode);
  return all;
}

const joined = (...all: Client[]) =>
  until(() => all.every(({ hellos }) => hellos.length > 0), "all are joined");
const had = (seq: number, ...all: Client[]) =>
  until(() => all.every(({ last }) => last === seq), `all have ${seq}`);

it("reaches a resource of another region, directly and through another node there", async () => {
  const made = new Regions();
  const [us, owner, other] = await nodes(made, "us/a", "eu/a", "eu/b") as [
    AtlasNode,
    AtlasNode,
    AtlasNode,
  ];
  await owner.call("rooms", "eu~x", "quick", []);
  const straight = client(us, "eu~x");
  await joined(straight);
  made.setLink("us/a", "eu/a", false);
  made.setLink("eu/a", "us/a", false);
  await other.call("rooms", "eu~x", "publish", [3]);
  straight.send({ t: "message", data: "hi" });
  const around = client(us, "eu~x", { after: 0 });
  await had(4, straight, around);
  expect([...straight.orderErrors, ...around.orderErrors]).toEqual([]);
  expect(around.hellos[0].gap).toBe(false);
});

it("blocks no call while it waits for the owner's next event", async () => {
  const made = new Regions();
  const [us, owner, other] = await nodes(made, "us/a", "eu/a", "eu/b") as [
    AtlasNode,
    AtlasNode,
    AtlasNode,
  ];
  await owner.call("rooms", "eu~x", "quick", []);
  await other.call("rooms", "eu~x", "quick", []);
  await us.call("rooms", "us~y", "quick", []);
  made.setLink("us/a", "eu/a", false);
  const listener = client(us, "eu~x");
  await joined(listener);
  await us.call("rooms", "eu~x", "publish", []);
  await had(1, listener);
  // Its request for more events goes through the other node. The owner dials, and its link serves
  // both directions.
  await owner.call("rooms", "us~y", "quick", []);
  const call = us.call("rooms", "eu~x", "quick", [], { timeoutMs: 10_000 });
  expect((await call).path).toEqual(["us/a", "eu/a"]);
});

it("stays connected over moves under load, without a gap", async () => {
  const made = new Regions({ shared: true });
  const [us, eu] = await nodes(made, "us/a", "eu/a") as [AtlasNode, AtlasNode];
  await us.call("rooms", "x", "quick", []);
  const all = [client(us, "x"), client(eu, "x")] as const;
  await joined(...all);
  let published = 0;
  let over = false;
  const load = (async () => {
    while (!over) {
      await (published % 2 ? us : eu).call("rooms", "x", "publish", []);
      published++;
    }
  })();
  for (const [round, region] of ["eu", "us", "eu"].entries()) {
    const before = published;
    await us.move("rooms", "x", region);
    const isBack = ({ hellos }: Client) => hellos.length === round + 2;
    await until(() => published > before + 5 && all.every(isBack), "it goes on, for all");
  }
  over = true;
  await load;
  await had(published, ...all);
  for (const { orderErrors, events, hellos } of all) {
    expect(orderErrors).toEqual([]);
    expect(hellos).toHaveLength(4);
    expect(hellos.some(({ gap }) => gap)).toBe(false);
    expect(events.map(({ data }) => data.n)).toEqual(
      Array.from({ length: published }, (_, i) => i + 1),
    );
  }
});

it("numbers events without a gap in another registry after its home has moved", async () => {
  const stores = { us: memoryStore(), eu: memoryStore() };
  const network = inProcessNetwork();
  const open = async (self: "us" | "eu"): Promise<AtlasNode> =>
    await createNode(roomApp, {
      region: self,
      node: "only",
      store: await regionalStore({ self, stores, homes: { default: "us" } }),
      transport: inProcessTransport(network),
      lease: LASTING,
    }) as unknown as AtlasNode;
  const [us, eu] = [await open("us"), await open("eu")];
  try {
    const all = [client(us, "x"), client(eu, "x")] as const;
    await joined(...all);
    await us.call("rooms", "x", "publish", [3]);
    await had(3, ...all);
    await eu.move("rooms", "x", "eu");
    await us.call("rooms", "x", "publish", [2]);
    await had(5, ...all);
    for (const { orderErrors, hellos } of all) {
      expect(orderErrors).toEqual([]);
      expect(hellos.map(({ gap }) => gap)).toEqual([false, false]);
      expect(hellos[1].seq).toBeGreaterThanOrEqual(3);
    }
  } finally {
    await Promise.all([us, eu].map((node) => node.close({ drainMs: 200 })));
  }
});
