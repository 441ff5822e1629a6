/**
 * The registry of a chaos run: a Redis, a Redis master with replicas and sentinels, or a SQLite
 * file. Gives its URL, the switches that faults use, and a function that freezes a node without
 * blocking the registry.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { awaitReply, startRedis, type TestRedis } from "../test/support/redis.ts";
import { MASTER, startSentinels } from "../test/support/redis_groups.ts";
import type { ManagedNode } from "./managed_node.ts";
import type { FaultKind } from "./plan.ts";

export type StoreKind = "redis" | "sentinel" | "file";
export const STORE_KINDS: readonly StoreKind[] = ["redis", "sentinel", "file"];

/** The faults of a registry. */
export type StoreFault = Extract<FaultKind, `redis_${string}`>;

export interface Registry {
  readonly url: string;
  /** Its faults; none for a file. */
  readonly faults: readonly StoreFault[];
  /** Applies the fault until `pause` resolves; resolves once it is undone. */
  suffer(fault: StoreFault, pause: () => Promise<void>): Promise<void>;
  /** Freezes a node's process. */
  freeze(node: ManagedNode): Promise<void>;
  close(): Promise<void>;
}

export async function openRegistry(kind: StoreKind): Promise<Registry> {
  if (kind === "file") return openFile();
  if (kind === "sentinel") return await openSentinels();
  const redis = await startRedis({ durable: true });
  return {
    url: redis.url,
    faults: ["redis_kill", "redis_freeze"],
    suffer: (fault, pause) => breakServer(redis, fault, pause),
    freeze: async (node) => node.freeze(),
    close: () => redis.close(),
  };
}

async function breakServer(
  redis: TestRedis,
  fault: StoreFault,
  pause: () => Promise<void>,
): Promise<void> {
  if (fault === "redis_kill") await redis.kill();
  else redis.freeze();
  await pause();
  if (fault === "redis_kill") await redis.restart();
  else redis.thaw();
}

/** How long sentinels wait for a silent server, in ms: well below a lease. */
const DOWN_AFTER_MS = 1_000;

/** A master with two replicas, one more than steps wait for in any case, and three sentinels. */
async function openSentinels(): Promise<Registry> {
  const group = await startSentinels({ replicas: 2, downAfterMs: DOWN_AFTER_MS, durable: true });
  const { servers, ports } = group;
  const master = async (): Promise<TestRedis> => {
    const port = await group.masterPort();
    return servers.find((server) => server.port === port) as TestRedis;
  };
  return {
    url: `${group.url}?replicas=1`,
    faults: ["redis_kill", "redis_freeze", "redis_planned"],
    async suffer(fault, pause) {
      if (fault === "redis_planned") {
        await awaitReply(
          ports[0] as number,
          `SENTINEL FAILOVER ${MASTER}`,
          /OK|INPROG|NOGOODSLAVE/,
        );
        await pause();
      } else await breakServer(await master(), fault, pause);
      // One server is down at a time: the next fault begins once all are in sync.
      await isWhole(ports, master);
    },
    freeze: async (node) => node.freeze(),
    close: () => group.close(),
  };
}

/** Resolves once all sentinels name one master, and two replicas are up and copy it. */
async function isWhole(ports: readonly number[], master: () => Promise<TestRedis>): Promise<void> {
  for (;;) {
    const { port } = await master();
    const sure = new RegExp(`^\\*2\\r\\n.*\\r\\n${port}\\r\\n$`, "s");
    const named = `SENTINEL GET-MASTER-ADDR-BY-NAME ${MASTER}`;
    const answers = await Promise.all(ports.map((it) => awaitReply(it, named, /\*2/)));
    const about = await awaitReply(port, "INFO replication", /role:/);
    const online = about.match(/^slave\d+:.*state=online/gm)?.length ?? 0;
    const listed = await Promise.all(
      ports.map((it) => awaitReply(it, `SENTINEL REPLICAS ${MASTER}`, /./)),
    );
    const isDown = listed.some((list) => /s_down|o_down|disconnected/.test(list));
    if (answers.every((answer) => sure.test(answer)) && online === 2 && !isDown) return;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function openFile(): Registry {
  const folder = mkdtempSync(join(tmpdir(), "atlas-chaos-db-"));
  const path = join(folder, "registry.db");
  return {
    url: `file:${path}`,
    faults: [],
    suffer: (_fault, pause) => pause(),
    freeze: (node) => freezeBeside(path, node),
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** How long a writer waits for the file, and between two tries, in ms. */
const BUSY_MS = 250;
const AGAIN_MS = 10;

/**
 * Freezes a node, but not while it holds the lock of the file: a process that is stopped within a
 * transaction blocks all other writers of the file, which no protocol above the file can prevent.
 */
async function freezeBeside(path: string, node: ManagedNode): Promise<void> {
  for (;;) {
    node.freeze();
    if (await isWritable(path)) return;
    node.thaw();
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function isWritable(path: string): Promise<boolean> {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    database.exec("BEGIN IMMEDIATE; ROLLBACK");
    return true;
  } catch {
    return false;
  } finally {
    database.close();
  }
}
