/**
 * The store suite, run on every store that this package has.
 *
 * Covers adapters/store/memory.ts, adapters/store/store_state.ts, adapters/store/check.ts, adapters/store/redis/scripts.ts,
 * adapters/store/redis/membership_scripts.ts and adapters/store/redis/steps.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { memoryStore } from "../../adapters/store/memory.ts";
import { redisStore, type RedisStoreOptions } from "../../adapters/store/open/redis.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { dialIoredis } from "../../adapters/store/redis/client.ts";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import {
  redisMissing,
  startRedis,
  type TestRedisOptions,
  warnIfRedisMissing,
} from "../support/redis.ts";
import { startUpstash } from "../upstash/server.ts";
import { regionalBackend } from "./regional_backend.ts";
import { type StoreBackend, storeConformance } from "./store.ts";
import { everythingRejects } from "./store_ends.ts";
import { redisWriter, sqliteWriter } from "./hostile_writers.ts";

async function memory(): Promise<StoreBackend> {
  const store = memoryStore();
  return { open: async () => store, dispose: async () => {} };
}

async function sqlite(): Promise<StoreBackend> {
  const directory = mkdtempSync(join(tmpdir(), "atlas-sqlite-"));
  const file = join(directory, "deeper", "registry.db");
  const open = () => sqliteStore(file, { timeoutMs });
  return {
    open,
    // The file is the backend: after a crash a new handle reads what is in it.
    crash: async () => {},
    writer: sqliteWriter(file),
    dispose: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** How long a step may take: the machine may be busy. */
const timeoutMs = 60_000;

function redis(server: TestRedisOptions, client: RedisStoreOptions = {}) {
  return async (): Promise<StoreBackend> => {
    const process = await startRedis(server);
    return {
      open: () => redisStore(process.url, { timeoutMs, ...client }),
      crash: server.durable
        ? async () => {
          await process.kill();
          await process.restart();
        }
        : undefined,
      writer: redisWriter(process),
      dispose: () => process.close(),
    };
  };
}

async function upstash(): Promise<StoreBackend> {
  const process = await startRedis({ durable: true });
  const { url, token, close } = await startUpstash(process.port);
  return {
    open: () => upstashStore({ url, token, timeoutMs }),
    crash: async () => {
      await process.kill();
      await process.restart();
    },
    writer: redisWriter(process),
    dispose: async () => {
      await close();
      await process.close();
    },
  };
}

warnIfRedisMissing("the store suite on Redis");
storeConformance("memory", memory);
storeConformance("sqlite", sqlite);
storeConformance("redis, durable", redis({ durable: true }), redisMissing);
storeConformance("redis, one node of a cluster", redis({ cluster: true }), redisMissing);
storeConformance("upstash", upstash, redisMissing);
const REGIONS = ["us-east-1", "eu-west-1", "ap-south-1"];
storeConformance("regional, one region", () => regionalBackend(["local"], memory));
storeConformance("regional, three in memory", () => regionalBackend(REGIONS, memory));
storeConformance("regional, three SQLite files", () => regionalBackend(REGIONS, sqlite));
storeConformance(
  "regional, three Redises",
  () => regionalBackend(REGIONS, redis({ durable: true })),
  redisMissing,
);
if ("Bun" in globalThis) {
  storeConformance("redis, through ioredis", redis({}, { dial: dialIoredis }), redisMissing);
}

test("memory: closing one handle closes the store for all", async () => {
  const store = memoryStore();
  expect(store.status()).toBe("up");
  await store.close();
  expect(store.status()).toBe("down");
  await everythingRejects(store);
});
