/**
 * The registry's store in one SQLite file: a notary's book on a shared table, one hand
 * in it at a time.
 *
 * It takes and gives what the port `Store` says. Processes of any runtime on one
 * machine share the file (a local disk; WAL needs shared memory). All writes of one
 * tick are one transaction. A hand that finds the book taken waits without blocking
 * its process for more than a moment.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import type { MemberInfo, MemberState } from "../../src/model/member.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  LineageName,
  Membership,
  OwnershipPage,
  Range,
  Reassertion,
  RegisterReply,
  RenewReply,
  Standing,
  Store,
} from "../../src/ports/store.ts";
import { checkClaim, checkCommit, checkRange, checkTenures, checkWhole } from "./check.ts";
import { refused, unavailable } from "./check.ts";
import { checkMember } from "./member_rows.ts";
import { Lane } from "./sqlite_lane.ts";
import { SqliteMembers } from "./sqlite_members.ts";
import { isBusy, prepareSchema } from "./sqlite_schema.ts";
import type { Database } from "./sqlite_schema.ts";
import { SqliteTables } from "./sqlite_tables.ts";

export interface SqliteStoreOptions {
  /**
   * `normal` (default): what was acknowledged survives the crash of any process.
   * `full`: the loss of power too, at the price of a disk flush each tick.
   */
  synchronous?: "normal" | "full";
  /** How long a step, or opening the file, waits for other processes, in ms. Default 5,000. */
  patienceMs?: number;
}

/**
 * Opens the store in the file at `path`, which is made where there is none, its
 * directory too.
 *
 * @throws AtlasError `bad_request` where the file or directory can't be used at all,
 * `unavailable` where other processes kept it locked for `patienceMs`.
 */
export async function sqliteStore(path: string, options: SqliteStoreOptions = {}): Promise<Store> {
  const synchronous = options.synchronous ?? "normal";
  if (synchronous !== "normal" && synchronous !== "full") {
    throw refused("synchronous", JSON.stringify(synchronous), `"normal" or "full"`);
  }
  const patienceMs = options.patienceMs ?? 5_000;
  checkWhole("patienceMs", patienceMs, 1);
  if (path === "" || path === ":memory:" || path.includes("\0")) {
    throw refused("SQLite path", JSON.stringify(path), "a file that processes can share");
  }
  const { DatabaseSync } = await import("node:sqlite");
  const giveUp = performance.now() + patienceMs;
  for (;;) {
    let database: Database | undefined;
    try {
      mkdirSync(dirname(path), { recursive: true });
      database = new DatabaseSync(path) as unknown as Database;
      prepareSchema(database, path, synchronous);
      return new SqliteStore(database, path, patienceMs);
    } catch (error) {
      database?.close();
      if (isAtlasError(error)) throw error;
      const why = `the SQLite file ${JSON.stringify(path)} can't be opened: ${messageOf(error)}`;
      if (!isBusy(error)) throw new AtlasError("bad_request", why, { cause: error });
      if (performance.now() >= giveUp) throw unavailable(why, error);
      await new Promise((resolve) => setTimeout(resolve, 5 + 20 * Math.random()));
    }
  }
}

class SqliteStore implements Store {
  readonly #database: Database;
  readonly #tables: SqliteTables;
  readonly #members: SqliteMembers;
  readonly #reads: Lane;
  readonly #writes: Lane;

  constructor(database: Database, path: string, patienceMs: number) {
    this.#database = database;
    this.#tables = new SqliteTables(database);
    this.#members = new SqliteMembers(database);
    this.#reads = new Lane(database, { name: path, begin: "BEGIN", patienceMs });
    this.#writes = new Lane(database, { name: path, begin: "BEGIN IMMEDIATE", patienceMs });
  }

  status(): "up" | "down" {
    return this.#reads.up && this.#writes.up ? "up" : "down";
  }

  async register(member: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply> {
    checkMember(member);
    return await this.#writes.do(() => this.#members.register(member, options.ifFree));
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    checkWhole("seq", seq, 0);
    return await this.#writes.do(() => this.#members.renew(incarnation, seq, watch));
  }

  kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return this.#writes.do(() => this.#members.kill(incarnation, seq));
  }

  async leave(member: MemberInfo): Promise<void> {
    checkMember(member);
    return await this.#writes.do(() => this.#members.leave(member));
  }

  members(): Promise<Membership> {
    return this.#reads.do(() => this.#members.all());
  }

  lookup(key: string): Promise<Ownership | null> {
    return this.#reads.do(() => this.#tables.lookup(key));
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    checkClaim(claim);
    return await this.#writes.do(() => this.#tables.claim(claim));
  }

  async reassert(
    tenures: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    checkTenures(tenures, lineage);
    return await this.#writes.do(() => this.#tables.reassert(tenures, lineage));
  }

  release(key: string, incarnation: string, epoch: number): Promise<boolean> {
    return this.#writes.do(() => this.#tables.release(key, incarnation, epoch));
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    return await this.#reads.do(() => this.#tables.list(prefix, cursor ?? "", limit));
  }

  read(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    return this.#reads.do(() => this.#tables.read(key, fields));
  }

  async range(key: string, range: Range): Promise<[string, string][]> {
    checkRange(range);
    return await this.#reads.do(() => this.#tables.range(key, range));
  }

  async commit(commit: Commit): Promise<CommitReply> {
    checkCommit(commit);
    return await this.#writes.do(() => this.#tables.commit(commit));
  }

  async close(): Promise<void> {
    if (!this.#writes.close() || !this.#reads.close()) return;
    this.#database.close();
  }
}
