/**
 * Checks the arguments of a store's steps before they touch anything, and makes the stores' common
 * errors. All stores share these checks, so that none accepts what another can't keep.
 */
import { AtlasError } from "../../src/errors.ts";
import { MAX_ID_BYTES, MAX_TOKEN_BYTES } from "../../src/limits.ts";
import { quoted } from "../../src/model/options.ts";
import { StepRefused, stepRefused } from "../../src/model/refusal.ts";
import type { Claim, Commit, Range, Reassertion } from "../../src/ports/store.ts";

/** The largest text that one commit may carry, in UTF-16 code units of its fields and values. */
export const MAX_COMMIT_TEXT = 134_217_728;

/**
 * The last term of a lineage, of five digits: epochs are safe integers in 2^53 / EPOCHS_PER_TERM
 * terms.
 */
export const MAX_TERM = 99_999;

/** The longest delay of a timer, in ms; a longer one would run at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The longest RRP: three tokens and an id of which each byte is percent-encoded. */
const MAX_RRP = "rrp:".length + 3 * (MAX_TOKEN_BYTES + 1) + 3 * MAX_ID_BYTES;

const SPACE = /\s/;

/** The error of a store that can't be reached, or whose answer can't be read. */
export function unavailable(message: string, cause?: unknown): AtlasError {
  return new AtlasError("unavailable", message, { cause });
}

/** The same error for a step that certainly never reached the store. */
export function unsent(message: string, cause?: unknown): AtlasError {
  return new StepRefused(message, "unsent", undefined, cause);
}

/** The error of a step to which a server answered `text`; `message` is the error's message. */
export function failedStep(text: string, message: string, cause?: unknown): AtlasError {
  return stepRefused(text, message, cause) ?? unavailable(message, cause);
}

/** An error whose message callers may see: it names no host, user or file. */
export function publicError(message: string, cause?: unknown): AtlasError {
  return new AtlasError("unavailable", message, { cause, detail: message });
}

/** The error of every method of a store that was closed. */
export function closedError(): AtlasError {
  return publicError("the store is closed");
}

/**
 * The error of an entry that can't be read. Its message names the key and the reason, not the
 * content.
 */
export class BrokenEntry extends AtlasError {
  constructor(message: string, detail: string) {
    super("unavailable", message, { retryable: false, detail });
  }
}

/**
 * The error of an entry (an owner or a last turn) that can't be read: it does not count as absent.
 */
export function brokenEntry(
  key: string,
  what: string,
  value: unknown,
  why = "it has not the form that it must have",
): BrokenEntry {
  const message = `the registry's ${what} of ${quoted(key)} can't be read: ${why}`;
  return new BrokenEntry(message, `${message}: ${JSON.stringify(String(value).slice(0, 60))}`);
}

/** Refuses a claim whose parts are empty or hold white space (an entry is split by spaces). */
export function checkClaim(claim: Claim): void {
  checkWord("key", claim.key);
  checkRrp(claim.rrp);
  checkWord("incarnation", claim.incarnation);
  checkWord("opId", claim.opId);
  if (claim.above !== undefined) checkWhole("above", claim.above, 0);
  if (claim.lineage) checkTerm(claim.lineage.term);
  if (claim.expected === null) return;
  checkWord("expected.incarnation", claim.expected.incarnation);
  checkWhole("expected.epoch", claim.expected.epoch, 0);
}

/** Refuses reassertions that no entry could hold. */
export function checkReassertions(
  reassertions: readonly Reassertion[],
  lineage: { term: number },
): void {
  checkTerm(lineage.term);
  for (const { key, rrp, incarnation, epoch, after } of reassertions) {
    checkWord("key", key);
    checkRrp(rrp);
    checkWord("incarnation", incarnation);
    checkWhole("epoch", epoch, 1);
    checkWhole("after.epoch", after.epoch, 0);
    checkWhole("after.turn", after.turn, 0);
  }
}

/** Refuses a term whose epochs may not be safe integers. */
function checkTerm(term: number): void {
  if (Number.isInteger(term) && term >= 0 && term <= MAX_TERM) return;
  throw refused("lineage.term", String(term), `a whole number from 0 to ${MAX_TERM}`);
}

/** Refuses a commit that no store could keep whole. */
export function checkCommit(commit: Commit): void {
  checkWord("key", commit.key);
  checkWord("incarnation", commit.incarnation);
  checkWhole("epoch", commit.epoch, 0);
  checkWhole("turn", commit.turn, 1);
  let size = 0;
  for (const [field, value] of commit.puts) {
    checkText("field", field);
    checkText("value", value);
    size += field.length + value.length;
  }
  for (const field of commit.deletes) checkText("field", field);
  if (size > MAX_COMMIT_TEXT) {
    throw refused("puts", `${size} code units in one commit`, `at most ${MAX_COMMIT_TEXT}`);
  }
}

/** Refuses a range that asks for nothing. */
export function checkRange(range: Range): void {
  checkText("start", range.start);
  checkText("end", range.end);
  checkWhole("limit", range.limit, 1);
}

/** Refuses a number that isn't a safe integer or is below `least`. */
export function checkWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw refused(name, String(value), `a whole number from ${least} to 2^53 - 1`);
}

/** Refuses a time that is no whole number of ms, or longer than timers can wait. */
export function checkMs(name: string, ms: number): void {
  if (Number.isInteger(ms) && ms >= 1 && ms <= MAX_TIMER_MS) return;
  throw refused(name, quoted(ms), `a whole number of ms from 1 to ${MAX_TIMER_MS}`);
}

/** Refuses text that is empty or holds white space. */
export function checkWord(name: string, value: string): void {
  if (typeof value === "string" && value.length > 0 && !SPACE.test(value)) return;
  throw refused(name, JSON.stringify(value), "text without white space, not empty");
}

/** Refuses an RRP that no node could read back: it is longer than any. */
function checkRrp(rrp: string): void {
  checkWord("rrp", rrp);
  if (rrp.length <= MAX_RRP) return;
  throw refused("rrp", `${rrp.length} characters`, `at most ${MAX_RRP} characters`);
}

/** Refuses text that UTF-8 can't encode, because it would be read back changed. */
function checkText(name: string, value: string): void {
  if (typeof value === "string" && value.isWellFormed()) return;
  throw refused(name, JSON.stringify(value)?.slice(0, 60) ?? "undefined", "well-formed Unicode");
}

/** The `bad_request` that names a setting, its value, and what is allowed. */
export function refused(name: string, value: string, allowed: string): AtlasError {
  return new AtlasError("bad_request", `${name} is ${value}, it must be ${allowed}`);
}
