/**
 * Writes invalid rows to a SQLite registry. Values have the column types that the tables enforce,
 * because the tables enforce them for any writer.
 */
import { DatabaseSync } from "node:sqlite";
import { slotOf } from "../src/model/rrp.ts";
import type { Attack } from "./attack.ts";
import type { Draw } from "./draw.ts";
import type { RowWriter } from "./part_rows.ts";
import { oddAddress, oddEpoch, oddHosts, oddRrp, oddStored, oddText } from "./rows_values.ts";

/** How long a write waits for the node's own, in ms. */
const BUSY_MS = 200;

export function sqliteWriter(path: string): RowWriter {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
  return {
    write: async (attack, key) => write(database, attack, key),
    close: () => database.close(),
  };
}

async function write(database: DatabaseSync, { draw }: Attack, key: string): Promise<string> {
  const [what, sql, ...values] = rowOf(draw, key);
  try {
    database.prepare(sql).run(...values);
    return what;
  } catch (error) {
    // The file is locked at the moment, or the table refused the row.
    return `${what} (not written: ${(error as Error).message})`;
  }
}

type Value = string | number | bigint | null;

function rowOf(draw: Draw, key: string): [what: string, sql: string, ...values: Value[]] {
  const slot = slotOf(key);
  return draw.weighted<() => [string, string, ...Value[]]>([
    [4, () => memberOf(draw)],
    [
      2,
      () => [
        "a higher version",
        "UPDATE atlas_version SET version = version + ?",
        draw.whole(1, 1_000),
      ],
    ],
    [4, () => [
      "an owner",
      "INSERT OR REPLACE INTO atlas_owner VALUES (?, ?, ?, ?, ?)",
      draw.chance(0.9) ? key : oddText(draw) + "ghost",
      oddRrp(draw, key),
      draw.pick([`ghost-${draw.below(40)}`, oddText(draw)]),
      oddEpoch(draw),
      oddText(draw),
    ]],
    [2, () => ["no owner", "DELETE FROM atlas_owner WHERE key = ?", key]],
    [5, () => [
      "a state",
      "INSERT OR REPLACE INTO atlas_state VALUES (?, ?, ?)",
      key,
      draw.pick([
        "s:seq",
        "s:m:000000000000001",
        "n",
        "q:bound",
        "i:k",
        "t:k",
        "s:",
        oddText(draw),
      ]),
      oddStored(draw),
    ]],
    [
      1,
      () => [
        "another epoch counter",
        "INSERT OR REPLACE INTO atlas_epoch VALUES (?, ?)",
        slot,
        oddEpoch(draw),
      ],
    ],
    [
      1,
      () => [
        "another last turn",
        "INSERT OR REPLACE INTO atlas_turn VALUES (?, ?, ?, '')",
        key,
        oddEpoch(draw),
        oddEpoch(draw),
      ],
    ],
    [2, () => ["no state", "DELETE FROM atlas_state WHERE key = ?", key]],
  ])();
}

function memberOf(draw: Draw): [what: string, sql: string, ...values: Value[]] {
  return [
    "a member",
    "INSERT OR REPLACE INTO atlas_member VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    draw.chance(0.5) ? `ghost-${draw.below(40)}` : oddText(draw).slice(0, 200) + "ghost",
    draw.pick(["local", oddText(draw)]),
    draw.pick([`ghost-${draw.below(40)}`, oddText(draw)]),
    oddAddress(draw),
    oddHosts(draw),
    draw.pick([0n, -1n, 1n << 62n, 5n]),
    draw.pick(["live", "dead", "left", "superseded", "", "undead", oddText(draw)]),
    draw.pick([null, 0, -1, 5]),
  ];
}
