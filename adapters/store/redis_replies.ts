/**
 * Reads what the scripts answered: a clerk who knows how each form must look, and sends
 * back any that doesn't.
 *
 * It takes replies as a client gives them, and gives what the port `Store` speaks of. A
 * reply of another shape is `unavailable`: a mangled answer must never pass for "nobody",
 * "fenced" or "not there".
 *
 * Source: the port `Store`: nothing is absent because it couldn't be read.
 */
import type { Member, MemberInfo, MemberState } from "../../src/model/member.ts";
import type {
  Lineage,
  Membership,
  Observation,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
} from "../../src/ports/store.ts";
import { brokenEntry, unavailable } from "./check.ts";
import { NO_STAMP } from "./lineage.ts";

const STATES: readonly unknown[] = ["live", "superseded", "dead", "left"];
const OUTCOMES: readonly unknown[] = ["registered", "name_taken", "fenced", "stale"];
const STANDINGS: readonly unknown[] = ["kept", "restored", "behind", "lost"];

/** A reply that is a list, of `length` items where that is known. */
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

/** A whole number, or text as RESP2 gives it where a hash holds it. */
export function wholeOf(what: string, reply: unknown): number {
  const value = typeof reply === "string" && reply !== "" ? Number(reply) : reply;
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw malformed(what, reply);
}

/** Field and value by turns, as a map. */
export function pairsOf(what: string, reply: unknown): Map<string, string> {
  const flat = listOf(what, reply);
  if (flat.length % 2 !== 0) throw malformed(what, `a list of ${flat.length}`);
  const map = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) {
    map.set(textOf(what, flat[i]), textOf(what, flat[i + 1]));
  }
  return map;
}

/** A registration's outcome; `stale`: ask again, saying that `version` was seen. */
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
  return {
    id: textOf("lineage", id),
    term: wholeOf("lineage's term", term),
    settled: textOf("lineage", settled) === "1",
  };
}

/** A last turn as it is kept. */
export function stampOf(key: string, reply: unknown): Stamp {
  // Where a list ends with nil, some clients leave that away.
  const text = textOrNull(`last turn of ${JSON.stringify(key)}`, reply ?? null);
  if (text === null) return NO_STAMP;
  const [, epoch, turn] = /^(\d{1,16}) (\d{1,16})$/.exec(text) ?? [];
  if (turn === undefined) throw brokenEntry(key, "last turn", text);
  return { epoch: Number(epoch), turn: Number(turn) };
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

export function membershipOf(reply: unknown): Membership {
  const [version, infos, seqs, states, lineage] = listOf("membership", reply, 5);
  const seqOf = pairsOf("membership", seqs);
  const stateBy = pairsOf("membership", states);
  const members = [...pairsOf("membership", infos)].map(([incarnation, text]): Member => {
    const info = parseInfo(incarnation, text);
    const seq = Number(seqOf.get(incarnation));
    const state = stateBy.get(incarnation);
    if (!Number.isSafeInteger(seq)) throw brokenEntry(incarnation, "seq", seq);
    if (!STATES.includes(state)) throw brokenEntry(incarnation, "state", state);
    return { ...info, seq, state: state as MemberState };
  });
  return { version: wholeOf("version", version), members, lineage: textOf("lineage", lineage) };
}

/** A member as it is kept: without seq and state. */
export function infoText(member: MemberInfo): string {
  const { incarnation, region, node, address, hosts, serves } = member;
  return JSON.stringify({ incarnation, region, node, address, hosts, serves });
}

function parseInfo(incarnation: string, text: string): MemberInfo {
  let info: MemberInfo | null = null;
  try {
    info = JSON.parse(text);
  } catch {
    // Told below, as any other unreadable entry.
  }
  const { region, node, address, hosts, serves } = info ?? {};
  if (
    typeof region !== "string" || typeof node !== "string" || typeof address !== "string" ||
    !areTexts(hosts) || !(serves === undefined || areTexts(serves))
  ) throw brokenEntry(incarnation, "member", text);
  return { incarnation, region, node, address, hosts, ...serves && { serves } };
}

function areTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function stateOf(reply: unknown): MemberState {
  if (STATES.includes(reply)) return reply as MemberState;
  throw malformed("member's state", reply);
}

function textOf(what: string, reply: unknown): string {
  if (typeof reply === "string") return reply;
  throw malformed(what, reply);
}

/** The error of an answer that has not the shape it must have. */
export function malformed(what: string, reply: unknown): Error {
  const shown = JSON.stringify(reply)?.slice(0, 60) ?? String(reply);
  return unavailable(`the store's answer can't be read: ${what} is ${shown}`);
}
