/**
 * Membership in SQLite. Its steps run inside a transaction of the transaction queue; a step that
 * fails is rolled back.
 */
import { MAX_ADDRESS, MAX_DEAD_MEMBERS, MAX_MEMBER_BYTES } from "../../../src/limits.ts";
import { hasEnded, type MemberInfo, type MemberState } from "../../../src/model/member.ts";
import type {
  KnownLineage,
  Membership,
  Observation,
  RegisterReply,
  RenewReply,
} from "../../../src/ports/store.ts";
import { countIn, parsedRow, readRows, stateIn, tooLong } from "../member_rows.ts";
import type { SqliteLineage } from "./lineage.ts";
import type { Database, Row, Statement } from "./schema.ts";

/** A seq as text: a seq that another program wrote may be greater than a driver can read. */
const SEQ = "CAST(seq AS TEXT) AS seq";

export class SqliteMembers {
  readonly #seen: Statement;
  readonly #rivals: Statement;
  readonly #supersede: Statement;
  readonly #add: Statement;
  readonly #prune: Statement;
  readonly #renew: Statement;
  readonly #end: Statement;
  readonly #all: Statement;
  readonly #version: Statement;
  readonly #setVersion: Statement;
  readonly #rewrite: Statement;
  readonly #lineage: SqliteLineage;

  constructor(database: Database, lineage: SqliteLineage) {
    this.#lineage = lineage;
    const prepare = (sql: string): Statement => database.prepare(sql);
    const named = "region = ? AND node = ? AND state = 'live'";
    this.#seen = prepare(`SELECT ${SEQ}, state FROM atlas_member WHERE incarnation = ?`);
    this.#rivals = prepare(`SELECT count(*) AS count FROM atlas_member WHERE ${named}`);
    this.#supersede = prepare(`UPDATE atlas_member SET state = 'superseded' WHERE ${named}`);
    this.#add = prepare("INSERT INTO atlas_member VALUES (?, ?, ?, ?, ?, 0, 'live', NULL)");
    // `ended` is the version that the member's end caused, so it gives the order of ends.
    this.#prune = prepare(
      "DELETE FROM atlas_member WHERE incarnation IN (SELECT incarnation FROM atlas_member " +
        `WHERE state IN ('dead', 'left') ORDER BY ended DESC LIMIT -1 OFFSET ${MAX_DEAD_MEMBERS})`,
    );
    this.#renew = prepare("UPDATE atlas_member SET seq = ? WHERE incarnation = ?");
    this.#end = prepare("UPDATE atlas_member SET state = ?, ended = ? WHERE incarnation = ?");
    this.#all = prepare(
      `SELECT incarnation, region, node, address, ${SEQ}, state, ` +
        `CASE WHEN length(CAST(hosts AS BLOB)) <= ${MAX_MEMBER_BYTES} THEN hosts END AS hosts, ` +
        `length(address) <= ${MAX_ADDRESS} AND length(region || node) <= ${MAX_ADDRESS} AS short ` +
        "FROM atlas_member",
    );
    this.#version = prepare("SELECT CAST(version AS TEXT) AS version FROM atlas_version");
    this.#setVersion = prepare("INSERT OR REPLACE INTO atlas_version VALUES (1, ?)");
    this.#rewrite = prepare(
      "UPDATE atlas_member SET region = ?, node = ?, address = ?, hosts = ? " +
        "WHERE incarnation = ? AND (region, node, address, hosts) IS NOT (?, ?, ?, ?)",
    );
  }

  register(info: MemberInfo, ifFree: boolean, known: KnownLineage | null): RegisterReply {
    const lineage = this.#lineage.meet(known);
    return { outcome: this.#register(info, ifFree), version: this.#now(), lineage };
  }

  #register(info: MemberInfo, ifFree: boolean): RegisterReply["outcome"] {
    const { incarnation, region, node } = info;
    const present = this.#observe(incarnation);
    if (present && present.state !== "live") return "fenced";
    if (present) {
      // Another program may have overwritten the member's row.
      const { address } = info;
      const roles = rolesText(info);
      const { changes } = this.#rewrite.run(
        region,
        node,
        address,
        roles,
        incarnation,
        region,
        node,
        address,
        roles,
      );
      if (Number(changes) > 0) this.#raiseVersion();
      return "registered";
    }
    const taken = Number(this.#rivals.get(region, node)?.["count"]) > 0;
    if (taken && ifFree) return "name_taken";
    if (taken) this.#supersede.run(region, node);
    this.#insert(info);
    this.#raiseVersion();
    this.#prune.run();
    return "registered";
  }

  renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known: KnownLineage | null,
  ): RenewReply {
    const lineage = this.#lineage.meet(known);
    const own = this.#observe(incarnation);
    const live = own?.state === "live";
    if (live && seq > own.seq) this.#renew.run(seq, incarnation);
    return {
      outcome: live ? "renewed" : "fenced",
      state: own?.state ?? "dead",
      version: this.#now(),
      watched: watch.map((other) => this.#observe(other)).filter((seen) => seen !== null),
      lineage,
    };
  }

  kill(incarnation: string, seq: number): MemberState | null {
    const seen = this.#observe(incarnation);
    if (!seen || hasEnded(seen.state) || seen.seq !== seq) return seen?.state ?? null;
    this.#finish(incarnation, "dead");
    return "dead";
  }

  leave(info: MemberInfo): void {
    const seen = this.#observe(info.incarnation);
    if (!seen) this.#insert(info);
    if (!hasEnded(seen?.state ?? "live")) this.#finish(info.incarnation, "left");
  }

  all(): Membership {
    const rows = this.#all.all().map((row) => ({
      incarnation: String(row["incarnation"]),
      info: infoOf(row),
      seq: row["seq"],
      state: row["state"],
    }));
    return { version: this.#now(), ...readRows(rows), lineage: this.#lineage.id };
  }

  #insert(info: MemberInfo): void {
    const { incarnation, region, node, address } = info;
    this.#add.run(incarnation, region, node, address, rolesText(info));
  }

  #observe(incarnation: string): Observation | null {
    const row = this.#seen.get(incarnation);
    if (!row) return null;
    return { incarnation, seq: countIn(row["seq"]), state: stateIn(row["state"]) };
  }

  #finish(incarnation: string, state: MemberState): void {
    this.#raiseVersion();
    this.#end.run(state, this.#now(), incarnation);
  }

  #now(): number {
    return countIn(this.#version.get()?.["version"]);
  }

  #raiseVersion(): void {
    this.#setVersion.run(this.#now() + 1);
  }
}

/**
 * A member's types and roles in one column: its types, followed by an object with its roles, which
 * readers of former versions read as one more type.
 */
function rolesText({ hosts, serves }: MemberInfo): string {
  return JSON.stringify(serves ? [...hosts, { serves }] : hosts);
}

/** A row's member info, or a text with the reason why it can't be read. */
function infoOf(row: Row): unknown {
  if (row["hosts"] === null) return tooLong();
  if (row["short"] !== 1) return `its address is longer than ${MAX_ADDRESS} characters`;
  const roles = parsedRow(String(row["hosts"]));
  if (!Array.isArray(roles)) return typeof roles === "string" ? roles : "its hosts is not a list";
  const besides = roles.find((role) => typeof role === "object" && role !== null);
  const serves: unknown = besides?.serves;
  return {
    region: row["region"],
    node: row["node"],
    address: row["address"],
    hosts: roles.filter((role) => role !== besides),
    ...serves !== undefined && { serves },
  };
}
