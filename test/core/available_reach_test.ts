/**
 * Types with `partition: "available"`: a node that can't reach the store calls what others own, as
 * long as it can reach them, and takes a name itself only where it can't.
 */
import { expect, test } from "vitest";
import { type AtlasNode, inProcessTransport } from "../../mod.ts";
import {
  add,
  buried,
  clock,
  cutOff,
  heal,
  member,
  type Node,
  one,
  seen,
  until,
} from "./available.ts";
import { type Breakable, breakable } from "./breakable.ts";
import { BRISK, type Cluster, cluster, Gate, log } from "./cluster.ts";
import { type Road, roadTo } from "./road.ts";
import { client, roomApp } from "./sockets.ts";

interface Pair {
  readonly made: Cluster;
  readonly a: { node: Node; road: Road };
  readonly b: { node: Node; road: Road };
  readonly links: Breakable;
}

/** b owns x, and a knows; then a loses the store, and is dead to b. */
async function parted(): Promise<Pair> {
  const { made, a: b } = await one();
  const links = breakable(inProcessTransport(made.network));
  const a = await member(made, "c", { transport: links });
  await add(b.node, "x", "1");
  await add(a.node, "x", "2");
  await cutOff(a);
  await buried(made, "c");
  return { made, a, b, links };
}

test("what a live owner has is called there, over its link or a new one", async () => {
  const { made, a, b, links } = await parted();
  const owner = await made.store.lookup("notes/x");
  for (const note of ["3", "4", "5"]) {
    const { rrp, epoch, verdict } = await add(a.node, "x", note);
    expect({ rrp, epoch, verdict }).toEqual({ rrp: owner?.rrp, epoch: owner?.epoch });
    links.breakAll();
    await clock.advance(3_000);
  }
  expect(a.node.stats().offlineResources).toBe(0);
  await heal(a);
  expect((await clock.run(b.node.call("notes", "x", "all", []))).result).toEqual([..."12345"]);
  expect(a.node.stats()).toMatchObject({ conflictsLost: 0, offlineTurnsLost: 0 });
});

test("a call that is under way isn't cut off where its caller's node is told dead", async () => {
  const { made, a: b } = await one();
  const a = await member(made, "c");
  await add(b.node, "x", "1");
  await add(a.node, "x", "2");
  const standing = a.node.call("notes", "x", "stand", ["g"], { timeoutMs: 60_000 });
  await until(() => seen.includes("standing g"), "it has begun");
  await cutOff(a);
  await buried(made, "c");
  await clock.advance(5_000);
  Gate.of("g").open();
  expect(await clock.run(standing)).toMatchObject({ result: "g", path: ["local/c", "local/a"] });
});

test("links to a member that is dead, and says nothing, are closed", async () => {
  const { made, a: b } = await one();
  const links = breakable(inProcessTransport(made.network));
  const a = await member(made, "c", { transport: links });
  await add(b.node, "x", "1");
  await add(a.node, "x", "2");
  links.isDeaf = true;
  await cutOff(a);
  await buried(made, "c");
  await until(() => b.node.stats().links === 0, "its link is closed");
});

test("a name whose owner is out of reach is taken", async () => {
  const { a, links } = await parted();
  links.isShut = true;
  links.breakAll();
  await until(() => a.node.stats().links === 0, "its links are gone");
  const { rrp, verdict } = await clock.run(a.node.call("notes", "x", "overwrite", ["fork"]));
  expect({ rrp, verdict }).toEqual({ rrp: "rrp:local/c/notes/x", verdict: "suspect" });
  expect(a.node.stats().offlineResources).toBe(1);
});

test("client sockets of a node that can't reach the store go on hearing a live owner", async () => {
  const made = cluster(undefined, clock);
  const [here, there] = [roadTo(made.store), roadTo(made.store)];
  const owner = await made.node("a", { store: here.store, lease: BRISK }, roomApp);
  const door = await made.node("b", { store: there.store, lease: BRISK }, roomApp);
  const say = () => clock.run((owner as unknown as AtlasNode).call("rooms", "x", "say", []));
  await say();
  const socket = client(door as unknown as AtlasNode, "x");
  await until(() => socket.hellos.length === 1, "it is joined");
  there.isCut = true;
  await until(() => door.state === "fenced", "the lease has lapsed");
  await buried(made, "b");
  await clock.advance(30_000);
  await say();
  await until(() => socket.frames.at(-1)?.data?.n === 2, "it has heard");
  socket.say({ t: "message", data: "still here" });
  await until(() => socket.frames.at(-1)?.data?.heard === "still here", "it is heard, too");
  expect(socket.hellos).toHaveLength(1);
  expect(log.filter((line) => line === "out")).toEqual([]);
});
