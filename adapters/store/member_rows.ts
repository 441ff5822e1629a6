/**
 * Parses members' rows, which other programs may have written. Takes the parts of a row as text;
 * gives a member, or what is known of a member whose row can't be read.
 *
 * A row that can't be read is skipped, but its member never counts as dead: its node may hold a
 * lease. An unknown state counts as `superseded` (such a member can't renew, and may continue to
 * serve); an unknown seq counts as 0. The stores' own steps compare by the same rules.
 */
import { messageOf } from "../../src/errors.ts";
import {
  MAX_ADDRESS,
  MAX_INCARNATION,
  MAX_MEMBER_BYTES,
  MAX_MEMBER_ROLES,
  MAX_MEMBER_TYPES,
} from "../../src/limits.ts";
import type { Member, MemberInfo, MemberState } from "../../src/model/member.ts";
import { quoted } from "../../src/model/options.ts";
import { checkToken } from "../../src/model/rrp.ts";
import type { Membership, Unreadable } from "../../src/ports/store.ts";
import { refused } from "./check.ts";

const STATES: readonly unknown[] = ["live", "superseded", "dead", "left"];

/** A count as the stores keep it: 15 digits are always a safe integer. */
const COUNT = /^\d{1,15}$/;

/** A member's row, in parts. */
export interface MemberRow {
  readonly incarnation: string;
  /** The node's member info, or a text with the reason why it can't be read. */
  readonly info: unknown;
  readonly seq: unknown;
  readonly state: unknown;
}

/** Whether a value is a member's state. */
export function isState(value: unknown): value is MemberState {
  return STATES.includes(value);
}

/** A state; an invalid one gets the default. Absent: the member is unknown, and so dead. */
export function stateIn(value: unknown): MemberState {
  if (value === null || value === undefined) return "dead";
  return isState(value) ? value : "superseded";
}

/** A whole number; 0 for anything else. */
export function countIn(value: unknown): number {
  return COUNT.test(String(value)) ? Number(value) : 0;
}

/** Rows as members, and those that can't be read. */
export function readRows(rows: Iterable<MemberRow>): Pick<Membership, "members" | "unreadable"> {
  const members: Member[] = [];
  const unreadable: Unreadable[] = [];
  for (const row of rows) {
    const [seq, state] = [countIn(row.seq), stateIn(row.state)];
    const reason = faultOf(row);
    if (reason === null) members.push({ ...infoOf(row.incarnation, row.info), seq, state });
    else {unreadable.push({
        incarnation: row.incarnation.slice(0, MAX_INCARNATION),
        seq,
        state,
        reason,
      });}
  }
  return { members, ...unreadable.length > 0 && { unreadable } };
}

/** Refuses a member whose row could not be parsed. */
export function checkMember(info: MemberInfo): void {
  const why = faultIn(info);
  if (why !== null) throw refused(`member ${quoted(info.node)}`, "not allowed", `readable: ${why}`);
}

/** The parts of a row's JSON, or a text that says that it can't be parsed. */
export function parsedRow(text: string): unknown {
  if (text.length > MAX_MEMBER_BYTES) return tooLong();
  try {
    return JSON.parse(text);
  } catch {
    return "it is not JSON";
  }
}

/** The info of a row that was too long to be fetched. */
export function tooLong(): string {
  return `it is longer than ${MAX_MEMBER_BYTES} bytes`;
}

function faultOf({ incarnation, info, seq, state }: MemberRow): string | null {
  if (!/^\S+$/.test(incarnation) || incarnation.length > MAX_INCARNATION) {
    return `its incarnation is not 1 to ${MAX_INCARNATION} characters without white space`;
  }
  if (typeof info === "string") return info;
  if (typeof info !== "object" || info === null || Array.isArray(info)) return "it is no object";
  if (!COUNT.test(String(seq))) return "its seq is not a whole number";
  if (!isState(state)) return "its state is not known";
  return faultIn(info as MemberInfo);
}

function faultIn({ region, node, address, hosts, serves }: MemberInfo): string | null {
  if (typeof address !== "string" || address.length > MAX_ADDRESS) {
    return `its address is not text of at most ${MAX_ADDRESS} characters`;
  }
  return faultOfTokens("region", [region]) ?? faultOfTokens("node", [node]) ??
    faultOfList("hosts", hosts, MAX_MEMBER_TYPES) ??
    (serves === undefined ? null : faultOfList("serves", serves, MAX_MEMBER_ROLES));
}

function faultOfList(part: string, list: unknown, most: number): string | null {
  if (!Array.isArray(list)) return `its ${part} is not a list`;
  if (list.length > most) return `its ${part} has more than ${most} names`;
  return faultOfTokens(part, list);
}

function faultOfTokens(part: string, texts: readonly unknown[]): string | null {
  try {
    for (const text of texts) checkToken(part, text as string);
    return null;
  } catch (error) {
    return `its ${messageOf(error)}`;
  }
}

function infoOf(incarnation: string, info: unknown): MemberInfo {
  const { region, node, address, hosts, serves } = info as MemberInfo;
  return { incarnation, region, node, address, hosts, ...serves && { serves } };
}
