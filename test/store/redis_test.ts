/**
 * Behaviour of the Redis store only: outages, missing scripts, broken entries, credentials,
 * paging.
 *
 * Covers adapters/store/redis/connection.ts.
 */
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { dialIoredis, parseRedisUrl, type RedisClient } from "../../adapters/store/redis/client.ts";
import { pageOf } from "../../adapters/store/redis/keys.ts";
import { withTimeout } from "../../adapters/store/redis/request_timeout.ts";
import { ENDED_TURNS_MS } from "../../src/limits.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Store } from "../../src/ports/store.ts";
import {
  claimOf,
  eventually,
  freshKey,
  freshMember,
  own,
  refuses,
} from "../conformance/store_kit.ts";
import { freePort } from "../support/ports.ts";
import {
  redisMissing,
  startRedis,
  type TestRedis,
  type TestRedisOptions,
  warnIfRedisMissing,
} from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

async function started(options: TestRedisOptions = {}): Promise<TestRedis> {
  const redis = await startRedis(options);
  cleanups.push(() => redis.close());
  return redis;
}

async function opened(redis: TestRedis, timeoutMs = 30_000): Promise<Store> {
  const store = await redisStore(redis.url, { timeoutMs });
  cleanups.push(() => store.close());
  return store;
}

/** A plain connection, to write as a hostile or broken program would. */
async function directClient(redis: TestRedis): Promise<RedisClient> {
  const client = await dialIoredis(parseRedisUrl(redis.url), 30_000, () => {});
  cleanups.push(() => client.close());
  return client;
}

/** The timeout of steps that hang, in ms; long enough for a busy machine to answer the others. */
const SHORT_MS = 3_000;

warnIfRedisMissing("outages and broken entries of the Redis store");

describe("a state without fields", unless(redisMissing), () => {
  test("keeps its last turn for 15 minutes after its ownership was released", async () => {
    const redis = await started();
    const store = await opened(redis);
    const direct = await directClient(redis);
    const key = freshKey();
    const { incarnation, epoch } = await own(store, key);
    const turn = { key, incarnation, epoch, deletes: ["a"] };
    await store.commit({ ...turn, turn: 1, puts: [["a", "1"]], deletes: [] });
    await store.commit({ ...turn, turn: 2, puts: [] });
    await store.release(key, incarnation, epoch);
    const keys = await direct.send("KEYS", [`*:${key}`]) as string[];
    expect(keys).toEqual([`atlas:{s${slotOf(key)}}:ended:${key}`]);
    expect(await direct.send("HGETALL", [keys[0] as string])).toEqual(["turn", `${epoch} 2`]);
    const left = await direct.send("PTTL", [keys[0] as string]);
    expect(left).toBeGreaterThan(ENDED_TURNS_MS / 2);
    expect(left).toBeLessThanOrEqual(ENDED_TURNS_MS);
    await own(store, key);
    expect(await direct.send("PTTL", [`atlas:{s${slotOf(key)}}:state:${key}`])).toBe(-1);
  });
});

describe("an outage of Redis", unless(redisMissing), () => {
  test("steps in flight reject, later ones reject at once, and steps succeed once it is back", async () => {
    const redis = await started({ durable: true });
    const store = await opened(redis, 60_000);
    const key = freshKey();
    const owner = await own(store, key);
    redis.freeze();
    const inFlight = [store.lookup(key), store.claim(claimOf(freshKey())), store.members()];
    const refused = inFlight.map((step) => refuses(step, "unavailable", String(redis.port)));
    await new Promise((resolve) => setImmediate(resolve));
    await redis.kill();
    await Promise.all(refused);
    expect(store.status()).toBe("down");
    await refuses(store.lookup(key), "unavailable", "can't be reached");
    await redis.restart();
    expect(await eventually(() => store.lookup(key))).toEqual(owner);
    expect(store.status()).toBe("up");
  });

  test("a Redis that hangs is given up in time, and used again once it resumes", async () => {
    const redis = await started();
    const store = await opened(redis, SHORT_MS);
    const key = freshKey();
    const owner = await own(store, key);
    redis.freeze();
    await refuses(store.lookup(key), "unavailable", `${SHORT_MS} ms`);
    expect(store.status()).toBe("down");
    redis.thaw();
    expect(await eventually(() => store.lookup(key))).toEqual(owner);
  });

  test("a claim that it cuts off can be repeated, and wins once", async () => {
    const redis = await started();
    const store = await opened(redis, SHORT_MS);
    const claim = claimOf(freshKey());
    redis.freeze();
    await refuses(store.claim(claim), "unavailable");
    redis.thaw();
    const reply = await eventually(() => store.claim(claim));
    expect(reply.won).toBe(true);
    expect(await store.claim(claim)).toEqual(reply);
  });

  test("an answer that is there at the timeout counts: this process may have been suspended", async () => {
    const redis = await started();
    const store = await opened(redis, 2_000);
    const key = freshKey();
    const owner = await own(store, key);
    const lookup = store.lookup(key);
    // The step is sent at the end of this tick; then the process is blocked for longer than the
    // timeout.
    for (let hop = 0; hop < 20; hop++) await Promise.resolve();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_500);
    expect(await lookup).toEqual(owner);
    expect(store.status()).toBe("up");
  });

  test("a store closed during it stays closed when Redis is back", async () => {
    const redis = await started();
    const store = await opened(redis);
    await redis.kill();
    await eventually(async () => store.status() === "down" || undefined);
    await store.close();
    await redis.restart();
    await refuses(store.members(), "unavailable", "closed");
  });

  test("scripts that Redis has lost are sent again", async () => {
    const redis = await started();
    const store = await opened(redis);
    await (await directClient(redis)).send("SCRIPT", ["FLUSH"]);
    const key = freshKey();
    const owner = await own(store, key);
    expect(await store.lookup(key)).toEqual(owner);
    expect((await store.register(freshMember(), { ifFree: true })).outcome).toBe("registered");
  });
});

describe("entries that can't be read", unless(redisMissing), () => {
  const kinds: Record<string, [command: string, args: string[]]> = {
    "no entry": ["SET", ["garbage"]],
    "an empty entry": ["SET", [""]],
    "an epoch out of range": ["SET", ["99999999999999999999 i o rrp:a/b/c/d"]],
    "binary": ["SET", ["\0\u0001 \0 \0 rrp:"]],
    "a list": ["RPUSH", ["garbage"]],
  };
  for (const [kind, [command, args]] of Object.entries(kinds)) {
    test(`${kind}: an error that names the key, and other keys go on`, async () => {
      const redis = await started();
      const store = await opened(redis);
      const key = freshKey();
      await (await directClient(redis)).send(command, [
        `atlas:{s${slotOf(key)}}:own:${key}`,
        ...args,
      ]);
      const expected = { incarnation: "i", epoch: 1 };
      const turn = { key, incarnation: "i", epoch: 1, turn: 1, puts: [], deletes: [] };
      const other = claimOf(freshKey());
      const [reply] = await Promise.all([
        store.claim(other),
        ...(command === "SET" ? [refuses(store.lookup(key), "unavailable", key)] : []),
        refuses(store.claim(claimOf(key)), "unavailable", key),
        refuses(store.claim(claimOf(key, { expected })), "unavailable", key),
        refuses(store.release(key, "i", 1), "unavailable", key),
        refuses(store.commit(turn), "unavailable", key),
      ]);
      expect(reply.won).toBe(true);
    });
  }

  test("state of a wrong type makes a commit fail as a whole", async () => {
    const redis = await started();
    const store = await opened(redis);
    const client = await directClient(redis);
    for (const kind of ["state", "index"]) {
      const key = freshKey();
      const { incarnation, epoch } = await own(store, key);
      await client.send("SET", [`atlas:{s${slotOf(key)}}:${kind}:${key}`, "garbage"]);
      const puts = [["a", "1"]] as const;
      const turn = { key, incarnation, epoch, turn: 1, puts, deletes: [] };
      await refuses(store.commit(turn), "unavailable", key);
      if (kind === "index") expect(await store.read(key, ["a"])).toEqual([null]);
      else await refuses(store.read(key, ["a"]), "unavailable", key);
    }
  });

  test("an index with a missing field, or an invalid last turn, makes steps fail", async () => {
    const redis = await started();
    const store = await opened(redis);
    const client = await directClient(redis);
    const key = freshKey();
    const slot = `atlas:{s${slotOf(key)}}`;
    const { incarnation, epoch } = await own(store, key);
    const range = { start: "", end: "~", limit: 10, reverse: false };
    await client.send("ZADD", [`${slot}:index:${key}`, "0", ":lost"]);
    // A field that `read` can't give is not listed.
    expect(await store.range(key, range)).toEqual([]);
    expect(await store.read(key, ["lost"])).toEqual([null]);
    // The index has as many names as there are fields, but others: this is not the loss of a part.
    await client.send("HSET", [`${slot}:state:${key}`, ":real", "value"]);
    await refuses(store.range(key, range), "unavailable", key);
    await client.send("HSET", [`${slot}:state:${key}`, "turn", "garbage"]);
    const turn = { key, incarnation, epoch, turn: 1, puts: [], deletes: [] };
    await refuses(store.commit(turn), "unavailable", key);
  });
});

describe("credentials", unless(redisMissing), () => {
  test("a password and a database are used; errors name them, but never the password", async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    const client = await directClient(redis);
    await client.send("ACL", ["SETUSER", "ann", "on", ">p@ss/w:rd", "~*", "+@all"]);
    await client.send("CONFIG", ["SET", "requirepass", "s3cret"]);
    const at = `127.0.0.1:${redis.port}`;
    for (const login of ["ann:p%40ss%2Fw%3Ard", ":s3cret"]) {
      const store = await redisStore(`redis://${login}@${at}/2`);
      await own(store, freshKey());
      await store.close();
    }
    expect(await client.send("INFO", ["keyspace"])).toContain("db2:");
    for (const login of ["", "ann:wr0ng@", ":wr0ng@"]) {
      const error = await redisStore(`redis://${login}${at}`).catch((reason) => reason);
      expect(error.code).toBe("bad_request");
      expect(error.message).toContain(at);
      expect(error.message).not.toContain("wr0ng");
    }
    await refuses(redisStore(`redis://:s3cret@${at}/999`), "bad_request", "out of range");
  });

  test("a frozen Redis is given up in time", async () => {
    const redis = await started();
    redis.freeze();
    await refuses(redisStore(redis.url, { timeoutMs: 200 }), "unavailable", String(redis.port));
  });
});

test("a port without a server is unavailable", async () => {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  await refuses(redisStore(url, { timeoutMs: 200 }), "unavailable", `127.0.0.1:${port}`);
});

test("the error gives the reason of the failure, not that the last attempt had no time left", async () => {
  let dials = 0;
  const mute = createServer((socket) => {
    socket.on("error", () => {});
    if (++dials <= 2) socket.destroy();
  });
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => mute.close());
  const { port } = mute.address() as AddressInfo;
  const error = await redisStore(`redis://127.0.0.1:${port}`, { timeoutMs: SHORT_MS })
    .catch((reason) => reason);
  expect(error.message).toContain("can't be reached: ");
  expect(error.message).not.toContain("no answer within");
  expect(dials).toBeGreaterThan(2);
});

test("the error gives the waiting time in whole milliseconds", async () => {
  const never = new Promise<never>(() => {});
  await expect(withTimeout(4.7, never)).rejects.toThrow("no answer within 5 ms");
});

describe("paging over SCAN", () => {
  /** A keyspace whose SCAN returns at least `chunk` keys, however few are requested. */
  function keyspace(size: number, chunk: number) {
    const keys = Array.from({ length: size }, (_, i) => `atlas:{s1}:own:t/${i}`);
    return {
      scan: async (from: string, count: number): Promise<[string, string[]]> => {
        const end = Number(from) + Math.max(chunk, count);
        return [end >= size ? "0" : String(end), keys.slice(Number(from), end)];
      },
      fetch: async (redisKeys: string[]) =>
        redisKeys.map((redisKey): [string, { rrp: string; incarnation: string; epoch: number }] => {
          const key = redisKey.slice("atlas:{s1}:own:".length);
          return [key, { rrp: `rrp:a/b/${key}`, incarnation: "i", epoch: 1 }];
        }),
    };
  }

  test("never overfills a page or misses a key, even if a scan returns too many keys", async () => {
    for (
      const [size, chunk, limit] of [[50, 1, 7], [50, 9, 7], [50, 40, 1], [3, 10, 2], [
        0,
        1,
        5,
      ]] as const
    ) {
      const space = keyspace(size, chunk);
      const found = new Set<string>();
      let cursor: string | null = null;
      do {
        const page = await pageOf({ ...space, cursor, limit });
        expect(page.entries.length).toBeLessThanOrEqual(limit);
        page.entries.forEach(({ rrp }) => found.add(rrp));
        cursor = page.next;
      } while (cursor !== null);
      expect(found.size).toBe(size);
    }
  });

  test("refuses an invalid cursor", async () => {
    const space = keyspace(5, 1);
    const over = "18446744073709551616";
    for (
      const cursor of ["", "x", "-1", "1 atlas:{s1}:state:t/1", "1\n", over, `${over}@0.a`]
    ) {
      await refuses(pageOf({ ...space, cursor, limit: 1 }), "bad_request", "cursor");
    }
  });
});
