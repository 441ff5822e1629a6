/**
 * How connections end: messages sent before are delivered, and onDisconnect runs, whichever node
 * dies.
 *
 * Covers src/events/connection_records.ts.
 */
import { expect, it } from "vitest";
import {
  type App,
  type AtlasNode,
  type Connection,
  defineApp,
  inProcessTransport,
  memoryStore,
  Resource,
  type Store,
} from "../../mod.ts";
import { SOCKET_LEAVE_MS, SOCKET_PING_MS, SUBSCRIBER_TIMEOUT_MS } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";
import { BRISK, type Cluster, cluster, Gate, log, untilBy } from "./cluster.ts";
import { type Client, client } from "./sockets.ts";

const clock = fakeClock();
const until = (condition: () => unknown, what: string) => untilBy(clock, condition, what);

/** Keeps its connections and their messages in its state. */
class Lobby extends Resource {
  override async onConnect({ id }: Connection): Promise<void> {
    await this.storage.put(`here:${id}`, true);
    this.broadcast({ came: id });
  }

  override async onMessage({ id }: Connection, data: unknown): Promise<void> {
    if (data === "wait") await Gate.of("lobby").passed;
    log.push(`received ${data}`);
    const received = (await this.storage.get<unknown[]>(`received:${id}`)) ?? [];
    await this.storage.put(`received:${id}`, [...received, data]);
  }

  override async onDisconnect({ id }: Connection): Promise<void> {
    log.push("out");
    await this.storage.delete(`here:${id}`);
    this.broadcast({ left: id });
    if (this.id.startsWith("failing")) throw new Error("thrown on purpose");
  }

  async publish(text: string): Promise<void> {
    await this.storage.put("last", text);
    this.broadcast(text);
  }

  async here(): Promise<string[]> {
    return [...(await this.storage.list({ prefix: "here:" })).keys()].map((key) => key.slice(5));
  }

  connected(): string[] {
    return [...this.connections].map(({ id }) => id);
  }
}

/** Without an onDisconnect. */
class Plain extends Resource {
  override onMessage(): void {}
  quick(): string {
    return "quick";
  }
}

const app: App = defineApp({
  resources: { lobbies: Lobby, plain: Plain, naps: { class: Lobby, idleAfterMs: 1_000 } },
});

const node = async (made: Cluster, name: string): Promise<AtlasNode> =>
  await made.node(name, { lease: BRISK }, app) as unknown as AtlasNode;
const call = async (at: AtlasNode, method: string, ...args: unknown[]): Promise<unknown> =>
  (await clock.run(at.call("lobbies", "x", method, args))).result;
const joined = (...all: Client[]) =>
  until(() => all.every(({ hellos }) => hellos.length > 0), "all are joined");
const enter = (at: Pick<AtlasNode, "accept">, options = {}) =>
  client(at, "x", { type: "lobbies", ...options });
/** What the state keeps beside the app's own keys. */
const kept = async (store: Store, key = "lobbies/x"): Promise<string[]> =>
  (await store.range(key, { start: "c:", end: "c;", limit: 100, reverse: false })).map(([it]) =>
    it
  );

/**
 * A node that can be killed: from then on it renews and releases nothing, and no other node can
 * reach it, or be reached by it.
 */
async function mortal(
  made: Cluster,
  name: string,
  store: Store,
): Promise<AtlasNode & { die(): Promise<void> }> {
  let isDead = false;
  const never = () => new Promise<never>(() => {});
  const steps = new Set(["renew", "leave", "register", "release", "commit", "claim", "read"]);
  const dying = new Proxy(store, {
    get: (_target, step) => {
      const value = (store as unknown as Record<string | symbol, unknown>)[step];
      if (typeof value !== "function") return value;
      if (isDead && steps.has(String(step))) return never;
      return value.bind(store);
    },
  });
  const transport = inProcessTransport(made.network);
  const options = { lease: BRISK, store: dying, transport };
  return Object.assign(await made.node(name, options, app) as unknown as AtlasNode, {
    async die() {
      isDead = true;
      await transport.close();
    },
  });
}

it.each(["after hello", "before hello"])(
  "delivers all messages sent before a close, %s, and then runs onDisconnect",
  async (when) => {
    const made = cluster(undefined, clock);
    const [owner, socketNode] = [await node(made, "a"), await node(made, "b")];
    await call(owner, "publish", "x");
    const one = enter(socketNode);
    if (when === "after hello") await joined(one);
    for (let n = 0; n < 20; n++) one.send({ t: "message", data: n });
    one.send({ t: "call", id: 1, method: "publish", args: ["never begun"] });
    one.end();
    await until(() => log.includes("out"), "onDisconnect has run");
    expect(log).toEqual([...Array.from({ length: 20 }, (_, n) => `received ${n}`), "out"]);
    expect(await call(owner, "here")).toEqual([]);
    expect(socketNode.stats()).toMatchObject({ sockets: 0, unheardSockets: 0 });
  },
);

it("delivers messages of a closed socket while its resource changes its owner", async () => {
  const made = cluster(undefined, clock);
  const [owner, socketNode] = [await node(made, "a"), await node(made, "b")];
  await call(owner, "publish", "x");
  const one = enter(socketNode);
  await joined(one);
  const draining = owner.drain();
  for (let n = 0; n < 20; n++) one.send({ t: "message", data: n });
  one.end();
  await clock.run(draining);
  await until(() => log.includes("out"), "onDisconnect has run");
  expect(log).toEqual([...Array.from({ length: 20 }, (_, n) => `received ${n}`), "out"]);
});

it("drops messages of a closed socket after a minute, and counts that", async () => {
  const made = cluster(undefined, clock);
  const owner = await node(made, "a");
  const one = enter(owner);
  await joined(one);
  one.send({ t: "message", data: "wait" });
  one.send({ t: "message", data: "never" });
  one.end();
  await clock.advance(61_000);
  expect(owner.stats()).toMatchObject({ sockets: 0, unheardSockets: 1 });
});

it("closes sockets when the node drains, reads until clients close, and runs onDisconnect", async () => {
  const made = cluster(undefined, clock);
  const only = await node(made, "a");
  const [leaves, stays] = [enter(only), enter(only)];
  await joined(leaves, stays);
  const began = clock.now();
  const drained = only.drain();
  await until(() => leaves.frames.at(-1)?.t === "leave", "it is asked to leave");
  leaves.send({ t: "message", data: "last" });
  leaves.end();
  await until(() => log.includes("received last"), "the message was received");
  expect(stays.closed).toBeNull();
  stays.send({ t: "message", data: "late" });
  await clock.run(drained);
  expect(clock.now() - began).toBeGreaterThanOrEqual(SOCKET_LEAVE_MS);
  expect(stays.frames.filter(({ t }) => t === "leave")).toHaveLength(1);
  expect(stays.closed).toEqual({ code: 1012, reason: "the node is draining: connect to another" });
  expect(log.filter((line) => line === "out")).toHaveLength(2);
  expect(log.indexOf("received late")).toBeLessThan(log.lastIndexOf("out"));
  expect(await kept(made.store)).toEqual([]);
});

it("keeps a record of each connection while it lasts, if the class has an onDisconnect", async () => {
  const made = cluster(undefined, clock);
  const owner = await node(made, "a");
  const [one, other, plain] = [enter(owner), enter(owner), client(owner, "x", { type: "plain" })];
  await joined(one, other, plain);
  const ids = [one, other].map(({ hellos }) => `c:${hellos[0].connection}`).sort();
  expect(await kept(made.store)).toEqual(ids);
  expect(await kept(made.store, "plain/x")).toEqual([]);
  const [text] = await made.store.read("lobbies/x", [ids[0] as string]);
  expect(JSON.parse(text as string)).toEqual({ life: owner.incarnation });
  one.end();
  await until(async () => (await kept(made.store)).length === 1, "onDisconnect has run");
  expect(log).toContain("out");
  expect(await kept(made.store)).toEqual([`c:${other.hellos[0].connection}`]);
});

it("runs onDisconnect at the next owner, before its first call, for connections whose node died with the owner", async () => {
  const store = memoryStore();
  const made = cluster(store, clock);
  const [both, nextOwner] = [await mortal(made, "a", store), await node(made, "b")];
  await call(both, "publish", "x");
  const [stays, ...gone] = [enter(nextOwner), enter(both), enter(both), enter(both)];
  await joined(stays as Client, ...gone);
  expect(await call(nextOwner, "here")).toHaveLength(4);
  await both.die();
  await until(async () => {
    const { rrp } = await clock.run(nextOwner.lookup("lobbies", "x"));
    return rrp?.startsWith("rrp:local/b/") ?? false;
  }, "another has taken over");
  const [own] = (stays as Client).hellos;
  expect(await call(nextOwner, "here")).toEqual([own.connection]);
  expect(log.filter((line) => line === "out")).toHaveLength(3);
  await until(
    async () => (await call(nextOwner, "connected") as string[]).length === 1,
    "it is back",
  );
  expect(await kept(store)).toEqual([`c:${own.connection}`]);
});

it("runs onDisconnect at the next owner for a connection that was silent for a minute", async () => {
  const made = cluster(undefined, clock);
  const [owner, nextOwner] = [await node(made, "a"), await node(made, "b")];
  await call(owner, "publish", "x");
  const { store } = made;
  // A connection at a live node that doesn't know it.
  const { epoch } = await clock.run(owner.lookup("lobbies", "x"));
  const { incarnation } = owner;
  await clock.run(owner.drain({ prefix: "rrp:local/a/lobbies/" }));
  await call(nextOwner, "publish", "y");
  const now = await clock.run(nextOwner.lookup("lobbies", "x"));
  expect(now.epoch).toBeGreaterThan(epoch);
  const put = await store.commit({
    key: "lobbies/x",
    incarnation: nextOwner.incarnation,
    epoch: now.epoch,
    turn: 50,
    after: { epoch: now.epoch, turn: 1 },
    puts: [["c:ghost", JSON.stringify({ life: incarnation, later: "names" })], ["c:odd", "{"]],
    deletes: [],
  });
  expect(put).toBe("committed");
  await clock.run(nextOwner.drain({ prefix: "rrp:local/b/lobbies/" }));
  await clock.advance(61_000);
  await until(async () => {
    try {
      return await call(nextOwner, "here");
    } catch {
      return false;
    }
  }, "a node serves it");
  const began = clock.now();
  expect(log).not.toContain("out");
  await clock.advance(SUBSCRIBER_TIMEOUT_MS - 5_000 - (clock.now() - began));
  expect(log).not.toContain("out");
  await clock.advance(10_000);
  await until(() => log.filter((line) => line === "out").length === 2, "both have ended");
  expect(await kept(store)).toEqual([]);
});

it("forgets a connection whose onDisconnect throws after it ran once", async () => {
  const made = cluster(undefined, clock);
  const owner = await node(made, "a");
  const one = client(owner, "failing", { type: "lobbies" });
  await joined(one);
  expect(await kept(made.store, "lobbies/failing")).toHaveLength(1);
  one.end();
  await until(
    async () => (await kept(made.store, "lobbies/failing")).length === 0,
    "it is forgotten",
  );
  expect(log.filter((line) => line === "out")).toHaveLength(1);
});

it("reports a gap for events that were lost, and then sends the next owner's events", async () => {
  const store = memoryStore();
  const made = cluster(store, clock);
  const [owner, nextOwner] = [await mortal(made, "a", store), await node(made, "b")];
  await call(owner, "publish", "x");
  const all = [enter(nextOwner), enter(nextOwner), enter(nextOwner)];
  await joined(...all);
  await until(() => all.every(({ events }) => events.length > 0), "all have got an event");
  await owner.die();
  await until(() => all.every(({ hellos }) => hellos.length === 2), "all are joined again");
  await call(nextOwner, "publish", "after");
  await until(
    () => all.every(({ events }) => events.at(-1)?.data === "after"),
    "all get the next event",
  );
  // Each connection that resumed makes the room send an event, which all of them get.
  const start = Math.min(...all.map(({ hellos }) => hellos[1].seq));
  for (const { hellos, events, orderErrors } of all) {
    expect(hellos[1]).toMatchObject({ gap: true, seq: start });
    expect(events.filter(({ seq }) => seq > start).map(({ seq }) => seq)).toEqual(
      [1, 2, 3, 4].map((n) => start + n),
    );
    expect(orderErrors).toEqual([]);
  }
});

it.each([["drains", "drain"], ["sleeps", "nap"]])(
  "keeps the last events when a resource %s, so that a resumed connection has no gap",
  async (_, how) => {
    const made = cluster(undefined, clock);
    const [owner, nextOwner] = [await node(made, "a"), await node(made, "b")];
    const type = how === "nap" ? "naps" : "lobbies";
    const publish = (at: AtlasNode, text: string) =>
      clock.run(at.call(type, "x", "publish", [text]));
    await publish(owner, "first");
    const one = client(owner, "x", { type });
    await joined(one);
    await publish(owner, "second");
    await until(() => one.events.at(-1)?.data === "second", "it has got that");
    const after = one.last;
    one.end();
    await until(() => log.includes("out"), "onDisconnect has run");
    await publish(owner, "third");
    if (how === "nap") await clock.advance(5_000);
    else await clock.run(owner.drain());
    await publish(nextOwner, "fourth");
    const back = client(nextOwner, "x", { type, after });
    await until(() => back.events.some(({ data }) => data === "fourth"), "it gets further events");
    expect(back.hellos[0].gap).toBe(false);
    expect(back.events.map(({ data }) => data).filter((data) => typeof data === "string"))
      .toEqual(["third", "fourth"]);
    expect(back.orderErrors).toEqual([]);
  },
);

it("sends a ping if nothing else was sent for 15 s after hello", async () => {
  const made = cluster(undefined, clock);
  const owner = await node(made, "a");
  const one = enter(owner);
  await joined(one);
  const pings = () => one.frames.filter(({ t }) => t === "ping").length;
  await clock.advance(SOCKET_PING_MS - 1_000);
  expect(pings()).toBe(0);
  await clock.advance(1_500);
  expect(pings()).toBe(1);
  for (let i = 0; i < 5; i++) {
    await clock.advance(SOCKET_PING_MS - 1_000);
    await call(owner, "publish", `${i}`);
  }
  expect(pings()).toBe(1);
  await clock.advance(3 * SOCKET_PING_MS);
  expect(pings()).toBeGreaterThanOrEqual(3);
  one.end();
  const received = one.frames.length;
  await clock.advance(2 * SOCKET_PING_MS);
  expect(one.frames).toHaveLength(received);
});
