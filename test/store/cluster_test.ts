/** A real Redis Cluster: the store suite, slots that move, a master that is replaced. */
import { describe, expect, test } from "vitest";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { parseRedisUrl } from "../../adapters/store/redis/client.ts";
import { RedisCluster } from "../../adapters/store/redis/cluster.ts";
import { MEMBER_KEYS } from "../../adapters/store/redis/membership_scripts.ts";
import { scanShards } from "../../adapters/store/redis/scan.ts";
import { SCRIPTS } from "../../adapters/store/redis/scripts.ts";
import { clusterSlot, redirectionOf, slotRangesOf } from "../../adapters/store/redis/slots.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Store } from "../../src/ports/store.ts";
import { storeConformance } from "../conformance/store.ts";
import {
  claimOf,
  eventually,
  freshKey,
  freshMember,
  own,
  refuses,
} from "../conformance/store_kit.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { command, copied } from "../support/redis_command.ts";
import {
  startCluster,
  type TestCluster,
  type TestClusterOptions,
} from "../support/redis_groups.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

async function started(options: TestClusterOptions = {}): Promise<TestCluster> {
  const cluster = await startCluster(options);
  cleanups.push(() => cluster.close());
  return cluster;
}

async function opened(url: string, timeoutMs = 30_000): Promise<Store> {
  const store = await redisStore(url, { timeoutMs });
  cleanups.push(() => store.close());
  return store;
}

/** The cluster's slot of a resource's keys. */
function slotOfKey(key: string): number {
  return clusterSlot(`{s${slotOf(key)}}`);
}

/** A fresh key that the master with this number serves. */
function keyAt(cluster: TestCluster, master: number): string {
  for (;;) {
    const key = freshKey();
    if (cluster.masterOf(slotOfKey(key)) === master) return key;
  }
}

warnIfRedisMissing("the store on a Redis Cluster");

storeConformance("redis, a cluster of three masters", async () => {
  const cluster = await startCluster({ durable: true });
  return {
    open: () => redisStore(cluster.url, { timeoutMs: 30_000 }),
    async crash() {
      await Promise.all(cluster.masters.map((master) => master.kill()));
      await Promise.all(cluster.masters.map((master) => master.restart()));
      await cluster.isWhole();
    },
    dispose: () => cluster.close(),
  };
}, redisMissing);

describe("a cluster", unless(redisMissing), () => {
  test("steps follow a slot that moves, during the move and afterwards", async () => {
    const cluster = await started();
    const store = await opened(cluster.url);
    const [from, to] = cluster.masters as [TestRedis, TestRedis];
    const key = keyAt(cluster, 0);
    const owner = await own(store, key);
    const slot = String(slotOfKey(key));
    const [fromId, toId] = await Promise.all(
      [from, to].map(async (node) => String(await command(node, "CLUSTER", "MYID"))),
    ) as [string, string];
    await command(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
    await command(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
    expect(await store.lookup(key)).toEqual(owner);
    const keys = await command(from, "CLUSTER", "GETKEYSINSLOT", slot, "100") as string[];
    const where = ["127.0.0.1", String(to.port), "", "0", "5000", "KEYS"];
    await command(from, "MIGRATE", ...where, ...keys);
    // The first master still owns the slot, and redirects with ASK.
    expect(await store.lookup(key)).toEqual(owner);
    // A claim uses several keys, some of which don't exist yet: it waits until the slot's move
    // ends.
    const claim = store.claim(claimOf(key));
    for (const node of [to, from]) await command(node, "CLUSTER", "SETSLOT", slot, "NODE", toId);
    expect((await claim).owner).toEqual(owner);
    expect(await store.lookup(key)).toEqual(owner);
    const { incarnation, epoch } = owner;
    expect(await store.release(key, incarnation, epoch)).toBe(true);
    expect((await own(store, key)).epoch).toBeGreaterThan(epoch);
  });

  test("while a master is replaced the other slots are served, and afterwards all are", async () => {
    const cluster = await started({ replicas: 1 });
    const store = await opened(cluster.url);
    const [away, here] = [keyAt(cluster, 0), keyAt(cluster, 1)];
    const owners = await Promise.all([own(store, away), own(store, here)]);
    const [master, ...others] = cluster.masters as [TestRedis, ...TestRedis[]];
    await copied(master, 1, `{s${slotOf(away)}}`);
    await master.kill();
    await eventually(async () => store.status() === "down" || undefined);
    await refuses(store.lookup(away), "unavailable");
    // From now on a silent master may count as dead; until now a busy one must not.
    for (const node of [...others, ...cluster.replicas]) {
      await command(node, "CONFIG", "SET", "cluster-node-timeout", "1000");
    }
    expect(await eventually(() => store.lookup(away))).toEqual(owners[0]);
    await eventually(async () => store.status() === "up" || undefined);
    expect(await eventually(() => store.lookup(here))).toEqual(owners[1]);
    await eventually(() => own(store, keyAt(cluster, 0)));
    const listed = await eventually(() => allOf(store));
    expect(new Set(listed.map(({ epoch, rrp }) => `${epoch} ${rrp}`)).size)
      .toBeGreaterThanOrEqual(3);
  });

  test("writes wait for replicas, slot by slot", async () => {
    const cluster = await started({ replicas: 3 });
    const store = await opened(`${cluster.url}?replicas=1`, 6_000);
    await Promise.all([0, 1, 2].map((master) => own(store, keyAt(cluster, master))));
    await (cluster.replicas[0] as TestRedis).kill();
    await refuses(store.claim(claimOf(keyAt(cluster, 0))), "unavailable", "0 of 1 replicas");
    await own(store, keyAt(cluster, 1));
  });

  test("its lineage combines the ids of all its masters", async () => {
    const cluster = await started({ durable: true });
    const addresses = cluster.masters.map(({ url }) => parseRedisUrl(url));
    const line = new RedisCluster(addresses, { timeoutMs: 30_000, scripts: SCRIPTS });
    cleanups.push(() => line.close());
    await line.open();
    const ids = await line.lineageIds();
    expect(new Set(ids).size).toBe(3);
    expect(await line.lineageIds()).toEqual(ids);
    const store = await opened(cluster.url);
    const { lineage } = await store.register(freshMember(), { ifFree: true });
    expect(lineage).toEqual({ id: ids.join(), term: 0, settled: true });
    const keys = [0, 1, 2].map((master) => keyAt(cluster, master));
    for (const key of keys) expect((await store.claim(claimOf(key, { lineage }))).won).toBe(true);
    const members = cluster.masterOf(clusterSlot(MEMBER_KEYS[0] as string));
    const other = (members + 1) % 3;
    await (cluster.masters[other] as TestRedis).kill();
    await (cluster.masters[other] as TestRedis).restart();
    const renewed = await eventually(async () => {
      const { lineage: now } = await store.register(freshMember(), { ifFree: true });
      return now.id === lineage.id ? undefined : now;
    });
    expect(renewed.term).toBe(1);
    expect(renewed.settled).toBe(false);
    const reply = await eventually(() => store.claim(claimOf(keyAt(cluster, other), { lineage })));
    expect(reply.quarantined).toBe(true);
  });

  test("opens through any one of its nodes, and is refused if the server is no cluster", async () => {
    const single = await startRedis();
    cleanups.push(() => single.close());
    const url = `redis+cluster://127.0.0.1:${single.port}`;
    await refuses(redisStore(url), "bad_request", "cluster support disabled");
    const cluster = await started();
    const seeds = `127.0.0.1:${single.port},127.0.0.1:${cluster.masters[2]?.port}`;
    const store = await opened(`redis+cluster://${seeds}`);
    for (const master of [0, 1, 2]) await own(store, keyAt(cluster, master));
    expect(await allOf(store)).toHaveLength(3);
  });

  test("uses the same password at all its nodes", async () => {
    const cluster = await started();
    const guard = ["CONFIG", "SET", "requirepass", "s3cret"] as const;
    for (const master of cluster.masters) await command(master, ...guard);
    await refuses(redisStore(cluster.url), "bad_request", "NOAUTH");
    const wrong = redisStore(cluster.url.replace("//", "//:wr0ng@"));
    await refuses(wrong, "bad_request", "WRONGPASS");
    const store = await opened(cluster.url.replace("//", "//:s3cret@"));
    for (const master of [0, 1, 2]) await own(store, keyAt(cluster, master));
  });
});

async function allOf(store: Store): Promise<Ownership[]> {
  const found: Ownership[] = [];
  let cursor: string | null = null;
  do {
    const page = await store.list("rrp:", cursor, 2);
    found.push(...page.entries);
    cursor = page.next;
  } while (cursor !== null);
  return found;
}

test("computes slots as Redis does, by hash tag", () => {
  expect(clusterSlot("123456789")).toBe(0x31c3);
  expect(clusterSlot("{user1000}.following")).toBe(clusterSlot("user1000"));
  expect(clusterSlot("foo{}{bar}")).toBe(clusterSlot("foo{}{bar}"));
  expect(clusterSlot("foo{{bar}}zap")).toBe(clusterSlot("{bar"));
  expect(new Set(MEMBER_KEYS.map(clusterSlot)).size).toBe(1);
});

test("parses redirections and slot lists, and nothing else", () => {
  const asked = { host: "h", port: 1 };
  const read = (text: string) => redirectionOf(new Error(text), asked);
  expect(read("MOVED 3999 10.0.0.1:6381")).toEqual({
    kind: "moved",
    to: { host: "10.0.0.1", port: 6381 },
  });
  expect(read("ASK 3999 ::1:6381")).toEqual({ kind: "ask", to: { host: "::1", port: 6381 } });
  expect(read("MOVED 3999 :6381")).toEqual({ kind: "moved", to: { host: "h", port: 6381 } });
  expect(read("TRYAGAIN Multiple keys request")).toEqual({ kind: "again" });
  expect(read("CLUSTERDOWN The cluster is down")).toEqual({ kind: "down" });
  for (const text of ["ERR MOVED 1 a:1", "MOVED", "READONLY"]) expect(read(text)).toBeNull();
  const master = { host: "h", port: 7 };
  expect(slotRangesOf([[0, 5, ["", 7, "id"], ["r", 8]]], asked)).toEqual([
    { first: 0, last: 5, master, replicas: [{ host: "r", port: 8 }] },
  ]);
  for (const reply of [null, [[0, 5]], [[0, 99_999, ["h", 1]]], [[0, 5, ["h"]]]]) {
    expect(() => slotRangesOf(reply, asked)).toThrow(/can't be read/);
  }
});

test("a listing goes from master to master, and starts again at a master that was replaced", async () => {
  const shard = (slot: number, life: string, keys: string[]) => ({
    slot,
    life,
    scan: async (from: string) => {
      const at = Number(from);
      return [at + 1 < keys.length ? String(at + 1) : "0", keys.slice(at, at + 1)];
    },
  });
  let shards = [shard(0, "a", ["k0", "k1"]), shard(100, "b", ["k2", "k3"]), shard(200, "c", [])];
  const seen: unknown[] = [];
  let cursor = "0";
  const step = async (): Promise<void> => {
    const [next, keys] = await scanShards(shards, [cursor, "*", "1"]);
    seen.push(...keys as string[]);
    cursor = next;
  };
  await step();
  expect(cursor).toBe("1@0.a");
  await step();
  await step();
  expect(seen).toEqual(["k0", "k1", "k2"]);
  shards = [shards[0]!, shard(100, "d", ["k3", "k2"]), shards[2]!];
  await step();
  await step();
  expect(cursor).toBe("0@200.c");
  await step();
  expect(cursor).toBe("0");
  expect(seen).toEqual(["k0", "k1", "k2", "k3", "k2"]);
  await expect(scanShards(shards, ["x", "*", "1"])).rejects.toThrow(/cursor/);
});
