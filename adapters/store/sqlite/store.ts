/**
 * The port `Store` in one SQLite file. Processes of any runtime on one machine share the file (on
 * a local disk: WAL needs shared memory). All writes of one tick are one transaction. A process
 * that finds the file locked waits by timer, without blocking for more than 15 ms.
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { AtlasError, isAtlasError, messageOf } from "../../../src/errors.ts";
import type { OwnerKnows } from "../../../src/model/lost_turns.ts";
import type { MemberInfo, MemberState } from "../../../src/model/member.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import { fileRefused, isFull } from "../../../src/model/refusal.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  CommittedTurn,
  KnownLineage,
  LineageName,
  Membership,
  OwnershipPage,
  Range,
  Reassertion,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
  Store,
} from "../../../src/ports/store.ts";
import {
  checkClaim,
  checkCommit,
  checkRange,
  checkReassertions,
  checkWhole,
  refused,
  unavailable,
} from "../check.ts";
import { checkMember } from "../member_rows.ts";
import { fileAt, SqliteLineage } from "./lineage.ts";
import { SqliteMembers } from "./membership.ts";
import { SqliteOwnership } from "./ownership.ts";
import { type Database, isBusy, prepareSchema } from "./schema.ts";
import { TransactionQueue } from "./transaction_queue.ts";

export interface SqliteStoreOptions {
  /**
   * `normal` (default): acknowledged writes survive the crash of any process. `full`: they survive
   * the loss of power too, at the cost of a disk flush each tick.
   */
  synchronous?: "normal" | "full";
  /** How long a step, or opening the file, waits for other processes, in ms. Default 5,000. */
  timeoutMs?: number;
  /** The class that opens the file, like `DatabaseSync`. Default: that of `node:sqlite`. */
  driver?: SqliteDriver;
}

/** Opens a SQLite file, as `new DatabaseSync(path)` of `node:sqlite` does. */
export type SqliteDriver = new (path: string) => Database;

/**
 * Opens the store in the file at `path`; creates the file and its directory if they are missing.
 *
 * @throws AtlasError `bad_request` if the file or directory can't be used at all, `unavailable` if
 * other processes kept it locked for `timeoutMs`, or the disk is full.
 */
export async function sqliteStore(path: string, options: SqliteStoreOptions = {}): Promise<Store> {
  const synchronous = options.synchronous ?? "normal";
  if (synchronous !== "normal" && synchronous !== "full") {
    throw refused("synchronous", JSON.stringify(synchronous), `"normal" or "full"`);
  }
  const timeoutMs = options.timeoutMs ?? 5_000;
  checkWhole("timeoutMs", timeoutMs, 1);
  if (path === "" || path === ":memory:" || path.includes("\0")) {
    throw refused("SQLite path", JSON.stringify(path), "a file that processes can share");
  }
  const driver = options.driver ??
    (await import("node:sqlite")).DatabaseSync as unknown as SqliteDriver;
  const open = (): OpenFile => openFile(path, synchronous, timeoutMs, driver);
  const giveUp = performance.now() + timeoutMs;
  for (;;) {
    try {
      return new SqliteStore(open(), open);
    } catch (error) {
      if (isAtlasError(error)) throw error;
      const why = `the SQLite file ${JSON.stringify(path)} can't be opened: ${messageOf(error)}`;
      const full = isFull(error) ? fileRefused(error, why) : null;
      if (full) throw full;
      if (!isBusy(error)) throw new AtlasError("bad_request", why, { cause: error });
      if (performance.now() >= giveUp) throw unavailable(why, error);
      await new Promise((resolve) => setTimeout(resolve, 5 + 20 * Math.random()));
    }
  }
}

/** An open file, and the objects that work on it. */
interface OpenFile {
  readonly database: Database;
  readonly tables: SqliteOwnership;
  readonly members: SqliteMembers;
  readonly reads: TransactionQueue;
  readonly writes: TransactionQueue;
  /** Whether a step found that the path leads to another file. */
  readonly isGone: () => boolean;
}

/** Opens or creates the file at `path`. MAY throw a busy error; the call can then be repeated. */
function openFile(
  path: string,
  synchronous: "normal" | "full",
  timeoutMs: number,
  Database: SqliteDriver,
): OpenFile {
  makeFolder(dirname(path));
  const database = new Database(path);
  try {
    prepareSchema(database, path, synchronous);
    const lineage = new SqliteLineage(database, path);
    database.prepare("BEGIN IMMEDIATE").run();
    lineage.meet(null);
    database.prepare("COMMIT").run();
    const file = fileAt(path);
    let isGone = false;
    const isPresent = (): boolean => !(isGone ||= fileAt(path) !== file);
    const tables = new SqliteOwnership(database, lineage);
    const common = { name: path, timeoutMs, isPresent };
    return {
      database,
      tables,
      members: new SqliteMembers(database, lineage),
      reads: new TransactionQueue(database, { ...common, begin: "BEGIN" }),
      writes: new TransactionQueue(database, {
        ...common,
        begin: "BEGIN IMMEDIATE",
        finish: () => tables.finish(),
        rollback: () => tables.rollback(),
      }),
      isGone: () => isGone,
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Creates a folder, its parents first. (Node's own option, `recursive`, never returns if a parent
 * exists in which nothing can be created, as in `/proc`: seen with 24.21.)
 */
function makeFolder(path: string): void {
  const isThere = (): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isThere()) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  try {
    mkdirSync(path);
  } catch (error) {
    // Another process may have created it.
    if (!isThere()) throw error;
  }
}

class SqliteStore implements Store {
  readonly #open: () => OpenFile;
  #file: OpenFile;
  #isClosed = false;

  /** @param open opens the file that is at the path when it is called. */
  constructor(file: OpenFile, open: () => OpenFile) {
    this.#file = file;
    this.#open = open;
  }

  /** The file at the path. It is opened again after a step that found another file there. */
  get #present(): OpenFile {
    if (this.#isClosed || !this.#file.isGone()) return this.#file;
    // Closed first: if only the write-ahead log is missing, its content is written back now. SQLite
    // does not touch the path of a file that was moved away (sqlite3PagerClose).
    close(this.#file);
    try {
      this.#file = this.#open();
    } catch {
      // The steps of a missing file fail; the next step tries again.
    }
    return this.#file;
  }

  status(): "up" | "down" {
    return this.#file.reads.up && this.#file.writes.up ? "up" : "down";
  }

  async register(
    member: MemberInfo,
    { ifFree, known = null }: { ifFree: boolean; known?: KnownLineage | null },
  ): Promise<RegisterReply> {
    checkMember(member);
    const { writes, members } = this.#present;
    return await writes.do(() => members.register(member, ifFree, known));
  }

  async renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known: KnownLineage | null = null,
  ): Promise<RenewReply> {
    checkWhole("seq", seq, 0);
    const { writes, members } = this.#present;
    return await writes.do(() => members.renew(incarnation, seq, watch, known));
  }

  kill(incarnation: string, seq: number): Promise<MemberState | null> {
    const { writes, members } = this.#present;
    return writes.do(() => members.kill(incarnation, seq));
  }

  async leave(member: MemberInfo): Promise<void> {
    checkMember(member);
    const { writes, members } = this.#present;
    return await writes.do(() => members.leave(member));
  }

  members(): Promise<Membership> {
    const { reads, members } = this.#present;
    return reads.do(() => members.all());
  }

  lookup(key: string): Promise<Ownership | null> {
    const { reads, tables } = this.#present;
    return reads.do(() => tables.lookup(key));
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    checkClaim(claim);
    const { writes, tables } = this.#present;
    return await writes.do(() => tables.claim(claim));
  }

  async reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    checkReassertions(reassertions, lineage);
    const { writes, tables } = this.#present;
    return await writes.do(() => tables.reassert(reassertions, lineage));
  }

  async kept(
    turns: readonly CommittedTurn[],
    lineage: LineageName,
  ): Promise<readonly Stamp[] | null> {
    const { reads, tables } = this.#present;
    return await reads.do(() => tables.kept(turns, lineage));
  }

  release(key: string, incarnation: string, epoch: number): Promise<boolean> {
    const { writes, tables } = this.#present;
    return writes.do(() => tables.release(key, incarnation, epoch));
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    const { reads, tables } = this.#present;
    return await reads.do(() => tables.list(prefix, cursor ?? "", limit));
  }

  read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    const { reads, tables } = this.#present;
    return reads.do(() => tables.read(key, fields, knows));
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    checkRange(range);
    const { reads, tables } = this.#present;
    return await reads.do(() => tables.range(key, range, knows));
  }

  commit(commit: Commit): Promise<CommitReply> {
    try {
      checkCommit(commit);
    } catch (error) {
      return Promise.reject(error);
    }
    const { writes, tables } = this.#present;
    return writes.do(() => tables.commit(commit));
  }

  close(): Promise<void> {
    this.#isClosed = true;
    close(this.#file);
    return Promise.resolve();
  }
}

function close({ writes, reads, database }: OpenFile): void {
  if (writes.close() && reads.close()) database.close();
}
