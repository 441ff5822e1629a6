/**
 * Freezes a node by SIGSTOP at a moment when that blocks no other process.
 *
 * Takes a running node and the URL of its registry; resolves when it is stopped. SIGCONT resumes
 * it.
 */
import type { NodeProcess } from "./process.ts";

/**
 * Freezes a node, but not while it holds the lock of a SQLite file: a process that is stopped
 * within a transaction blocks all other writers of the file, which no protocol above the file can
 * prevent.
 */
export async function freeze(node: NodeProcess, url: string): Promise<void> {
  const path = url.startsWith("file:") ? url.slice("file:".length) : null;
  for (;;) {
    node.signal("SIGSTOP");
    if (path === null || await isWritable(path)) return;
    node.signal("SIGCONT");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function isWritable(path: string): Promise<boolean> {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(path);
  try {
    database.exec("PRAGMA busy_timeout = 250");
    database.exec("BEGIN IMMEDIATE; ROLLBACK");
    return true;
  } catch {
    return false;
  } finally {
    database.close();
  }
}
