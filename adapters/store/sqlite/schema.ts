/**
 * The tables of the SQLite store, and the part of `node:sqlite` that is used. Takes an open
 * database; the first of several processes sets it up and creates its tables.
 */
import { AtlasError } from "../../../src/errors.ts";

/** A value that a statement takes or gives. */
export type Value = string | number | null;
export type Row = Readonly<Record<string, Value>>;

/** The part of `node:sqlite`'s `StatementSync` that is used. */
export interface Statement {
  get(...values: Value[]): Row | undefined;
  all(...values: Value[]): Row[];
  run(...values: Value[]): { readonly changes: number | bigint };
}

/** The part of `node:sqlite`'s `DatabaseSync` that is used. */
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

/** 2: with the file's lineage, and what states had in former terms. */
const VERSION = 2;

/**
 * How long SQLite itself waits for a lock, blocking the process, in ms. This is short, because the
 * step is then tried again by timer.
 */
const BUSY_MS = 15;

/** `atlas_epoch` has no foreign key: a slot's counter outlives all its owners. */
const TABLES = `
CREATE TABLE IF NOT EXISTS atlas_owner (
  key TEXT PRIMARY KEY, rrp TEXT NOT NULL, incarnation TEXT NOT NULL,
  epoch INTEGER NOT NULL, op TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS atlas_epoch (
  slot INTEGER PRIMARY KEY, counter INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS atlas_turn (
  key TEXT PRIMARY KEY, epoch INTEGER NOT NULL, turn INTEGER NOT NULL,
  past TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS atlas_ended (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL,
  turn INTEGER NOT NULL, past TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS atlas_state (
  key TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key, field)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS atlas_member (
  incarnation TEXT PRIMARY KEY, region TEXT NOT NULL, node TEXT NOT NULL,
  address TEXT NOT NULL, hosts TEXT NOT NULL, seq INTEGER NOT NULL,
  state TEXT NOT NULL, ended INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS atlas_member_live ON atlas_member (region, node) WHERE state = 'live';
CREATE TABLE IF NOT EXISTS atlas_version (
  id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO atlas_version VALUES (1, 0);
CREATE TABLE IF NOT EXISTS atlas_lineage (
  one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, file TEXT NOT NULL,
  term INTEGER NOT NULL, settled INTEGER NOT NULL
) STRICT;
PRAGMA user_version = ${VERSION};`;

/**
 * Sets the connection up and creates the tables. MAY throw a busy error; the call can then be
 * repeated on a new connection.
 *
 * @throws AtlasError `bad_request` if the file's format is another version's, or the file system
 * has no WAL.
 */
export function prepareSchema(
  database: Database,
  path: string,
  synchronous: "normal" | "full",
): void {
  // Set before journal_mode, which needs a lock of its own.
  database.prepare(`PRAGMA busy_timeout = ${BUSY_MS}`).get();
  const mode = database.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"];
  if (mode !== "wal") throw unusable(path, `it can't use WAL (its journal mode is ${mode})`);
  database.prepare(`PRAGMA synchronous = ${synchronous}`).run();
  const version = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version === VERSION) return;
  if (version > VERSION) {
    throw unusable(path, `its format is ${version}, this Atlas reads ${VERSION}`);
  }
  database.prepare("BEGIN IMMEDIATE").run();
  if (version === 1) {
    database.exec("ALTER TABLE atlas_turn ADD COLUMN past TEXT NOT NULL DEFAULT ''");
  }
  database.exec(TABLES);
  database.prepare("COMMIT").run();
}

/** Whether an error says that another connection holds the file. */
export function isBusy(error: unknown): boolean {
  const { errcode, message } = error as { errcode?: number; message?: string };
  // SQLITE_BUSY and SQLITE_LOCKED; some runtimes give no code, only SQLite's words.
  if (typeof errcode === "number") return (errcode & 0xff) === 5 || (errcode & 0xff) === 6;
  return /database (?:table |schema )?is locked/.test(message ?? "");
}

/**
 * Text as it is stored: without NUL, at which one runtime's driver cuts a text off. Keeps the order
 * of texts; see {@link fromStored}.
 */
export function toStored(text: string): string {
  // deno-lint-ignore no-control-regex
  if (!/[\u0000\u0001]/.test(text)) return text;
  return text.replaceAll("\u0001", "\u0001\u0002").replaceAll("\u0000", "\u0001\u0001");
}

/** The inverse of {@link toStored}. A run of marks begins with a pair's first. */
export function fromStored(stored: string): string {
  if (!stored.includes("\u0001")) return stored;
  return stored.replaceAll("\u0001\u0001", "\u0000").replaceAll("\u0001\u0002", "\u0001");
}

function unusable(path: string, why: string): AtlasError {
  return new AtlasError(
    "bad_request",
    `the SQLite file ${JSON.stringify(path)} can't be used: ${why}`,
  );
}
