/**
 * What a commit costs in a store without Atlas: the same script on a Redis, by the same client, and
 * the same four statements on a SQLite file. All calls of a frame share one script or transaction.
 */
import { createHash, randomUUID } from "node:crypto";
import { dialBun, dialIoredis, parseRedisUrl } from "../../adapters/store/redis/client.ts";
import { STEPS } from "../../adapters/store/redis/scripts.ts";
import { claimStep, commitStep, scriptOf, type Step } from "../../adapters/store/redis/steps.ts";

/** Writes a text for each name; resolves when all are stored. */
export type Commits = (calls: readonly { key: string; text: string }[]) => Promise<void>;

const incarnation: string = randomUUID();

/** Opens `redis://…` or `file:…`. */
export function openCommits(url: string): Promise<Commits> {
  return url.startsWith("redis:") ? redisCommits(url) : sqliteCommits(url.slice("file:".length));
}

async function redisCommits(url: string): Promise<Commits> {
  const dial = "Bun" in globalThis ? dialBun : dialIoredis;
  const ended = (why: string) => {
    throw new Error(why);
  };
  const client = await dial(parseRedisUrl(url), 5_000, ended);
  await client.send("SCRIPT", ["LOAD", STEPS]);
  const digest = createHash("sha1").update(STEPS).digest("hex");
  const run = async (steps: readonly Step[]) => {
    const { keys, args } = scriptOf(steps);
    return await client.send("EVALSHA", [
      digest,
      String(keys.length),
      ...keys,
      ...args,
    ]) as unknown[];
  };
  const turns = new Map<string, { readonly epoch: number; turn: number }>();
  /** Claims the names that come for the first time. */
  const claim = async (keys: readonly string[]) => {
    const steps = keys.map((key) => {
      const rrp = `rrp:bench/peer/${key}`;
      return claimStep({ key, rrp, incarnation, opId: randomUUID(), expected: null });
    });
    const replies = await run(steps) as [epoch: number][];
    keys.forEach((key, i) => turns.set(key, { epoch: Number(replies[i]?.[0]), turn: 0 }));
  };
  return async (calls) => {
    const unknown = calls.map(({ key }) => key).filter((key) => !turns.has(key));
    if (unknown.length > 0) await claim([...new Set(unknown)]);
    const steps = calls.map(({ key, text }) => {
      const known = turns.get(key) as { epoch: number; turn: number };
      const puts: [string, string][] = [["text", JSON.stringify(text)]];
      const { epoch, turn } = known;
      // As an owner does, which knows its last turn.
      const after = turn > 0 ? { epoch, turn } : { epoch: 0, turn: 0 };
      known.turn = turn + 1;
      return commitStep({ key, incarnation, epoch, turn: turn + 1, after, puts, deletes: [] });
    });
    const replies = await run(steps);
    const wrong = replies.find((reply) => reply !== 1);
    if (wrong !== undefined) throw new Error(`Redis answered ${JSON.stringify(wrong)}`);
  };
}

async function sqliteCommits(path: string): Promise<Commits> {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = normal;
    CREATE TABLE owner (key TEXT PRIMARY KEY, incarnation TEXT, epoch INTEGER) STRICT, WITHOUT ROWID;
    CREATE TABLE turn (key TEXT PRIMARY KEY, epoch INTEGER, turn INTEGER) STRICT, WITHOUT ROWID;
    CREATE TABLE state (key TEXT, field TEXT, value TEXT, PRIMARY KEY (key, field))
      STRICT, WITHOUT ROWID;`);
  const prepare = (sql: string) => database.prepare(sql);
  const begin = prepare("BEGIN IMMEDIATE");
  const commit = prepare("COMMIT");
  const owner = prepare("SELECT incarnation, epoch FROM owner WHERE key = ?");
  const claim = prepare("INSERT INTO owner VALUES (?, ?, 1)");
  const last = prepare("SELECT epoch, turn FROM turn WHERE key = ?");
  const put = prepare("INSERT OR REPLACE INTO state VALUES (?, ?, ?)");
  const setTurn = prepare("INSERT OR REPLACE INTO turn VALUES (?, 1, ?)");
  return (calls) => {
    begin.run();
    for (const { key, text } of calls) {
      if (owner.get(key) === undefined) claim.run(key, incarnation);
      const turn = Number(last.get(key)?.["turn"] ?? 0) + 1;
      put.run(key, "text", JSON.stringify(text));
      setTurn.run(key, turn);
    }
    commit.run();
    return Promise.resolve();
  };
}
