/**
 * Parses replies of the scripts, and of INFO. A script's reply of another shape is `unavailable`: a
 * mangled answer must never pass for "nobody", "fenced" or "absent".
 *
 * Source: the port `Store`: nothing is absent because it couldn't be read.
 */
import type { MemberInfo, MemberState } from "../../../src/model/member.ts";
import type {
  Lineage,
  Membership,
  Observation,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
} from "../../../src/ports/store.ts";
import { type BrokenEntry, brokenEntry, MAX_TERM, unavailable } from "../check.ts";
import { NO_STAMP } from "../lineage.ts";
import { isState, parsedRow, readRows, tooLong } from "../member_rows.ts";

const OUTCOMES: readonly unknown[] = ["registered", "name_taken", "fenced", "stale"];
const STANDINGS: readonly unknown[] = ["kept", "restored", "behind", "lost"];

/** A reply that is a list, of `length` items if that is known. */
export function listOf(what: string, reply: unknown, length?: number): readonly unknown[] {
  if (!Array.isArray(reply)) throw malformed(what, reply);
  if (length === undefined || reply.length === length) return reply;
  throw malformed(what, `a list of ${reply.length} instead of ${length}`);
}

/** Text, or null. */
export function textOrNull(what: string, reply: unknown): string | null {
  if (reply === null || typeof reply === "string") return reply;
  throw malformed(what, reply);
}

/** A whole number, or text as RESP2 gives it for a hash's value. */
export function wholeOf(what: string, reply: unknown): number {
  const value = typeof reply === "string" && reply !== "" ? Number(reply) : reply;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw malformed(what, reply);
}

/** Alternating fields and values, as a map. */
export function pairsOf(what: string, reply: unknown): Map<string, string> {
  const flat = listOf(what, reply);
  if (flat.length % 2 !== 0) throw malformed(what, `a list of ${flat.length}`);
  const map = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) {
    map.set(textOf(what, flat[i]), textOf(what, flat[i + 1]));
  }
  return map;
}

/** A registration's outcome; `stale`: register again with the `version` seen. */
export function registrationOf(
  reply: unknown,
): { outcome: RegisterReply["outcome"] | "stale"; version: number; lineage: Lineage } {
  const [outcome, version, ...lineage] = listOf("registration", reply, 5);
  if (!OUTCOMES.includes(outcome)) throw malformed("registration", outcome);
  return {
    outcome: outcome as RegisterReply["outcome"] | "stale",
    version: wholeOf("version", version),
    lineage: lineageOf(lineage),
  };
}

function lineageOf([id, term, settled]: readonly unknown[]): Lineage {
  const number = wholeOf("lineage's term", term);
  // A node that accepted an impossible term would never match its store again.
  if (number < 0 || number > MAX_TERM) throw malformed("lineage's term", term);
  return {
    id: textOf("lineage", id),
    term: number,
    settled: textOf("lineage", settled) === "1",
  };
}

/** A last turn, as it is stored. */
export function stampOf(key: string, reply: unknown): Stamp {
  // Some clients drop a nil at the end of a list.
  const text = textOrNull(`last turn of ${JSON.stringify(key)}`, reply ?? null);
  if (text === null) return NO_STAMP;
  const [epoch = NaN, turn = NaN] = /^(\d{1,16}) (\d{1,16})$/.exec(text)?.slice(1).map(Number) ??
    [];
  if (Number.isSafeInteger(epoch) && Number.isSafeInteger(turn)) return { epoch, turn };
  throw brokenEntry(key, "last turn", text);
}

/**
 * The last turns of former terms that a state remembers (`pastOf` in `lineage.ts`), as they are
 * stored.
 */
export function pastIn(key: string, reply: unknown): readonly Stamp[] {
  const text = textOrNull(`former turns of ${JSON.stringify(key)}`, reply ?? null);
  return text === null ? [] : text.split(",").map((stamp) => stampOf(key, stamp));
}

export function standingReply(key: string, reply: unknown): Standing {
  const [standing, stamp] = listOf(`reassertion of ${JSON.stringify(key)}`, reply);
  if (!STANDINGS.includes(standing)) throw malformed("reassertion", standing);
  return { standing: standing as Standing["standing"], last: stampOf(key, stamp) };
}

export function renewalOf(reply: unknown): RenewReply {
  const [state, version, id, term, settled, ...seen] = listOf("renewal", reply);
  if (seen.length % 3 !== 0) throw malformed("renewal", `a list of ${seen.length + 5}`);
  const watched: Observation[] = [];
  for (let i = 0; i < seen.length; i += 3) {
    watched.push({
      incarnation: textOf("renewal", seen[i]),
      seq: wholeOf("seq", seen[i + 1]),
      state: stateOf(seen[i + 2]),
    });
  }
  return {
    outcome: state === "live" ? "renewed" : "fenced",
    state: state === null ? "dead" : stateOf(state),
    version: wholeOf("version", version),
    watched,
    lineage: lineageOf([id, term, settled]),
  };
}

/** A member's state, or null for one that is unknown. */
export function stateReply(reply: unknown): MemberState | null {
  const [state] = listOf("member's state", reply, 1);
  return state === null ? null : stateOf(state);
}

/** Members by the union of all three lists: an incomplete row is skipped, not dead. */
export function membershipOf(reply: unknown): Membership {
  const [version, infos, seqs, states, lineage] = listOf("membership", reply, 5);
  const infoBy = pairsOf("membership", infos);
  const seqBy = pairsOf("membership", seqs);
  const stateBy = pairsOf("membership", states);
  const rows = [...new Set([...infoBy.keys(), ...stateBy.keys()])].map((incarnation) => {
    const text = infoBy.get(incarnation);
    const info = text === undefined ? "it is missing" : text === "" ? tooLong() : parsedRow(text);
    return { incarnation, info, seq: seqBy.get(incarnation), state: stateBy.get(incarnation) };
  });
  return {
    version: wholeOf("version", version),
    ...readRows(rows),
    lineage: textOf("lineage", lineage),
  };
}

/** A member as it is kept: without seq and state. */
export function infoText(member: MemberInfo): string {
  const { incarnation, region, node, address, hosts, serves } = member;
  return JSON.stringify({ incarnation, region, node, address, hosts, serves });
}

/**
 * The error of a step that a script refused because it can't read the key's content; null: another
 * reason. `~` begins the text of an unreadable entry.
 */
export function brokenBy(key: string, refusal: string): BrokenEntry | null {
  const [, what, text = ""] = /^~([^:]*): (.*)$/s.exec(refusal) ?? [];
  if (what !== undefined) return brokenEntry(key, what, text);
  if (!/\bWRONGTYPE\b/.test(refusal)) return null;
  return brokenEntry(key, "entry", refusal, "its type is another one (WRONGTYPE)");
}

function stateOf(reply: unknown): MemberState {
  if (isState(reply)) return reply;
  throw malformed("member's state", reply);
}

function textOf(what: string, reply: unknown): string {
  if (typeof reply === "string") return reply;
  throw malformed(what, reply);
}

/** The error of an answer of an unexpected shape. */
export function malformed(what: string, reply: unknown): Error {
  const shown = JSON.stringify(reply)?.slice(0, 60) ?? String(reply);
  return unavailable(`the store's answer can't be read: ${what} is ${shown}`);
}

/** Refusals by a server that is not, or not yet, a master. */
export const NOT_SERVING: RegExp = /\b(?:READONLY|LOADING|MASTERDOWN)\b/;

/** Refusals that no retry will change. */
export const REFUSED: RegExp =
  /WRONGPASS|NOAUTH|NOPERM|invalid password|DB index is out of range|unknown command|cluster support disabled|No such master/i;

/**
 * The refusal among a script's answers if the server can't write; null if it can. A script's steps
 * fail one by one, each with text that starts with `!`.
 */
export function refusalIn(reply: unknown): string | null {
  if (!Array.isArray(reply)) return null;
  const found = reply.find((text) =>
    typeof text === "string" && text.startsWith("!") && NOT_SERVING.test(text)
  );
  return found === undefined ? null : found.slice(1);
}

/** A field of INFO's answer; empty if it isn't there. */
export function fieldOf(info: unknown, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(String(info))?.[1] ?? "";
}

/** Whether INFO says that the server is a replica. */
export function isReplica(info: unknown): boolean {
  return fieldOf(info, "role") === "slave";
}

/** Why a server is not used that INFO reports as a replica. */
export function replicaOf(info: unknown): string {
  const master = `${fieldOf(info, "master_host")}:${fieldOf(info, "master_port")}`;
  return `it is a replica of ${master}, not a master`;
}
