/**
 * The last turns of states in SQLite that have no field and no owner.
 *
 * When an ownership is released the key's row moves out of `atlas_turn`; when the key is claimed
 * again it moves back. The last `MAX_ENDED` rows are kept: without them lost turns could not be
 * detected after the file was replaced by an older copy.
 */
import type { Database, Row, Statement } from "./schema.ts";

/** The most states without fields and owner whose last turn is kept. */
const MAX_ENDED = 10_000;
const COLUMNS = "key, epoch, turn, past";

export class SqliteEnded {
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

  /** An ownership was released: where its state has no field, its last turn moves here. */
  released(key: string): void {
    if (Number(this.#add.run(key, key).changes) === 0) return;
    this.#dropTurn.run(key);
    this.#prune.run(MAX_ENDED);
  }

  /** A key without a last turn is claimed: its kept turn moves back. */
  claimed(key: string): void {
    if (Number(this.#restore.run(key).changes) > 0) this.#drop.run(key);
  }

  row(key: string): Row | undefined {
    return this.#row.get(key);
  }
}
