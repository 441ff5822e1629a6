/**
 * Steps on resources as the script `STEPS` takes them, and what it answers: the forms of
 * the notary's office, to be filled in and to be read.
 *
 * It takes what the port `Store` is asked for, checked before, and gives keys and
 * arguments; it takes replies, and gives what the port answers.
 */
import { EPOCHS_PER_TERM } from "../../src/limits.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  CommittedTurn,
  LineageName,
  Range,
  Reassertion,
  Stamp,
} from "../../src/ports/store.ts";
import { brokenEntry } from "./check.ts";
import { keptOf, NO_STAMP } from "./lineage.ts";
import { parseEntry, slotKey } from "./redis_keys.ts";
import type { KeyKind } from "./redis_keys.ts";
import { listOf, malformed, pastOf, stampOf, textOrNull } from "./redis_replies.ts";

/** One step for the script `STEPS`. */
export interface Step {
  readonly key: string;
  readonly slot: number;
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** Steps that change what the store holds. */
const WRITES: readonly unknown[] = ["C", "A", "R", "W"];

export function writes({ args: [kind] }: Step): boolean {
  return WRITES.includes(kind);
}

function step(key: string, kinds: readonly (KeyKind | "epoch")[], args: readonly string[]): Step {
  const slot = slotOf(key);
  const keys = kinds.map((kind) =>
    kind === "epoch" ? `atlas:{s${slot}}:epoch` : slotKey(slot, kind, key)
  );
  return { key, slot, keys, args };
}

export function lookupStep(key: string): Step {
  return step(key, ["own"], ["L"]);
}

export function claimStep(claim: Claim): Step {
  const { key, rrp, incarnation, opId, expected, lineage, above = 0 } = claim;
  return step(key, ["own", "epoch", "state", "ended"], [
    "C",
    `${incarnation} ${opId} ${rrp}`,
    expected ? guardOf(expected.incarnation, expected.epoch) : "",
    lineageText(lineage?.id),
    String(Math.max(above, (lineage?.term ?? 0) * EPOCHS_PER_TERM)),
  ]);
}

export function claimReply({ key, rrp, incarnation }: Claim, reply: unknown): ClaimReply {
  if (reply === 0) return { won: false, owner: null, quarantined: true };
  const what = `claim of ${JSON.stringify(key)}`;
  if (Array.isArray(reply)) {
    const [epoch, stamp] = reply;
    if (!Number.isSafeInteger(epoch)) throw malformed(what, reply);
    return { won: true, owner: { rrp, incarnation, epoch }, last: stampOf(key, stamp) };
  }
  const text = textOrNull(what, reply);
  return { won: false, owner: text === null ? null : parseEntry(key, text) };
}

export function reassertStep(tenure: Reassertion, lineage: LineageName): Step {
  const { key, rrp, incarnation, epoch, after } = tenure;
  return step(key, ["own", "epoch", "state"], [
    "A",
    `${incarnation} reasserted ${rrp}`,
    String(epoch),
    String(after.epoch),
    String(after.turn),
    lineageText(lineage.id),
  ]);
}

export function keptStep(key: string, lineage: LineageName): Step {
  return step(key, ["state", "ended"], ["K", lineageText(lineage.id)]);
}

/** What is left of a turn; null: another lineage answered. */
export function keptReply({ key, last: turn }: CommittedTurn, reply: unknown): Stamp | null {
  if (reply === 0) return null;
  const [last, past] = listOf(`last turn of ${JSON.stringify(key)}`, reply);
  return keptOf(turn, stampOf(key, last), pastOf(key, past));
}

export function releaseStep(key: string, incarnation: string, epoch: number): Step {
  return step(key, ["own", "state", "ended"], ["R", guardOf(incarnation, epoch)]);
}

export function readStep(key: string, fields: readonly string[]): Step {
  const args = ["G", String(fields.length), ...fields.map((field) => `:${field}`)];
  return step(key, ["state"], args);
}

export function rangeStep(key: string, { start, end, limit, reverse }: Range): Step {
  const [from, to] = [`[:${start}`, `(:${end}`];
  const args = reverse
    ? ["N", "ZREVRANGEBYLEX", to, from, String(limit)]
    : ["N", "ZRANGEBYLEX", from, to, String(limit)];
  return step(key, ["state", "index"], args);
}

export function rangeReply(key: string, reply: unknown): [string, string][] {
  const flat = listOf(`state of ${JSON.stringify(key)}`, reply);
  const pairs: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const [field, value] = [flat[i], flat[i + 1]];
    if (typeof field !== "string") throw malformed(`a field of ${JSON.stringify(key)}`, field);
    if (typeof value !== "string") {
      throw brokenEntry(key, `field ${JSON.stringify(field)}`, value);
    }
    pairs.push([field.slice(1), value]);
  }
  return pairs;
}

export function commitStep(commit: Commit): Step {
  const { key, incarnation, epoch, turn, after = NO_STAMP, lineage, puts, deletes } = commit;
  const args = [
    "W",
    String(6 + 2 * puts.length + deletes.length),
    guardOf(incarnation, epoch),
    String(turn),
    String(after.epoch),
    String(after.turn),
    lineageText(lineage),
    String(puts.length),
  ];
  for (const [field, value] of puts) args.push(`:${field}`, value);
  for (const field of deletes) args.push(`:${field}`);
  return step(key, ["own", "state", "index"], args);
}

export function commitReply(key: string, reply: unknown): CommitReply {
  if (reply === 2) return "moved";
  if (Array.isArray(reply)) return { lost: stampOf(key, reply[0]) };
  return doneOf(key, "commit", reply) ? "committed" : "fenced";
}

/** Whether a release or commit was done; text is the entry of another owner, if it reads as one. */
export function doneOf(key: string, what: string, reply: unknown): boolean {
  if (reply === 1) return true;
  if (reply === 0) return false;
  const text = textOrNull(`${what} of ${JSON.stringify(key)}`, reply);
  if (text === null) throw malformed(`${what} of ${JSON.stringify(key)}`, reply);
  parseEntry(key, text);
  return false;
}

/** How an ownership's entry begins: no other ownership begins so. */
function guardOf(incarnation: string, epoch: number): string {
  return `${epoch} ${incarnation} `;
}

/** A lineage as steps name it; undefined: any. */
function lineageText(id: string | undefined): string {
  return id === undefined ? "*" : `=${id}`;
}
