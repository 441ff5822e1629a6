/** A Redis that may evict Atlas's keys is refused, or logged, by each way to open it. */
import { describe, expect, test } from "vitest";
import { openStore } from "../../adapters/store/open/open.ts";
import { verdictOf } from "../../adapters/store/redis/eviction.ts";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { Store } from "../../src/ports/store.ts";
import { freshKey, own, refuses } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { command } from "../support/redis_command.ts";
import { startCluster, startSentinels } from "../support/redis_groups.ts";
import { unless } from "../support/unless.ts";
import { startUpstash } from "../upstash/server.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const LIMIT = "104857600";
const ALLOWED = /maxmemory-policy allkeys-lru \(maxmemory 104857600\).*noeviction.*eviction=allow/;

const cleanups = cleanupsAfterEach();

async function started(policy: string, maxmemory: string = LIMIT): Promise<TestRedis> {
  const redis = await startRedis({
    args: ["--maxmemory", maxmemory, "--maxmemory-policy", policy],
  });
  cleanups.push(() => redis.close());
  return redis;
}

const evicting = async (redis: TestRedis): Promise<void> => {
  await command(redis, "CONFIG", "SET", "maxmemory", LIMIT);
  await command(redis, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
};

async function opened(url: string, token?: string): Promise<{ store: Store; events: NodeEvent[] }> {
  const events: NodeEvent[] = [];
  const store = await openStore(url, {
    timeoutMs: 30_000,
    onEvent: (event) => void events.push(event),
    ...token !== undefined && { token },
  });
  cleanups.push(() => store.close());
  return { store, events };
}

/** The connected clients: their ids, and the last command of each. */
async function connections(redis: TestRedis): Promise<Map<string, string>> {
  const list = String(await command(redis, "CLIENT", "LIST"));
  return new Map(
    Array.from(
      list.matchAll(/^id=(\d+) .* cmd=(\S+)/gm),
      ([, id = "", ran = ""]) => [id, ran] as const,
    ),
  );
}

/** Of each event its level, name and policy. */
const shown = (events: readonly NodeEvent[]) =>
  events.map(({ level, event, fields }) => [level, event, fields["policy"]]);

warnIfRedisMissing("runtime/eviction_test.ts");

describe("the policy that a server reports", () => {
  test("passes unless it may evict keys without TTL", () => {
    const verdict = (policy: string, maxmemory: string) =>
      verdictOf(`# Memory\r\nmaxmemory:${maxmemory}\r\nmaxmemory_policy:${policy}\r\n`);
    for (const policy of ["noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl"]) {
      expect(verdict(policy, LIMIT)).toBe("keeps");
    }
    for (const policy of ["allkeys-lru", "allkeys-random", "optimistic-volatile", "eviction"]) {
      expect(verdict(policy, LIMIT)).toBe("evicts");
    }
    expect(verdict("allkeys-lfu", "0")).toBe("would evict");
    expect(verdict("optimistic-volatile", "0")).toBe("evicts");
    expect(verdictOf("# Server\r\nredis_version:7.0.15\r\n")).toBe("keeps");
    expect(verdictOf(null)).toBe("keeps");
  });
});

describe("a Redis that may evict", unless(redisMissing), () => {
  test("is refused, naming the setting, its value and what is allowed", async () => {
    const redis = await started("allkeys-lru");
    await expect(openStore(redis.url)).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringMatching(ALLOWED),
    });
    const optimistic = `${redis.url}?strategy=optimistic&master=a&masters=a&bound=500`;
    await expect(openStore(optimistic)).rejects.toMatchObject({ code: "bad_request" });
    await refuses(openStore(`${redis.url}?eviction=yes`), "bad_request", "eviction=allow");
    await refuses(
      redisStore(redis.url, { eviction: "no" as "allow" }),
      "bad_request",
      `"allow", or absent`,
    );
  });

  test("is used with eviction=allow, with one warning", async () => {
    const redis = await started("allkeys-random");
    for (
      const query of [
        "?eviction=allow",
        "?replicas=0&eviction=allow",
        "?strategy=optimistic&master=a&masters=a&bound=500&eviction=allow",
      ]
    ) {
      const { store, events } = await opened(`${redis.url}${query}`);
      await own(store, freshKey());
      expect(shown(events)).toEqual([["warning", "registry may evict", "allkeys-random"]]);
    }
  });

  test("without a limit causes a warning, since it evicts nothing yet", async () => {
    const redis = await started("allkeys-lru", "0");
    const { events } = await opened(redis.url);
    expect(shown(events)).toEqual([["warning", "registry would evict at a limit", "allkeys-lru"]]);
    await evicting(redis);
    await expect.poll(() => shown(events).at(-1), { timeout: 30_000 })
      .toEqual(["error", "registry may evict", "allkeys-lru"]);
  });

  test("that evicts only keys with TTL is used like any other", async () => {
    for (const policy of ["volatile-lru", "noeviction"]) {
      const { events } = await opened((await started(policy)).url);
      expect(events).toEqual([]);
    }
  });

  test("that was set to evict after it was opened is logged as an error, and used", async () => {
    const redis = await started("noeviction");
    const { store, events } = await opened(redis.url);
    await evicting(redis);
    await expect.poll(() => shown(events), { timeout: 30_000 })
      .toEqual([["error", "registry may evict", "allkeys-lru"]]);
    await own(store, freshKey());
    // The error is logged again if the policy was corrected in between.
    await command(redis, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    const before = await connections(redis);
    await command(redis, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    // A new connection checks the policy and then loads the scripts: after that it is open.
    await expect.poll(async () => {
      const now = await connections(redis);
      return [...now].filter(([id, ran]) => !before.has(id) && ran === "script|load").length;
    }, { timeout: 30_000 }).toBe(1);
    await evicting(redis);
    await expect.poll(() => shown(events).length, { timeout: 30_000 }).toBe(2);
  });

  test("over HTTP is refused if it reports the policy", async () => {
    const redis = await started("allkeys-lru");
    const server = await startUpstash(redis.port);
    cleanups.push(() => server.close());
    const { url, token } = server;
    await expect(upstashStore({ url, token })).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringMatching(ALLOWED),
    });
    await refuses(openStore(`${url}?eviction=no`, { token }), "bad_request", "eviction=allow");
    const { store, events } = await opened(`${url}?eviction=allow`, token);
    await own(store, freshKey());
    expect(shown(events)).toEqual([["warning", "registry may evict", "allkeys-lru"]]);
  });

  test("over HTTP that doesn't report the policy, as Upstash, is used", async () => {
    const redis = await started("allkeys-lru");
    await command(redis, "ACL", "SETUSER", "default", "-info");
    const server = await startUpstash(redis.port);
    cleanups.push(() => server.close());
    const { store, events } = await opened(server.url, server.token);
    await own(store, freshKey());
    expect(events).toEqual([]);
  });

  test("that sentinels name is refused, and one that they promote later is logged", async () => {
    const sentinels = await startSentinels({ replicas: 1 });
    cleanups.push(() => sentinels.close());
    const [master, replica] = sentinels.servers as [TestRedis, TestRedis];
    await evicting(master);
    await refuses(openStore(sentinels.url), "bad_request", "allkeys-lru");
    await command(master, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    const { store, events } = await opened(sentinels.url);
    await evicting(replica);
    expect(events).toEqual([]);
    await sentinels.failOver();
    await expect.poll(() => shown(events), { timeout: 60_000 })
      .toEqual([["error", "registry may evict", "allkeys-lru"]]);
    expect(String(events[0]?.fields["server"])).toContain(String(replica.port));
    await expect.poll(() => store.status(), { timeout: 30_000 }).toBe("up");
  });

  test("as one of a cluster's masters is refused at open, and logged later", async () => {
    const cluster = await startCluster();
    cleanups.push(() => cluster.close());
    const [, last] = cluster.masters as [TestRedis, TestRedis];
    await evicting(last);
    await refuses(openStore(cluster.url), "bad_request", `:${last.port}`);
    const allowed = await opened(`${cluster.url}?eviction=allow`);
    expect(shown(allowed.events)).toEqual([["warning", "registry may evict", "allkeys-lru"]]);
    await command(last, "CONFIG", "SET", "maxmemory-policy", "noeviction");
    const { events } = await opened(cluster.url);
    await evicting(last);
    await expect.poll(() => shown(events), { timeout: 30_000 })
      .toEqual([["error", "registry may evict", "allkeys-lru"]]);
  });
});
