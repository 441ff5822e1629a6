/**
 * A line to a Redis whose writes count only once replicas have them: a clerk who keeps
 * the receipt back until the duplicates are filed elsewhere.
 *
 * It takes a line, and gives it with `confirm`. A write that no replica has may be lost
 * with its server; a server that was replaced and does not know it has no replicas.
 *
 * Source: design §3, Store failover; the Redis command WAIT.
 */
import { unavailable } from "./check.ts";
import type { RedisLine } from "./redis_store.ts";

/** What waiting needs of a line. */
export interface RedisCommands extends RedisLine {
  /**
   * The connection over which the last script on this key's slot was answered; commands
   * sent over it one after the other keep their order.
   */
  runnerOf(key: string): { send(command: string, args: string[]): Promise<unknown> };
}

/**
 * The line, with `confirm` by WAIT.
 *
 * @param replicas how many must have copied, from 1.
 * @param waitMs how long they are waited for; whole, from 1.
 */
export function confirming(line: RedisCommands, replicas: number, waitMs: number): RedisLine {
  return {
    get up() {
      return line.up;
    },
    get clustered() {
      return line.clustered;
    },
    script: (script, keys, args, once) => line.script(script, keys, args, once),
    mget: (keys) => (line.mget as NonNullable<RedisLine["mget"]>)(keys),
    lineageIds: line.lineageIds && (() => (line.lineageIds as () => Promise<string[]>)()),
    close: () => line.close(),
    async confirm(key) {
      // WAIT is about this connection's last write: a script that had nothing to change
      // has none, and what was read may not be copied yet.
      const runner = line.runnerOf(key);
      const touched = runner.send("INCR", [touchKey(key)]);
      const waited = runner.send("WAIT", [String(replicas), String(waitMs)]);
      const [, copied] = await Promise.all([touched, waited]);
      if (typeof copied === "number" && copied >= replicas) return;
      throw unavailable(
        `${
          String(copied)
        } of ${replicas} replicas had the step within ${waitMs} ms: it may be done`,
      );
    },
  };
}

/** A key of the same slot that nothing is read from. */
function touchKey(key: string): string {
  return `${key.slice(0, key.indexOf("}") + 1)}:touch`;
}
