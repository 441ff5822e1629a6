/**
 * The registry that a run's nodes share: a Redis of its own, or a SQLite file.
 *
 * Takes the kind; gives its URL, the switches that faults use, and how a node may be
 * frozen beside it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRedis, type TestRedis } from "../test/support/redis.ts";
import type { Place } from "./place.ts";

export type StoreKind = "redis" | "file";

export interface Registry {
  readonly url: string;
  /** Null where the registry is a file, to which nothing happens. */
  readonly redis: TestRedis | null;
  /** Freezes a node's process. */
  freeze(place: Place): Promise<void>;
  close(): Promise<void>;
}

export async function openRegistry(kind: StoreKind): Promise<Registry> {
  if (kind === "file") return openFile();
  const redis = await startRedis({ durable: true });
  return {
    url: redis.url,
    redis,
    freeze: async (place) => place.freeze(),
    close: () => redis.close(),
  };
}

function openFile(): Registry {
  const folder = mkdtempSync(join(tmpdir(), "atlas-chaos-db-"));
  const path = join(folder, "registry.db");
  return {
    url: `file:${path}`,
    redis: null,
    freeze: (place) => freezeBeside(path, place),
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** How long a writer waits for the file, and between two tries, in ms. */
const BUSY_MS = 250;
const AGAIN_MS = 10;

/**
 * Freezes a node, but not while it holds the lock of the file: whoever is stopped in the
 * middle of a transaction stops all other writers of the file with it, which no protocol
 * above the file can help.
 */
async function freezeBeside(path: string, place: Place): Promise<void> {
  for (;;) {
    place.freeze();
    if (await isWritable(path)) return;
    place.thaw();
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
