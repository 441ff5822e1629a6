/**
 * What a registry's errors reveal to callers: no host, port, user or file. These are in the
 * error's detail and in one log line.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { memoryStore } from "../../adapters/store/memory.ts";
import { redisStore } from "../../adapters/store/open/redis.ts";
import { regionalStore } from "../../adapters/store/regional/store.ts";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { systemClock } from "../../adapters/system/clock.ts";
import { MAX_LOGGED_ROWS } from "../../src/limits.ts";
import { AtlasError, detailOf, toWireError } from "../../src/errors.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import type { Store } from "../../src/ports/store.ts";
import { withGuardedStore } from "../../src/registry/guarded_store.ts";
import { claimOf, freshKey, freshMember } from "../conformance/store_kit.ts";
import { command } from "../support/redis_command.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { startUpstash } from "../upstash/server.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

function guarded(store: Store): { store: Store; events: NodeEvent[] } {
  const events: NodeEvent[] = [];
  const onEvent = (event: NodeEvent) => void events.push(event);
  cleanups.push(() => store.close());
  return { store: withGuardedStore({ store, clock: systemClock, onEvent }).store, events };
}

/** Stores that have just failed, with what their callers must not learn. */
const FAILED: { readonly [kind: string]: () => Promise<[store: Store, secrets: string[]]> } = {
  "a Redis that ended": async () => {
    const redis = await startRedis();
    await command(redis, "ACL", "SETUSER", "ann", "on", ">p@ss", "~*", "+@all");
    const url = redis.url.replace("//", "//ann:p%40ss@");
    const store = await redisStore(url, { timeoutMs: 2_000 });
    await redis.close();
    return [store, ["127.0.0.1", String(redis.port), "ann", "p@ss", "Redis"]];
  },
  "a Redis that hangs": async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.close());
    const store = await redisStore(redis.url, { timeoutMs: 300 });
    redis.freeze();
    return [store, ["127.0.0.1", String(redis.port), "Redis"]];
  },
  "an HTTP Redis that ended": async () => {
    const redis = await startRedis();
    const server = await startUpstash(redis.port);
    const store = await upstashStore({ url: server.url, token: server.token, timeoutMs: 2_000 });
    await server.close();
    await redis.close();
    return [store, ["127.0.0.1", new URL(server.url).port, server.token, "Redis"]];
  },
  "a SQLite file that others hold": async () => {
    const directory = mkdtempSync(join(tmpdir(), "atlas-told-"));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, "registry.db");
    const store = await sqliteStore(file, { timeoutMs: 100 });
    const other = new DatabaseSync(file);
    other.exec("BEGIN IMMEDIATE");
    cleanups.push(() => other.close());
    return [store, [directory, "registry.db", "SQLite"]];
  },
};

warnIfRedisMissing("what callers are told of a registry that fails");

describe.skipIf(redisMissing !== null)("a registry that fails", () => {
  for (const [kind, fail] of Object.entries(FAILED)) {
    test(`${kind}: callers get a general message, and the log has the details once`, async () => {
      const [failed, secrets] = await fail();
      const { store, events } = guarded(failed);
      for (let i = 0; i < 5; i++) {
        const error = await store.claim(claimOf(freshKey())).then(() => null, (it) => it);
        const [code, message] = toWireError(error);
        expect(code).toBe("unavailable");
        expect(message).toMatch(/^the registry can't be reached: [a-z' ]+$/);
        expect(message, detailOf(error)).not.toContain("see this node's log");
        for (const secret of secrets) expect(message).not.toContain(secret);
        expect(detailOf(error)).toContain(secrets[0]);
      }
      const lines = events.filter(({ event }) => event === "registry can't be reached");
      // The reason may change while the server ends; not every request logs a line.
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.length).toBeLessThan(4);
      expect(String(lines[0]?.fields["reason"])).toContain(secrets[0]);
      expect(JSON.stringify(lines)).not.toContain("p@ss");
    });
  }

  test("by region: callers get the region's name, and no more", async () => {
    const redis = await startRedis();
    const eu = () => redisStore(redis.url, { timeoutMs: 2_000 });
    const { store } = guarded(
      await regionalStore({
        self: "us",
        stores: { us: memoryStore(), eu },
        homes: { default: "eu" },
      }),
    );
    await store.lookup(freshKey());
    await redis.close();
    const error = await store.lookup(freshKey()).then(() => null, (it) => it);
    expect(error.message).toMatch(/^region eu: the registry can't be reached: [a-z' ]+$/);
    expect(error.detail).toContain(`region eu: the Redis at 127.0.0.1:${redis.port}`);
    await expect(store.claim(claimOf(freshKey()))).rejects.toThrow("is at home in eu");
  });
});

test("unreadable rows are logged once each, up to a limit for each process", async () => {
  const memory = memoryStore();
  let from = 0;
  const reading: Store = Object.assign(memory, {
    members: () =>
      Promise.resolve({
        version: 1,
        members: [],
        unreadable: Array.from({ length: 600 }, (_, i) => ({
          incarnation: `row-${from + i}`,
          seq: 0,
          state: "live" as const,
          reason: "it is not JSON",
        })),
        lineage: "",
      }),
  });
  const { store, events } = guarded(reading);
  for (const at of [0, 0, 600, 1_200, 0]) {
    from = at;
    await store.members();
  }
  expect(events).toHaveLength(MAX_LOGGED_ROWS);
  expect(events.at(-1)?.fields).toHaveProperty("further");
});

test("other errors are passed on unchanged, and missing methods stay missing", async () => {
  const { store, events } = guarded(memoryStore());
  const wrong = store.register(freshMember({ node: "a b" }), { ifFree: true });
  await expect(wrong).rejects.toMatchObject({ code: "bad_request" });
  expect(store.homeOf).toBeUndefined();
  expect(store.status()).toBe("up");
  await store.close();
  await expect(store.lookup("a/b")).rejects.toThrow("the store is closed");
  expect(events.map(({ event }) => event)).toEqual(["registry can't be reached"]);
  expect(new AtlasError("unavailable", "x", { detail: "y" }).detail).toBe("y");
});
