/**
 * Ownership and state in SQLite, and the last turns of states that have ended. Its steps run
 * inside a transaction of the transaction queue, which rolls back a step that fails.
 */
import { MAX_ENTRY } from "../../../src/limits.ts";
import { LostTurns, type OwnerKnows } from "../../../src/model/lost_turns.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import { slotOf } from "../../../src/model/rrp.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  CommittedTurn,
  LineageName,
  OwnershipPage,
  Range,
  Reassertion,
  Stamp,
  Standing,
} from "../../../src/ports/store.ts";
import { BrokenEntry, brokenEntry } from "../check.ts";
import {
  hasTurn,
  keptOf,
  lostWhereBroken,
  nextEpoch,
  NO_STAMP,
  pastOf,
  standingOf,
} from "../lineage.ts";
import type { SqliteLineage } from "./lineage.ts";
import { type Database, fromStored, type Row, type Statement, toStored } from "./schema.ts";

/** An owner's columns: text of a bounded length, and an epoch that any driver can read. */
const OWNER = `substr(rrp, 1, ${MAX_ENTRY + 1}) AS rrp, ` +
  `substr(incarnation, 1, ${MAX_ENTRY + 1}) AS incarnation, CAST(epoch AS TEXT) AS epoch`;

/** Rows that one page of a listing may read: a sparse prefix must not block the process. */
const MAX_LOOKED_AT = 2_000;

export class SqliteOwnership {
  readonly #owner: Statement;
  readonly #counter: Statement;
  readonly #setCounter: Statement;
  readonly #own: Statement;
  readonly #disown: Statement;
  readonly #owners: Statement;
  readonly #turn: Statement;
  readonly #setTurn: Statement;
  readonly #nextTurn: Statement;
  readonly #value: Statement;
  readonly #puts: Puts;
  readonly #delete: Statement;
  readonly #forward: Statement;
  readonly #backward: Statement;
  readonly #lineage: SqliteLineage;
  readonly #ended: EndedTurns;

  constructor(database: Database, lineage: SqliteLineage) {
    this.#lineage = lineage;
    this.#ended = new EndedTurns(database);
    const prepare = (sql: string): Statement => database.prepare(sql);
    this.#owner = prepare(`SELECT ${OWNER}, op FROM atlas_owner WHERE key = ?`);
    this.#counter = prepare(
      "SELECT CAST(counter AS TEXT) AS counter FROM atlas_epoch WHERE slot = ?",
    );
    this.#setCounter = prepare("INSERT OR REPLACE INTO atlas_epoch VALUES (?, ?)");
    this.#own = prepare("INSERT OR REPLACE INTO atlas_owner VALUES (?, ?, ?, ?, ?)");
    this.#disown = prepare(
      "DELETE FROM atlas_owner WHERE key = ? AND incarnation = ? AND epoch = ?",
    );
    this.#owners = prepare(
      `SELECT key, ${OWNER} FROM atlas_owner WHERE key > ? ORDER BY key LIMIT ?`,
    );
    this.#turn = prepare(
      "SELECT CAST(epoch AS TEXT) AS epoch, CAST(turn AS TEXT) AS turn, past FROM atlas_turn WHERE key = ?",
    );
    this.#setTurn = prepare("INSERT OR REPLACE INTO atlas_turn VALUES (?, ?, ?, ?)");
    this.#nextTurn = prepare(
      "UPDATE atlas_turn SET turn = ?1 WHERE key = ?2 AND epoch = ?3 AND turn >= ?4 AND turn < ?1 " +
        "AND EXISTS (SELECT 1 FROM atlas_owner WHERE key = ?2 AND epoch = ?3 AND incarnation = ?5 " +
        `AND length(rrp) <= ${MAX_ENTRY} - length(incarnation) AND rrp GLOB 'rrp:?*')`,
    );
    this.#value = prepare("SELECT value FROM atlas_state WHERE key = ? AND field = ?");
    this.#puts = new Puts(database);
    this.#delete = prepare("DELETE FROM atlas_state WHERE key = ? AND field = ?");
    const range = "SELECT field, value FROM atlas_state " +
      "WHERE key = ? AND field >= ? AND field < ? ORDER BY field";
    this.#forward = prepare(`${range} LIMIT ?`);
    this.#backward = prepare(`${range} DESC LIMIT ?`);
  }

  /** Runs what the steps of the transaction have left to be run together. Before its COMMIT. */
  finish(): void {
    this.#puts.run();
  }

  /** The transaction is rolled back. */
  rollback(): void {
    this.#puts.drop();
  }

  lookup(key: string): Ownership | null {
    return ownership(key, this.#owner.get(key));
  }

  claim(claim: Claim): ClaimReply {
    const { key, rrp, incarnation, opId, expected, lineage, above } = claim;
    if (lineage && lineage.id !== this.#lineage.id) {
      return { won: false, owner: null, quarantined: true };
    }
    const row = this.#owner.get(key);
    const present = ownership(key, row);
    if (row?.["op"] === opId && present?.incarnation === incarnation) {
      return { won: true, owner: present, last: this.#last(key) };
    }
    const isExpected = expected === null
      ? present === null
      : present?.incarnation === expected.incarnation && present.epoch === expected.epoch;
    if (!isExpected) return { won: false, owner: present };
    const slot = slotOf(key);
    if (!this.#turn.get(key)) this.#ended.claimed(key);
    const last = this.#last(key);
    const known = Math.max(this.#drawn(key, slot), present?.epoch ?? 0, last.epoch);
    const epoch = nextEpoch(known, lineage?.term ?? 0, above);
    this.#setCounter.run(slot, epoch);
    this.#own.run(key, rrp, incarnation, epoch, opId);
    return { won: true, owner: { rrp, incarnation, epoch }, last };
  }

  reassert(reassertions: readonly Reassertion[], lineage: LineageName): readonly Standing[] | null {
    if (lineage.id !== this.#lineage.id) return null;
    return reassertions.map((reassertion) => {
      try {
        return this.#reassert(reassertion, lineage);
      } catch (error) {
        return lostWhereBroken(error);
      }
    });
  }

  #reassert(reassertion: Reassertion, lineage: LineageName): Standing {
    const { key, rrp, incarnation, epoch } = reassertion;
    const slot = slotOf(key);
    const drawn = this.#drawn(key, slot);
    const { isWritten, ...standing } = standingOf(
      reassertion,
      this.lookup(key),
      this.#last(key),
      drawn,
      lineage,
    );
    if (isWritten) {
      this.#setCounter.run(slot, Math.max(drawn, epoch));
      this.#own.run(key, rrp, incarnation, epoch, "reasserted");
    }
    return standing;
  }

  kept(turns: readonly CommittedTurn[], { id }: LineageName): readonly Stamp[] | null {
    if (id !== this.#lineage.id) return null;
    return turns.map(({ key, last }) => {
      try {
        const row = this.#turn.get(key) ?? this.#ended.row(key);
        return keptOf(last, this.#last(key, row), pastIn(key, row));
      } catch (error) {
        // Unknown: readers of the state get the error that it can't be read.
        if (error instanceof BrokenEntry) return last;
        throw error;
      }
    });
  }

  /** Needs no `after`: a file can't lose a part of a state. */
  release(key: string, incarnation: string, epoch: number): boolean {
    if (Number(this.#disown.run(key, incarnation, epoch).changes) === 0) return false;
    this.#puts.run();
    this.#ended.released(key);
    return true;
  }

  list(prefix: string, cursor: string, limit: number): OwnershipPage {
    const most = Math.max(limit, MAX_LOOKED_AT);
    const rows = this.#owners.all(cursor, most);
    const entries: Ownership[] = [];
    const broken: BrokenEntry[] = [];
    let next = rows.length < most ? null : String(rows.at(-1)?.["key"]);
    for (const row of rows) {
      try {
        const owner = ownership(String(row["key"]), row) as Ownership;
        if (owner.rrp.startsWith(prefix)) entries.push(owner);
      } catch (error) {
        if (!(error instanceof BrokenEntry)) throw error;
        broken.push(error);
      }
      if (entries.length < limit) continue;
      next = String(row["key"]);
      break;
    }
    return { entries, next, ...broken.length > 0 && { unreadable: broken } };
  }

  read(key: string, fields: readonly string[], knows?: OwnerKnows): (string | null)[] {
    this.#checkKnown(key, knows);
    return fields.map((field) => {
      const row = this.#value.get(key, toStored(field));
      return row ? fromStored(String(row["value"])) : null;
    });
  }

  range(key: string, range: Range, knows?: OwnerKnows): [string, string][] {
    this.#checkKnown(key, knows);
    const { start, end, limit, reverse } = range;
    const rows = (reverse ? this.#backward : this.#forward)
      .all(key, toStored(start), toStored(end), limit);
    return rows.map((row) => [
      fromStored(String(row["field"])),
      fromStored(String(row["value"])),
    ]);
  }

  commit(commit: Commit): CommitReply {
    const { key, incarnation, epoch, turn, after = NO_STAMP } = commit;
    if (this.#isNext(commit)) {
      this.#write(commit);
      return "committed";
    }
    const isMoved = commit.lineage !== undefined && commit.lineage !== this.#lineage.id;
    const owner = this.lookup(key);
    if (owner?.incarnation !== incarnation || owner.epoch !== epoch) {
      return isMoved ? "moved" : "fenced";
    }
    const row = this.#turn.get(key);
    const last = this.#last(key, row);
    if (last.epoch === epoch && turn <= last.turn) return "committed";
    if (!hasTurn(last, after)) return isMoved ? "moved" : { lost: last };
    this.#write(commit);
    const past = pastOf(pastIn(key, row), last, epoch);
    this.#setTurn.run(key, epoch, turn, past.map((it) => `${it.epoch} ${it.turn}`).join(","));
    return "committed";
  }

  /**
   * Begins the commit if it is the usual one: its owner has the key and committed the last turn
   * under the same epoch. One statement checks all of that.
   */
  #isNext({ key, incarnation, epoch, turn, after }: Commit): boolean {
    if (after?.epoch !== epoch) return false;
    return Number(this.#nextTurn.run(turn, key, epoch, after.turn, incarnation).changes) === 1;
  }

  #write({ key, puts, deletes }: Commit): void {
    // A field may have been written by an earlier step of this transaction.
    if (deletes.length > 0) this.#puts.run();
    for (const field of deletes) this.#delete.run(key, toStored(field));
    for (const [field, value] of puts) this.#puts.add(key, toStored(field), toStored(value));
  }

  /** @throws LostTurns if the state lacks what its owner knows */
  #checkKnown(key: string, knows: OwnerKnows | undefined): void {
    if (!knows || knows.after.epoch === 0) return;
    const last = this.#last(key);
    if (hasTurn(last, knows.after)) return;
    throw new LostTurns(key, last, (knows.lineage ?? this.#lineage.id) !== this.#lineage.id);
  }

  /**
   * The last epoch that a slot gave; 0: none.
   *
   * @throws AtlasError if it can't be read: epochs must not fall
   */
  #drawn(key: string, slot: number): number {
    const counter = this.#counter.get(slot)?.["counter"] ?? "0";
    const epoch = epochIn(counter);
    if (epoch === null) throw brokenEntry(key, "epoch counter", counter);
    return epoch;
  }

  #last(key: string, row: Row | undefined = this.#turn.get(key)): Stamp {
    if (!row) return NO_STAMP;
    const [epoch, turn] = [epochIn(row["epoch"]), epochIn(row["turn"])];
    if (epoch !== null && turn !== null) return { epoch, turn };
    throw brokenEntry(key, "last turn", `${row["epoch"]} ${row["turn"]}`);
  }
}

/** The numbers of rows that one statement writes, descending. */
const ROWS = [64, 16, 4, 1];

/**
 * The values that a transaction writes. Rows of several steps share a statement: a call of SQLite
 * costs as much as writing a row.
 */
class Puts {
  readonly #database: Database;
  readonly #statements = new Map<number, Statement>();
  /** Key, field and value of each row. */
  #waiting: string[] = [];

  constructor(database: Database) {
    this.#database = database;
  }

  add(key: string, field: string, value: string): void {
    this.#waiting.push(key, field, value);
  }

  run(): void {
    if (this.#waiting.length === 0) return;
    const values = this.#waiting;
    this.#waiting = [];
    let at = 0;
    for (const rows of ROWS) {
      for (; values.length - at >= 3 * rows; at += 3 * rows) {
        this.#statement(rows).run(...values.slice(at, at + 3 * rows));
      }
    }
  }

  drop(): void {
    this.#waiting = [];
  }

  #statement(rows: number): Statement {
    let statement = this.#statements.get(rows);
    if (!statement) {
      const values = Array(rows).fill("(?, ?, ?)").join(", ");
      statement = this.#database.prepare(
        `INSERT INTO atlas_state VALUES ${values} ON CONFLICT DO UPDATE SET value = excluded.value`,
      );
      this.#statements.set(rows, statement);
    }
    return statement;
  }
}

/** The last turns of former terms that a state remembers (`pastOf`). */
function pastIn(key: string, row: Row | undefined): readonly Stamp[] {
  const text = String(row?.["past"] ?? "");
  if (text === "") return [];
  return text.split(",").map((stamp) => {
    const [epoch, turn] = stamp.split(" ").map(epochIn);
    if (typeof epoch === "number" && typeof turn === "number") return { epoch, turn };
    throw brokenEntry(key, "former turns", text);
  });
}

/** The value, if it is an epoch that has a successor; else null. */
function epochIn(value: unknown): number | null {
  const epoch = /^\d{1,16}$/.test(String(value)) ? Number(value) : NaN;
  return epoch < Number.MAX_SAFE_INTEGER ? epoch : null;
}

function ownership(key: string, row: Row | undefined): Ownership | null {
  if (!row) return null;
  const [rrp, incarnation] = [String(row["rrp"]), String(row["incarnation"])];
  const epoch = epochIn(row["epoch"]);
  const isShort = rrp.length + incarnation.length <= MAX_ENTRY;
  if (epoch !== null && isShort && /^rrp:\S+$/.test(rrp) && /^\S+$/.test(incarnation)) {
    return { rrp, incarnation, epoch };
  }
  throw brokenEntry(key, "owner", `${row["epoch"]} ${incarnation.slice(0, 60)} ${rrp}`);
}

/** The most states without fields and owner whose last turn is kept. */
const MAX_ENDED = 10_000;
const COLUMNS = "key, epoch, turn, past";

/**
 * The last turns of states in SQLite that have no field and no owner.
 *
 * When an ownership is released the key's row moves out of `atlas_turn`; when the key is claimed
 * again it moves back. The last `MAX_ENDED` rows are kept: without them lost turns could not be
 * detected after the file was replaced by an older copy.
 */
export class EndedTurns {
  readonly #add: Statement;
  readonly #prune: Statement;
  readonly #dropTurn: Statement;
  readonly #restore: Statement;
  readonly #drop: Statement;
  readonly #row: Statement;

  constructor(database: Database) {
    this.#add = database.prepare(
      `INSERT OR REPLACE INTO atlas_ended (${COLUMNS}) SELECT ${COLUMNS} FROM atlas_turn ` +
        "WHERE key = ? AND NOT EXISTS (SELECT 1 FROM atlas_state WHERE key = ?)",
    );
    this.#dropTurn = database.prepare("DELETE FROM atlas_turn WHERE key = ?");
    this.#prune = database.prepare(
      "DELETE FROM atlas_ended WHERE id <= (SELECT max(id) FROM atlas_ended) - ?",
    );
    this.#restore = database.prepare(
      `INSERT INTO atlas_turn (${COLUMNS}) SELECT ${COLUMNS} FROM atlas_ended WHERE key = ?`,
    );
    this.#drop = database.prepare("DELETE FROM atlas_ended WHERE key = ?");
    this.#row = database.prepare(
      "SELECT CAST(epoch AS TEXT) AS epoch, CAST(turn AS TEXT) AS turn, past FROM atlas_ended " +
        "WHERE key = ?",
    );
  }

  /** An ownership was released: if its state has no field, its last turn moves here. */
  released(key: string): void {
    if (Number(this.#add.run(key, key).changes) === 0) return;
    this.#dropTurn.run(key);
    this.#prune.run(MAX_ENDED);
  }

  /** A key without a last turn is claimed: if its last turn was kept here, that moves back. */
  claimed(key: string): void {
    if (Number(this.#restore.run(key).changes) > 0) this.#drop.run(key);
  }

  row(key: string): Row | undefined {
    return this.#row.get(key);
  }
}
