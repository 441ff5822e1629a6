/**
 * Client sockets while their resource's owner changes: moves, drains, takeovers and fencing.
 *
 * Covers src/routing/subscription_calls.ts and src/events/subscriber.ts.
 */
import { expect, it } from "vitest";
import { type AtlasNode, inProcessNetwork, inProcessTransport, memoryStore } from "../../mod.ts";
import { EVENT_BLOCK } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";
import { breakable } from "./breakable_transport.ts";
import { BRISK, cluster, Gate, log, untilBy } from "./cluster.ts";
import { type Client, client, roomApp } from "./sockets.ts";

/** The time of all nodes here. */
const clock = fakeClock();

const until = (condition: () => unknown, what: string) => untilBy(clock, condition, what);
const publish = (node: AtlasNode, ...args: unknown[]) =>
  clock.run(node.call("rooms", "x", "publish", args));
const joined = (...all: Client[]) =>
  until(() => all.every(({ hellos }) => hellos.length > 0), "all are joined");
const had = (seq: number, ...all: Client[]) =>
  until(() => all.every(({ last }) => last === seq), `all have ${seq}`);
const again = (times: number, ...all: Client[]) =>
  until(() => all.every(({ hellos }) => hellos.length === times), `all are joined ${times} times`);

async function nodes(...names: string[]): Promise<AtlasNode[]> {
  const made = cluster(undefined, clock);
  const all: AtlasNode[] = [];
  for (const name of names) {
    all.push(await made.node(name, { lease: BRISK }, roomApp) as unknown as AtlasNode);
  }
  return all;
}

it("goes on with the next number and no gap when the owner drains", async () => {
  const [owner, one, two] = await nodes("a", "b", "c") as [AtlasNode, AtlasNode, AtlasNode];
  await publish(owner);
  const all = [client(one, "x"), client(two, "x"), client(two, "x", { after: 0 })];
  await joined(...all);
  await publish(owner);
  await clock.run(owner.drain());
  await again(2, ...all);
  await publish(one);
  await had(3, ...all);
  for (const { orderErrors, hellos } of all) {
    expect(orderErrors).toEqual([]);
    expect(hellos[1]).toMatchObject({ connection: hellos[0].connection, seq: 2, gap: false });
    expect(hellos[1].epoch).toBeGreaterThan(hellos[0].epoch);
  }
  expect(log.filter((line) => line.startsWith("back"))).toHaveLength(3);
  expect(log).not.toContain("out");
});

it("asks a draining node's clients to reconnect, and runs onDisconnect at the owner", async () => {
  const [owner, other] = await nodes("a", "b") as [AtlasNode, AtlasNode];
  await publish(owner);
  const one = client(other, "x");
  await joined(one);
  await clock.run(other.drain());
  expect(one.closed?.code).toBe(1012);
  expect(log).toContain("out");
  expect(() => client(other, "x")).toThrow(/draining/);
});

it("reports a gap if the owner's last events were lost, and never repeats a number", async () => {
  const store = memoryStore();
  const made = cluster(store, clock);
  const network = inProcessNetwork();
  const node = async (name: string, closed: { now: boolean } = { now: false }) => {
    const transport = inProcessTransport(network);
    return await made.node(name, {
      lease: BRISK,
      transport,
      // As if the process was killed: it renews nothing any more.
      store: {
        ...bound(store),
        renew: (...args) => closed.now ? new Promise(() => {}) : store.renew(...args),
      },
    }, roomApp) as unknown as AtlasNode;
  };
  const dead = { now: false };
  const owner = await node("a", dead);
  await publish(owner);
  const other = await node("b");
  const all = [client(other, "x"), client(other, "x")] as const;
  await joined(...all);
  await publish(owner, 3);
  await had(4, ...all);
  dead.now = true;
  await until(async () => {
    const { rrp } = await clock.run(other.lookup("rooms", "x"));
    return rrp?.startsWith("rrp:local/b/") ?? false;
  }, "another has taken over");
  await again(2, ...all);
  await publish(other);
  await until(() => all.every(({ events }) => events.length === 4), "all have the next");
  for (const { hellos, events, orderErrors } of all) {
    expect(hellos[1]).toMatchObject({ gap: true });
    expect(hellos[1].seq).toBeGreaterThanOrEqual(4);
    expect(hellos[1].seq).toBeLessThanOrEqual(1 + EVENT_BLOCK);
    expect(events[3].seq).toBe(hellos[1].seq + 1);
    expect(orderErrors).toEqual([]);
  }
});

it("sends no event of a fenced owner's turn", async () => {
  const store = memoryStore();
  const made = cluster(store, clock);
  const owner = await made.node("a", { lease: BRISK }, roomApp) as unknown as AtlasNode;
  await publish(owner);
  const one = client(owner, "x");
  await joined(one);
  const waiting = owner.call("rooms", "x", "publishThenWait", ["g"]).catch((error: unknown) =>
    error
  );
  await until(() => log.includes("waiting g"), "it waits");
  const { incarnation } = owner;
  await store.leave((await owner.members()).find((it) => it.incarnation === incarnation) as never);
  await until(() => owner.incarnation !== incarnation, "it has lapsed");
  Gate.of("g").open();
  expect(await clock.run(waiting)).toMatchObject({
    code: expect.stringMatching(/not_owner|unavailable|timeout/),
  });
  await again(2, one);
  await publish(owner);
  await until(() => one.events.length === 1, "it gets events again");
  expect(one.events[0].data).toEqual({ n: 2 });
  expect(one.orderErrors).toEqual([]);
});

it("forgets connections whose node is dead, and sends it no more requests", async () => {
  const store = memoryStore();
  const made = cluster(store, clock);
  const owner = await made.node("a", { lease: BRISK }, roomApp) as unknown as AtlasNode;
  await publish(owner);
  const dead = { now: false };
  const links = breakable(inProcessTransport(made.network));
  const socketNode = await made.node("b", {
    lease: BRISK,
    transport: links,
    store: {
      ...bound(store),
      renew: (...args) => dead.now ? new Promise(() => {}) : store.renew(...args),
      leave: (...args) => dead.now ? new Promise(() => {}) : store.leave(...args),
      register: (...args) => dead.now ? new Promise(() => {}) : store.register(...args),
    },
  }, roomApp) as unknown as AtlasNode;
  const [near, far] = [client(owner, "x"), client(socketNode, "x")] as const;
  await joined(near, far);
  dead.now = links.dropsMessages = links.refusesDials = true;
  await until(() => log.includes("out"), "the owner has noticed");
  await had(1 + 1, near);
  expect((await clock.run(owner.call("rooms", "x", "present", []))).result).toBe(1);
});

/** A store's steps as own properties, so that some can be replaced. */
function bound<T extends object>(store: T): T {
  return new Proxy({} as T, {
    get: (_target, name) => {
      const value = (store as Record<string | symbol, unknown>)[name];
      return typeof value === "function" ? value.bind(store) : value;
    },
    ownKeys: () => {
      const names = new Set<string | symbol>();
      for (
        let at: object | null = store;
        at && at !== Object.prototype;
        at = Object.getPrototypeOf(at)
      ) {
        for (const name of Reflect.ownKeys(at)) if (name !== "constructor") names.add(name);
      }
      return [...names];
    },
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
  });
}
