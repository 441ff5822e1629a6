/**
 * Membership in SQLite: the page of the book that says who is alive.
 *
 * It takes steps inside a transaction that the lane opened, and gives their answers; the
 * lane rolls back what a step that fails has done.
 */
import { MAX_DEAD_MEMBERS } from "../../src/limits.ts";
import { isDead } from "../../src/model/member.ts";
import type { Member, MemberInfo, MemberState } from "../../src/model/member.ts";
import type { Membership, Observation, RegisterReply, RenewReply } from "../../src/ports/store.ts";
import { brokenEntry } from "./check.ts";
import { SINGLE_LINEAGE } from "./lineage.ts";
import type { Database, Row, Statement } from "./sqlite_schema.ts";

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
  readonly #raiseVersion: Statement;

  constructor(database: Database) {
    const prepare = (sql: string): Statement => database.prepare(sql);
    const named = "region = ? AND node = ? AND state = 'live'";
    this.#seen = prepare("SELECT seq, state FROM atlas_member WHERE incarnation = ?");
    this.#rivals = prepare(`SELECT count(*) AS count FROM atlas_member WHERE ${named}`);
    this.#supersede = prepare(`UPDATE atlas_member SET state = 'superseded' WHERE ${named}`);
    this.#add = prepare("INSERT INTO atlas_member VALUES (?, ?, ?, ?, ?, 0, 'live', NULL)");
    // `ended` is the version that the end made, so it tells the order of ends.
    this.#prune = prepare(
      "DELETE FROM atlas_member WHERE incarnation IN (SELECT incarnation FROM atlas_member " +
        `WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT -1 OFFSET ${MAX_DEAD_MEMBERS})`,
    );
    this.#renew = prepare("UPDATE atlas_member SET seq = ? WHERE incarnation = ?");
    this.#end = prepare("UPDATE atlas_member SET state = ?, ended = ? WHERE incarnation = ?");
    this.#all = prepare("SELECT * FROM atlas_member");
    this.#version = prepare("SELECT version FROM atlas_version");
    this.#raiseVersion = prepare("UPDATE atlas_version SET version = version + 1");
  }

  register(info: MemberInfo, ifFree: boolean): RegisterReply {
    const { incarnation, region, node } = info;
    const known = this.#observe(incarnation);
    if (known) return this.#registered(known.state === "live" ? "registered" : "fenced");
    const taken = Number(this.#rivals.get(region, node)?.["count"]) > 0;
    if (taken && ifFree) return this.#registered("name_taken");
    if (taken) this.#supersede.run(region, node);
    this.#insert(info);
    this.#raiseVersion.run();
    this.#prune.run();
    return this.#registered("registered");
  }

  renew(incarnation: string, seq: number, watch: readonly string[]): RenewReply {
    const own = this.#observe(incarnation);
    const live = own?.state === "live";
    if (live && seq > own.seq) this.#renew.run(seq, incarnation);
    return {
      outcome: live ? "renewed" : "fenced",
      state: own?.state ?? "dead",
      version: this.#now(),
      watched: watch.map((other) => this.#observe(other)).filter((seen) => seen !== null),
      lineage: SINGLE_LINEAGE,
    };
  }

  kill(incarnation: string, seq: number): MemberState | null {
    const seen = this.#observe(incarnation);
    if (!seen || isDead(seen.state) || seen.seq !== seq) return seen?.state ?? null;
    this.#finish(incarnation, "dead");
    return "dead";
  }

  leave(info: MemberInfo): void {
    const seen = this.#observe(info.incarnation);
    if (!seen) this.#insert(info);
    if (!isDead(seen?.state ?? "live")) this.#finish(info.incarnation, "left");
  }

  all(): Membership {
    const members = this.#all.all().map(member);
    return { version: this.#now(), members, lineage: SINGLE_LINEAGE.id };
  }

  #insert(info: MemberInfo): void {
    const { incarnation, region, node, address } = info;
    this.#add.run(incarnation, region, node, address, rolesText(info));
  }

  #observe(incarnation: string): Observation | null {
    const row = this.#seen.get(incarnation);
    if (!row) return null;
    return { incarnation, seq: Number(row["seq"]), state: row["state"] as MemberState };
  }

  #finish(incarnation: string, state: MemberState): void {
    this.#raiseVersion.run();
    this.#end.run(state, this.#now(), incarnation);
  }

  #registered(outcome: RegisterReply["outcome"]): RegisterReply {
    return { outcome, version: this.#now(), lineage: SINGLE_LINEAGE };
  }

  #now(): number {
    return Number(this.#version.get()?.["version"]);
  }
}

function member(row: Row): Member {
  return {
    incarnation: String(row["incarnation"]),
    region: String(row["region"]),
    node: String(row["node"]),
    address: String(row["address"]),
    ...rolesOf(row),
    seq: Number(row["seq"]),
    state: row["state"] as MemberState,
  };
}

/**
 * What a member runs, in one column: its types, and behind them, in an object that readers of
 * former versions take for one more type, what it serves as besides.
 */
function rolesText({ hosts, serves }: MemberInfo): string {
  return JSON.stringify(serves ? [...hosts, { serves }] : hosts);
}

function rolesOf(row: Row): Pick<MemberInfo, "hosts" | "serves"> {
  try {
    const roles: unknown = JSON.parse(String(row["hosts"]));
    if (Array.isArray(roles)) {
      const serves: unknown = roles.find((role) => typeof role === "object")?.serves;
      return {
        hosts: roles.filter((role) => typeof role !== "object").map(String),
        ...Array.isArray(serves) && { serves: serves.map(String) },
      };
    }
  } catch {
    // Told below, as any other unreadable entry.
  }
  throw brokenEntry(String(row["incarnation"]), "member", row["hosts"]);
}
