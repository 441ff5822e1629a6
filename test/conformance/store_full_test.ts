/** The suite of full stores, on every store that has a limit. */
import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryStore } from "../../adapters/store/memory.ts";
import { dialIoredis } from "../../adapters/store/redis/client.ts";
import { redisStore, type RedisStoreOptions } from "../../adapters/store/open/redis.ts";
import { regionalStore } from "../../adapters/store/regional/store.ts";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { startSentinels } from "../support/redis_groups.ts";
import { command } from "../support/redis_command.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { startUpstash } from "../upstash/server.ts";
import { type FullBackend, fullConformance, type FullOptions } from "./store_full.ts";

const timeoutMs = 60_000;

/** Limits a Redis to less memory than it uses, or removes the limit. */
function limits(redis: Pick<TestRedis, "url">): Pick<FullBackend, "fill" | "free"> {
  const limit = async (bytes: string): Promise<void> => {
    await command(redis, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", bytes);
  };
  return { fill: () => limit("1000000"), free: () => limit("0") };
}

function redis(cluster = false, client: RedisStoreOptions = {}) {
  return async (): Promise<FullBackend> => {
    const process = await startRedis({ cluster });
    const store = await redisStore(process.url, { timeoutMs, ...client });
    return {
      store,
      secrets: ["OOM the memory", String(process.port)],
      ...limits(process),
      dispose: () => process.close(),
    };
  };
}

async function sentinels(): Promise<FullBackend> {
  const group = await startSentinels({ sentinels: 1, replicas: 0 });
  const store = await redisStore(group.url, { timeoutMs });
  const [master] = group.servers;
  return {
    store,
    secrets: ["OOM the memory"],
    ...limits(master as TestRedis),
    dispose: () => group.close(),
  };
}

async function upstash(): Promise<FullBackend> {
  const process = await startRedis();
  const { url, token, close } = await startUpstash(process.port);
  return {
    store: await upstashStore({ url, token, timeoutMs }),
    secrets: ["OOM the memory", token],
    ...limits(process),
    async dispose() {
      await close();
      await process.close();
    },
  };
}

async function regional(): Promise<FullBackend> {
  const { store, ...rest } = await redis()();
  const stores = { us: store, eu: memoryStore() };
  return {
    store: await regionalStore({ self: "us", stores, homes: { default: "us" } }),
    ...rest,
  };
}

/** A SQLite store whose file may not grow while it is full. */
async function sqlite(): Promise<FullBackend> {
  const directory = mkdtempSync(join(tmpdir(), "atlas-full-"));
  const file = join(directory, "registry.db");
  let database: DatabaseSync | undefined;
  class Driver extends DatabaseSync {
    constructor(path: string) {
      super(path);
      database = this;
    }
  }
  const limit = (pages: number): Promise<void> =>
    Promise.resolve(database?.exec(`PRAGMA max_page_count = ${pages}`));
  return {
    store: await sqliteStore(file, { driver: Driver as never, timeoutMs }),
    secrets: [file],
    fill: () => limit(1),
    free: () => limit(1_000_000),
    dispose: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

const OOM = /^the registry refuses it: its memory is full \(OOM\), and this would take more of it$/;
const MEMORY: FullOptions = { reason: OOM, refusesNames: true, missing: redisMissing };

warnIfRedisMissing("what a full Redis does");
fullConformance("redis", redis(), MEMORY);
fullConformance("redis, one node of a cluster", redis(true), MEMORY);
fullConformance("redis, behind a sentinel", sentinels, MEMORY);
fullConformance("upstash", upstash, MEMORY);
fullConformance(
  "redis, one of several masters",
  redis(false, { strategy: "optimistic", master: "a", masters: ["a", "b"], boundMs: 20 }),
  { ...MEMORY, refusesNames: false },
);
fullConformance("regional", regional, {
  ...MEMORY,
  reason: new RegExp(OOM.source.replace("^", "^(?:region us: )?")),
});
if ("Bun" in globalThis) {
  fullConformance("redis, through ioredis", redis(false, { dial: dialIoredis }), MEMORY);
}
fullConformance("sqlite", sqlite, {
  reason: /^the registry refuses it: its disk is full \(SQLITE_FULL\)$/,
  refusesNames: false,
});
