/**
 * Encodes steps on resources as the script `STEPS` takes them, and decodes its replies. Takes
 * checked arguments of the port `Store`; gives Redis keys and script arguments, and the port's
 * answers.
 */
import { EPOCHS_PER_TERM } from "../../../src/limits.ts";
import { LostTurns, type OwnerKnows } from "../../../src/model/lost_turns.ts";
import { slotOf } from "../../../src/model/rrp.ts";
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
} from "../../../src/ports/store.ts";
import { brokenEntry } from "../check.ts";
import { firstEpochOf, keptOf, NO_STAMP } from "../lineage.ts";
import { type KeyKind, parseEntry, slotKey } from "./keys.ts";
import { listOf, malformed, pastIn, stampOf, textOrNull, wholeOf } from "./replies.ts";

/** One step for the script `STEPS`. */
export interface Step {
  readonly key: string;
  readonly slot: number;
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** By whom a commit is. Absent in other steps. */
  readonly by?: Writer;
  /** Reads the reply. Absent: whoever asked does. */
  readonly decode?: (key: string, reply: unknown) => unknown;
}

/** The incarnation that commits, and the lineage that it knows, as the script takes them. */
export interface Writer {
  readonly incarnation: string;
  readonly lineage: string;
}

/**
 * The keys and arguments of a script that runs all `steps`. Commits of one writer that follow each
 * other name it once.
 */
export function scriptOf(steps: readonly Step[]): { keys: string[]; args: string[] } {
  const keys: string[] = [];
  const args: string[] = [];
  let writer: Writer | undefined;
  for (const step of steps) {
    const { by } = step;
    if (by && (by.incarnation !== writer?.incarnation || by.lineage !== writer.lineage)) {
      args.push("D", by.incarnation, by.lineage);
      writer = by;
    }
    for (const key of step.keys) keys.push(key);
    for (const arg of step.args) args.push(arg);
  }
  return { keys, args };
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
  return step(key, ["own", "epoch", "state", "ended", "index"], [
    "C",
    `${incarnation} ${opId} ${rrp}`,
    expected ? guardOf(expected.incarnation, expected.epoch) : "",
    lineageText(lineage?.id),
    String(Math.max(above, (lineage?.term ?? 0) * EPOCHS_PER_TERM)),
  ]);
}

/** @param onFound gets other findings of a successful claim. */
export function claimReply(
  { key, rrp, incarnation }: Claim,
  reply: unknown,
  onFound: (found: Found) => void,
): ClaimReply {
  if (reply === 0) return { won: false, owner: null, quarantined: true };
  const what = `claim of ${JSON.stringify(key)}`;
  if (Array.isArray(reply)) {
    const [epoch, stamp, parts, isCounterLost] = reply;
    if (!Number.isSafeInteger(epoch)) throw malformed(what, reply);
    const owner = { rrp, incarnation, epoch };
    const mended = mendedOf(key, parts ?? null);
    if (mended) onFound(mended);
    if (isCounterLost === 1) onFound({ kind: "counter", slot: slotOf(key), epoch });
    const isStateLost = mended?.fields === 0 && mended.members > 0;
    return { won: true, owner, last: stampOf(key, stamp), ...isStateLost && { isStateLost } };
  }
  const text = textOrNull(what, reply);
  return { won: false, owner: text === null ? null : parseEntry(key, text) };
}

export function reassertStep(reassertion: Reassertion, lineage: LineageName): Step {
  const { key, rrp, incarnation, epoch, after } = reassertion;
  return step(key, ["own", "epoch", "state"], [
    "A",
    `${incarnation} reasserted ${rrp}`,
    String(epoch),
    String(after.epoch),
    String(after.turn),
    lineageText(lineage.id),
    String(firstEpochOf(lineage)),
  ]);
}

export function keptStep(key: string, lineage: LineageName): Step {
  return step(key, ["state", "ended"], ["K", lineageText(lineage.id)]);
}

/** The answer of `Store.kept` for one turn; null: another lineage answered. */
export function keptReply({ key, last: turn }: CommittedTurn, reply: unknown): Stamp | null {
  if (reply === 0) return null;
  const [last, past] = listOf(`last turn of ${JSON.stringify(key)}`, reply);
  return keptOf(turn, stampOf(key, last), pastIn(key, past));
}

/** A turn that no state has. It stands for an owner that doesn't report the turns that it knows. */
const UNKNOWN: Stamp = { epoch: Number.MAX_SAFE_INTEGER, turn: 0 };

export function releaseStep(
  key: string,
  incarnation: string,
  epoch: number,
  after: Stamp = UNKNOWN,
): Step {
  const args = ["R", guardOf(incarnation, epoch), String(after.epoch), String(after.turn)];
  return step(key, ["own", "epoch", "state", "ended", "index"], args);
}

/** The turns that an owner knows of, as arguments of steps. */
function knownBy({ after, lineage }: OwnerKnows = { after: NO_STAMP }): string[] {
  return [String(after.epoch), String(after.turn), lineageText(lineage)];
}

export function readStep(key: string, fields: readonly string[], knows?: OwnerKnows): Step {
  const args = [...knownBy(knows), ...fields.map((field) => `:${field}`)];
  return step(key, ["state"], ["G", String(args.length), ...args]);
}

function lostTurns(key: string, [last, how]: readonly unknown[]): LostTurns {
  return new LostTurns(key, stampOf(key, last), how === "moved");
}

/** The values of `fields`. @throws LostTurns */
export function readReply(
  key: string,
  fields: readonly string[],
  reply: unknown,
): (string | null)[] {
  const what = `state of ${JSON.stringify(key)}`;
  const [first] = listOf(what, reply);
  if (Array.isArray(first)) throw lostTurns(key, first);
  return listOf(what, reply, fields.length).map((value) => textOrNull(what, value));
}

export function rangeStep(key: string, range: Range, knows?: OwnerKnows): Step {
  const { start, end, limit, reverse } = range;
  const [from, to] = [`[:${start}`, `(:${end}`];
  const args = reverse
    ? ["N", "ZREVRANGEBYLEX", to, from, String(limit)]
    : ["N", "ZRANGEBYLEX", from, to, String(limit)];
  return step(key, ["state", "index"], [...args, ...knownBy(knows)]);
}

/** What a step found about Redis keys that are missing while others of their resource exist. */
export type Found =
  | Mended
  /** The slot's epoch counter was below an epoch in use; it is set to `epoch` now. */
  | { readonly kind: "counter"; readonly slot: number; readonly epoch: number };

/** The fields that a state has, and the members that its index had. */
export interface Mended {
  readonly kind: "parts";
  readonly key: string;
  readonly fields: number;
  readonly members: number;
}

function mendedOf(key: string, parts: unknown): Mended | null {
  if (parts === null) return null;
  const what = `parts of ${JSON.stringify(key)}`;
  const [fields, members] = listOf(what, parts, 2).map((count) => wholeOf(what, count));
  return { kind: "parts", key, fields: fields as number, members: members as number };
}

/**
 * Fields and values.
 *
 * @param onFound gets other findings.
 * @throws LostTurns
 */
export function rangeReply(
  key: string,
  reply: unknown,
  onFound: (found: Found) => void,
): [string, string][] {
  const items = listOf(`state of ${JSON.stringify(key)}`, reply);
  const [first] = items;
  if (Array.isArray(first) && typeof first[1] === "string") throw lostTurns(key, first);
  const mended = Array.isArray(first) ? mendedOf(key, first) : null;
  if (mended) onFound(mended);
  const flat = mended ? items.slice(1) : items;
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
    `${puts.length} ${deletes.length} ${epoch} ${turn} ${after.epoch} ${after.turn}`,
  ];
  for (const [field, value] of puts) args.push(`:${field}`, value);
  for (const field of deletes) args.push(`:${field}`);
  const { slot, keys } = commitKeys(key);
  return { key, slot, keys, args, by: writerOf(incarnation, lineage), decode: commitReply };
}

/** The last writer: almost all commits of a process have the same. */
let lastWriter: Writer & { readonly id: string | undefined } = {
  incarnation: "",
  id: undefined,
  lineage: lineageText(undefined),
};

function writerOf(incarnation: string, id: string | undefined): Writer {
  if (lastWriter.incarnation !== incarnation || lastWriter.id !== id) {
    lastWriter = { incarnation, id, lineage: lineageText(id) };
  }
  return lastWriter;
}

/** The slot and the Redis keys of a resource's commits. */
type CommitKeys = Pick<Step, "slot" | "keys">;

/** The most resources whose keys a generation of {@link commitKeys} has. */
const MAX_COMMIT_KEYS = 4_096;
/** Those used lately, and those used before; a resource that commits mostly commits again. */
let recentKeys = new Map<string, CommitKeys>();
let olderKeys = new Map<string, CommitKeys>();

function commitKeys(key: string): CommitKeys {
  const recent = recentKeys.get(key);
  if (recent) return recent;
  if (recentKeys.size >= MAX_COMMIT_KEYS) [olderKeys, recentKeys] = [recentKeys, new Map()];
  const { slot, keys } = olderKeys.get(key) ?? step(key, ["own", "state", "index"], []);
  const known = { slot, keys };
  recentKeys.set(key, known);
  return known;
}

export function commitReply(key: string, reply: unknown): CommitReply {
  if (reply === 2) return "moved";
  if (Array.isArray(reply)) return { lost: stampOf(key, reply[0]) };
  return doneOf(key, "commit", reply) ? "committed" : "fenced";
}

/**
 * Whether a release or commit was done; a text is the entry of another owner, if it can be read as
 * one.
 */
export function doneOf(key: string, what: string, reply: unknown): boolean {
  if (reply === 1) return true;
  if (reply === 0) return false;
  const text = textOrNull(`${what} of ${JSON.stringify(key)}`, reply);
  if (text === null) throw malformed(`${what} of ${JSON.stringify(key)}`, reply);
  parseEntry(key, text);
  return false;
}

/** The beginning of an ownership's entry, which no other ownership shares. */
function guardOf(incarnation: string, epoch: number): string {
  return `${epoch} ${incarnation} `;
}

/** A lineage as steps name it; undefined: any. */
function lineageText(id: string | undefined): string {
  return id === undefined ? "*" : `=${id}`;
}
