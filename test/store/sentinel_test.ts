/** A Redis behind sentinels: the store suite, masters that die or are demoted, and URLs. */
import { describe, expect, test } from "vitest";
import { openStore } from "../../adapters/store/open/open.ts";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { parseRedisTarget } from "../../adapters/store/redis/url.ts";
import { parseRegistries } from "../../adapters/store/regional/url.ts";
import { isAtlasError } from "../../src/errors.ts";
import type { ClaimReply, Store } from "../../src/ports/store.ts";
import { storeConformance } from "../conformance/store.ts";
import { claimOf, eventually, freshKey, own, refuses } from "../conformance/store_kit.ts";
import { freePort } from "../support/ports.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { command, copied } from "../support/redis_command.ts";
import {
  MASTER,
  startSentinels,
  type TestSentinels,
  type TestSentinelsOptions,
} from "../support/redis_groups.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

async function started(options: TestSentinelsOptions = {}): Promise<TestSentinels> {
  const group = await startSentinels(options);
  cleanups.push(() => group.close());
  return group;
}

async function opened(url: string, timeoutMs = 30_000): Promise<Store> {
  const store = await redisStore(url, { timeoutMs });
  cleanups.push(() => store.close());
  return store;
}

warnIfRedisMissing("the store on a Redis behind sentinels");

storeConformance("redis, behind a sentinel", async () => {
  const group = await startSentinels({ sentinels: 1, replicas: 2 });
  return {
    // Writes that one replica has are kept: the replica with most of the data is promoted.
    open: () => redisStore(`${group.url}?replicas=1`, { timeoutMs: 30_000 }),
    crash: () => group.failOver(),
    dispose: () => group.close(),
  };
}, redisMissing);

describe("a master that sentinels watch", unless(redisMissing), () => {
  test("dies under load: steps fail, and go on at the promoted replica", async () => {
    const group = await started();
    const store = await opened(group.url);
    const [, replica] = group.servers as [TestRedis, TestRedis];
    const claims = new Map<string, ClaimReply | string>();
    let isEnding = false;
    const load = Array.from({ length: 8 }, async () => {
      while (!isEnding) {
        const claim = claimOf(freshKey());
        claims.set(claim.key, await oneTurn(store, claim).catch(codeOf));
        // While it is down steps fail at once: the pause lets other tasks run.
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const answered = () => [...claims.values()].filter((reply) => typeof reply !== "string");
    await eventually(async () => answered().length > 100 || undefined);
    const over = group.failOver();
    await eventually(async () => store.status() === "down" || undefined);
    const before = answered().length;
    await over;
    expect(await group.masterPort()).toBe(replica.port);
    await eventually(async () => answered().length > before + 100 || undefined);
    isEnding = true;
    await Promise.all(load);
    expect(store.status()).toBe("up");
    expect(new Set([...claims.values()].map((reply) => typeof reply === "string" ? reply : "")))
      .toEqual(new Set(["", "unavailable"]));
    expect(String(await command(replica, "INFO", "replication"))).toContain("role:master");
    // Every answered claim was won, and the turn after it was committed.
    for (const reply of answered()) expect((reply as ClaimReply).won).toBe(true);
  });

  test("that comes back is not used any more, neither by old stores nor by new ones", async () => {
    const group = await started({ sentinels: 1 });
    const store = await opened(group.url);
    const [master, replica] = group.servers as [TestRedis, TestRedis];
    const owner = await own(store, freshKey());
    await copied(master, 1);
    await group.failOver();
    await eventually(() => own(store, freshKey()));
    // For some seconds it still reports itself as a master, until a sentinel makes it a replica.
    await master.restart();
    const key = freshKey();
    await own(store, key);
    expect(await store.lookup(owner.rrp.slice("rrp:test/node/".length))).toEqual(owner);
    expect((await (await opened(group.url)).lookup(key))?.rrp).toContain(key);
    expect(await command(replica, "EXISTS", await ownKey(replica, key))).toBe(1);
  });

  test("is left when it is demoted, though the connection lasts", async () => {
    const group = await started({ sentinels: 1 });
    const store = await opened(group.url);
    const [master, replica] = group.servers as [TestRedis, TestRedis];
    await own(store, freshKey());
    await command(master, "REPLICAOF", "127.0.0.1", String(replica.port));
    const step = store.claim(claimOf(freshKey()));
    await refuses(step, "unavailable");
    expect(store.status()).toBe("down");
    await refuses(store.lookup(freshKey()), "unavailable", "replica");
  });

  test("is left when its sentinels name another, though it still serves", async () => {
    const group = await started({ sentinels: 1, replicas: 0 });
    const store = await opened(group.url);
    const key = freshKey();
    const owner = await own(store, key);
    const other = await startRedis();
    cleanups.push(() => other.close());
    const sentinel = { ...other, url: `redis://127.0.0.1:${group.ports[0]}` };
    await command(sentinel, "SENTINEL", "REMOVE", MASTER);
    await command(sentinel, "SENTINEL", "MONITOR", MASTER, "127.0.0.1", `${other.port}`, "1");
    await eventually(async () => await store.lookup(key) === null || undefined);
    expect((await own(store, key)).incarnation).not.toBe(owner.incarnation);
    expect(await command(other, "EXISTS", await ownKey(other, key))).toBe(1);
  });

  test("is looked up at each sentinel, and the error gives each sentinel's fault", async () => {
    const group = await started({ sentinels: 1, replicas: 0 });
    const gone = await freePort();
    const [port] = group.ports as [number];
    const store = await opened(`redis+sentinel://127.0.0.1:${gone},127.0.0.1:${port}/${MASTER}`);
    await own(store, freshKey());
    const at = `127.0.0.1:${port}`;
    const other = redisStore(`redis+sentinel://${at}/other`, { timeoutMs: 30_000 });
    await refuses(other, "bad_request", "No such master");
    const nobody = redisStore(`redis+sentinel://127.0.0.1:${gone}/${MASTER}`, { timeoutMs: 300 });
    await refuses(nobody, "unavailable", `127.0.0.1:${gone}`);
    const [master] = group.servers as [TestRedis];
    const direct = redisStore(`redis+sentinel://127.0.0.1:${master.port}/${MASTER}`);
    await refuses(direct, "bad_request", "unknown command");
  });

  test("needs its own password, and sentinels need theirs", async () => {
    const group = await started({ sentinels: 1, replicas: 0 });
    const [master] = group.servers as [TestRedis];
    const [port] = group.ports as [number];
    const sentinel = { ...master, url: `redis://127.0.0.1:${port}` };
    await command(sentinel, "SENTINEL", "SET", MASTER, "auth-pass", "s3cret");
    await command(master, "CONFIG", "SET", "requirepass", "s3cret");
    await command(sentinel, "ACL", "SETUSER", "default", "resetpass", ">w4tch");
    const at = `127.0.0.1:${port}/${MASTER}`;
    const store = await opened(`redis+sentinel://:s3cret@${at}/2?sentinelPassword=w4tch`);
    await own(store, freshKey());
    await refuses(redisStore(`redis+sentinel://:s3cret@${at}`), "bad_request", "NOAUTH");
    const wrong = redisStore(`redis+sentinel://:wr0ng@${at}?sentinelPassword=w4tch`);
    const error = await wrong.catch((reason) => reason);
    expect(error.code).toBe("bad_request");
    expect(error.message).not.toMatch(/wr0ng|w4tch/);
  });
});

test("a replica named by redis:// is refused", unless(redisMissing), async () => {
  const master = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
  cleanups.push(() => master.close());
  const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
  cleanups.push(() => replica.close());
  const store = redisStore(replica.url, { timeoutMs: 2_000 });
  await refuses(store, "unavailable", `replica of 127.0.0.1:${master.port}`);
});

/** Claims and commits; gives the claim's answer. */
async function oneTurn(store: Store, claim: ReturnType<typeof claimOf>): Promise<ClaimReply> {
  const reply = await store.claim(claim);
  const epoch = reply.owner?.epoch ?? 0;
  const { key, incarnation } = claim;
  const turn = { key, incarnation, epoch, turn: 1, puts: [["a", "1"]] as const, deletes: [] };
  const outcome = await store.commit(turn);
  // The claim was lost with the master before the commit: the commit reports that.
  if (outcome !== "committed") throw Object.assign(new Error("lost"), { code: "unavailable" });
  return reply;
}

function codeOf(error: unknown): string {
  if (isAtlasError(error)) return error.code;
  return String((error as { code?: unknown }).code ?? error);
}

async function ownKey(server: TestRedis, key: string): Promise<string> {
  const keys = await command(server, "KEYS", `*:own:${key}`) as string[];
  return keys[0] ?? "";
}

test("URLs of sentinels and clusters are read", () => {
  const login = { username: "u", password: "p@w", tls: true, database: 3 };
  const watch = { username: "", password: "x", tls: true, database: 0 };
  const url = "rediss+sentinel://u:p%40w@a:1,[::1],c.d:3/my-master/3?replicas=2&sentinelPassword=x";
  expect(parseRedisTarget(url)).toEqual({
    kind: "sentinel",
    replicas: 2,
    master: "my-master",
    login,
    sentinels: [
      { host: "a", port: 1, ...watch },
      { host: "::1", port: 26379, ...watch },
      { host: "c.d", port: 3, ...watch },
    ],
  });
  const node = { username: "", password: "", tls: false, database: 0 };
  expect(parseRedisTarget("redis+cluster://a,b:7000/")).toEqual({
    kind: "cluster",
    replicas: 0,
    seeds: [{ host: "a", port: 6379, ...node }, { host: "b", port: 7000, ...node }],
  });
  const text = "us=redis+sentinel://a:1,b:2/m,eu=redis+cluster://c,d";
  expect([...parseRegistries(text) ?? []]).toEqual([
    ["us", "redis+sentinel://a:1,b:2/m"],
    ["eu", "redis+cluster://c,d"],
  ]);
});

test.each([
  ["redis+sentinel://a:1", "master"],
  ["redis+sentinel://a:1/", "master"],
  ["redis+sentinel:///m", "host"],
  ["redis+sentinel://a:0/m", '"a:0"'],
  ["redis+sentinel://a,,b/m", 'host is ""'],
  ["redis+sentinel://a/m/x", "database"],
  ["redis+sentinel://a/m/0/1", "database"],
  ["redis+sentinel://a/m?password=hunter2", "sentinelPassword"],
  ["redis+sentinel://a/m?replicas=x", "replicas=x"],
  ["redis+sentinel://a/m#x", "Redis URL"],
  ["redis+cluster://", "host"],
  ["redis+cluster://a/1", "database"],
  ["redis+cluster://a?sentinelPassword=hunter2", "sentinelPassword"],
  ["redis+cluster://u:hunter2@a:99999", "99999"],
  ["redis+cluster:a:1?sentinelPassword=hunter2", "redis+cluster://"],
  ["redis+other://u:hunter2@a:1", "redis+sentinel://"],
])("%s is refused", async (url, part) => {
  await refuses(openStore(url), "bad_request", part);
  expect((await openStore(url).catch((error) => error)).message).not.toContain("hunter2");
});

test(
  "the strategy `optimistic` is refused with sentinels and clusters",
  unless(redisMissing),
  async () => {
    const options = { strategy: "optimistic", master: "a", masters: ["a"] } as const;
    await refuses(redisStore("redis+cluster://a", options), "bad_request", "strategy");
  },
);
