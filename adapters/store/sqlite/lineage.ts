/**
 * The lineage of a SQLite file. A file that was copied, or restored from a backup, has another
 * inode than its record names. It then begins a new lineage, as a promoted replica does. Source:
 * `docs/design.md`, Store failover.
 *
 * Its steps run inside a transaction of the transaction queue.
 */
import { statSync } from "node:fs";
import type { KnownLineage, Lineage } from "../../../src/ports/store.ts";
import { MAX_TERM } from "../check.ts";
import { meetLineage } from "../lineage.ts";
import type { Database, Statement } from "./schema.ts";

/**
 * Identifies a file and its write-ahead log among others at the same path; null: the path has no
 * file.
 */
export function fileAt(path: string): string | null {
  const inode = inodeAt(path);
  return inode === null ? null : `${inode} ${inodeAt(`${path}-wal`)}`;
}

function inodeAt(path: string): string | null {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? String(found.ino) : null;
}

export class SqliteLineage {
  readonly #record: Statement;
  readonly #write: Statement;
  readonly #inode: string;

  constructor(database: Database, path: string) {
    this.#inode = inodeAt(path) ?? "";
    this.#record = database.prepare(
      "SELECT id, file, CAST(term AS TEXT) AS term, settled FROM atlas_lineage",
    );
    this.#write = database.prepare("INSERT OR REPLACE INTO atlas_lineage VALUES (1, ?, ?, ?, ?)");
  }

  /** Compares the lineage with what a caller knows, and writes the resulting record. */
  meet(known: KnownLineage | null): Lineage {
    const row = this.#record.get();
    const term = Number(row?.["term"]);
    const isRecord = Number.isInteger(term) && term >= 0 && term <= MAX_TERM;
    const record = row && isRecord
      ? { id: String(row["id"]), term, settled: row["settled"] === 1 }
      : null;
    const id = record && row?.["file"] === this.#inode ? record.id : crypto.randomUUID();
    const met = meetLineage(record, id, known, false);
    if (met !== record) this.#write.run(met.id, this.#inode, met.term, met.settled ? 1 : 0);
    return met;
  }

  /** The id of the present lineage; empty before the first comparison. */
  get id(): string {
    return String(this.#record.get()?.["id"] ?? "");
  }
}
