/**
 * Writes rows that no store would write, one writer for each kind of backend of the store suite.
 * Takes parts of a row as text and writes them where a store reads them.
 */
import { DatabaseSync } from "node:sqlite";
import { slotOf } from "../../src/model/rrp.ts";
import { command } from "../support/redis_command.ts";
import type { HostileWriter, RawMember } from "./store.ts";

/** On a Redis; `master` is one of the strategy `optimistic`, whose keys contain its name. */
export function redisWriter(server: { readonly url: string }, master?: string): HostileWriter {
  const send = (name: string, ...args: string[]) => command(server, name, ...args).then(() => {});
  const suffix = master === undefined ? "" : `/${master}`;
  const members = (kind: string) => `atlas:{members}:${kind}${suffix}`;
  const slot = (key: string) => `atlas:{s${slotOf(key)}}`;
  const seq = (incarnation: string, text: string) =>
    send("HSET", members("seq"), incarnation, text);
  return {
    async member(row) {
      const { incarnation, state } = row;
      await send("HSET", members("info"), incarnation, infoOf(row));
      await seq(incarnation, row.seq);
      await send("HSET", members("state"), incarnation, state);
      await send("INCR", members("version"));
    },
    seq,
    corruptMember: (incarnation) => send("HSET", members("info"), incarnation, "not json"),
    owner: (key, epoch, rrp) =>
      master === undefined
        ? send("SET", `${slot(key)}:own:${key}`, `${epoch} someone op ${rrp}`)
        : send("SET", `${slot(key)}:claim/${master}:${key}`, `${epoch} someone op - ${rrp}`),
    turn: (key, epoch, turn) =>
      send(
        "HSET",
        `${slot(key)}:state${master === undefined ? "" : suffix}:${key}`,
        "turn",
        `${epoch} ${turn}`,
      ),
    counter: (key, text) => send("SET", `${slot(key)}:epoch${suffix}`, text),
    version: (text) => send("SET", members("version"), text),
    remove: (key, part) => {
      const name = part === "own" && master !== undefined ? "claim" : part;
      const of = part === "epoch" ? "" : `:${key}`;
      return send("DEL", `${slot(key)}:${name}${suffix}${of}`);
    },
  };
}

function infoOf({ info, incarnation, region, node, address, hosts }: RawMember): string {
  if (info !== undefined) return info;
  const parts = { incarnation, region, node, address };
  return `${JSON.stringify(parts).slice(0, -1)},"hosts":${hosts}}`;
}

/** On a SQLite file. Its tables refuse other values in integer columns. */
export function sqliteWriter(file: string): HostileWriter {
  const run = (sql: string, ...values: (string | bigint)[]): Promise<void> => {
    const database = new DatabaseSync(file);
    try {
      database.exec("PRAGMA busy_timeout = 30000");
      database.prepare(sql).run(...values);
    } finally {
      database.close();
    }
    return Promise.resolve();
  };
  return {
    async member({ incarnation, region, node, address, hosts, info, seq, state }) {
      await run(
        "INSERT INTO atlas_member VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
        ...[incarnation, region, node, address, info ?? hosts],
        integer(seq),
        state,
      );
      await run("UPDATE atlas_version SET version = version + 1");
    },
    seq: (incarnation, seq) =>
      run("UPDATE atlas_member SET seq = ? WHERE incarnation = ?", integer(seq), incarnation),
    corruptMember: (incarnation) =>
      run("UPDATE atlas_member SET hosts = 'not json' WHERE incarnation = ?", incarnation),
    owner: (key, epoch, rrp) =>
      run(
        "INSERT OR REPLACE INTO atlas_owner VALUES (?, ?, ?, ?, ?)",
        ...[key, rrp, "someone"],
        integer(epoch),
        "op",
      ),
    turn: (key, epoch, turn) =>
      run(
        "INSERT OR REPLACE INTO atlas_turn VALUES (?, ?, ?, '')",
        key,
        integer(epoch),
        integer(turn),
      ),
    counter: (key, text) =>
      run(
        "INSERT OR REPLACE INTO atlas_epoch VALUES (?, ?)",
        BigInt(slotOf(key)),
        integer(text),
      ),
    version: (text) => run("INSERT OR REPLACE INTO atlas_version VALUES (1, ?)", integer(text)),
  };
}

/** A whole number unchanged; for any other text the lowest number that a column holds. */
function integer(text: string): bigint {
  const isWhole = /^-?\d{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
  return isWhole ? BigInt(text) : -(2n ** 63n);
}
