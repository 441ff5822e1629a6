/**
 * Types with `partition: "available"`: a node that can't reach the store calls other owners while
 * it can reach them, and claims a key only if it can't reach its owner.
 */
import { expect, test } from "vitest";
import { type AtlasNode, inProcessTransport } from "../../mod.ts";
import {
  add,
  clock,
  cutOff,
  heal,
  member,
  type Node,
  one,
  seen,
  seenDead,
  until,
} from "./available.ts";
import { type Breakable, breakable } from "./breakable_transport.ts";
import { BRISK, type Cluster, cluster, Gate, log } from "./cluster.ts";
import { connectionTo, type StoreConnection } from "./store_connection.ts";
import { client, roomApp } from "./sockets.ts";

interface Pair {
  readonly made: Cluster;
  readonly a: { node: Node; connection: StoreConnection };
  readonly b: { node: Node; connection: StoreConnection };
  readonly links: Breakable;
}

/** b owns x, and a knows that; then a loses the store, and b sees a as dead. */
async function parted(): Promise<Pair> {
  const { made, a: b } = await one();
  const links = breakable(inProcessTransport(made.network));
  const a = await member(made, "c", { transport: links });
  await add(b.node, "x", "1");
  await add(a.node, "x", "2");
  await cutOff(a);
  await seenDead(made, "c");
  return { made, a, b, links };
}

test("a key of a live owner is called there, over an open link or a new one", async () => {
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

test("a running call goes on when its caller's node is declared dead", async () => {
  const { made, a: b } = await one();
  const a = await member(made, "c");
  await add(b.node, "x", "1");
  await add(a.node, "x", "2");
  const holding = a.node.call("notes", "x", "hold", ["g"], { timeoutMs: 60_000 });
  await until(() => seen.includes("holding g"), "it has begun");
  await cutOff(a);
  await seenDead(made, "c");
  await clock.advance(5_000);
  Gate.of("g").open();
  expect(await clock.run(holding)).toMatchObject({ result: "g", path: ["local/c", "local/a"] });
});

test("links to a dead member that sends nothing are closed", async () => {
  const { made, a: b } = await one();
  const links = breakable(inProcessTransport(made.network));
  const a = await member(made, "c", { transport: links });
  await add(b.node, "x", "1");
  await add(a.node, "x", "2");
  links.dropsMessages = true;
  await cutOff(a);
  await seenDead(made, "c");
  await until(() => b.node.stats().links === 0, "its link is closed");
});

test("a key whose owner can't be reached is claimed", async () => {
  const { a, links } = await parted();
  links.refusesDials = true;
  links.breakAll();
  await until(() => a.node.stats().links === 0, "its links are gone");
  const { rrp, verdict } = await clock.run(a.node.call("notes", "x", "overwrite", ["fork"]));
  expect({ rrp, verdict }).toEqual({ rrp: "rrp:local/c/notes/x", verdict: "suspect" });
  expect(a.node.stats().offlineResources).toBe(1);
});

test("client sockets at a node without the store still get events of a live owner", async () => {
  const made = cluster(undefined, clock);
  const [here, there] = [connectionTo(made.store), connectionTo(made.store)];
  const owner = await made.node("a", { store: here.store, lease: BRISK }, roomApp);
  const socketNode = await made.node("b", { store: there.store, lease: BRISK }, roomApp);
  const publish = () =>
    clock.run((owner as unknown as AtlasNode).call("rooms", "x", "publish", []));
  await publish();
  const socket = client(socketNode as unknown as AtlasNode, "x");
  await until(() => socket.hellos.length === 1, "it is joined");
  there.isCut = true;
  await until(() => socketNode.state === "fenced", "the lease has lapsed");
  await seenDead(made, "b");
  await clock.advance(30_000);
  await publish();
  await until(() => socket.frames.at(-1)?.data?.n === 2, "the event has arrived");
  socket.send({ t: "message", data: "still here" });
  await until(
    () => socket.frames.at(-1)?.data?.received === "still here",
    "the message was received",
  );
  expect(socket.hellos).toHaveLength(1);
  expect(log.filter((line) => line === "out")).toEqual([]);
});
