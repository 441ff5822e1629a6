/**
 * Errors for a step that a registry refuses as a whole because the registry is full, read-only, or
 * gets too many requests. Takes what a server or a database said of the step, without the key. A
 * refused step has certainly not been applied.
 */
import { AtlasError, isAtlasError, messageOf } from "../errors.ts";

/**
 * `unsent`: the step never reached the registry. `passing`: the same step may succeed within
 * seconds. `lasting`: an operator has to fix the cause.
 */
export type Refusal = "unsent" | "passing" | "lasting";

const KINDS: readonly unknown[] = ["unsent", "passing", "lasting"] satisfies Refusal[];

/** The error for a step that was refused and has certainly not been applied. */
export class StepRefused extends AtlasError {
  readonly refusal: Refusal;

  /** @param detail absent: the message may still hold details that callers must not see. */
  constructor(message: string, refusal: Refusal, detail?: string, cause?: unknown) {
    super("unavailable", message, { detail, cause });
    this.refusal = refusal;
  }
}

/** The kind of refusal that an error stands for; null: it is no refusal. */
export function refusalOf(error: unknown): Refusal | null {
  if (!isAtlasError(error)) return null;
  const { refusal = null } = error as Partial<StepRefused>;
  return KINDS.includes(refusal) ? refusal : null;
}

/** Whether an error, or its cause, says that a retry is useless for now. */
export function isLasting(error: AtlasError): boolean {
  return refusalOf(error) === "lasting" || refusalOf(error.cause) === "lasting";
}

/** Messages of servers, and their meaning; the first match counts. */
const REFUSALS: readonly (readonly [pattern: RegExp, refusal: Refusal, meaning: string])[] = [
  [/\bOOM\b/, "lasting", "its memory is full (OOM), and this would take more of it"],
  [
    /DB capacity quota exceeded/i,
    "lasting",
    "it is full (capacity quota exceeded), and this would take more of it",
  ],
  [
    /max (?:\w+ )?(?:requests?|bandwidth|commands?) (?:count )?(?:limit|quota) exceeded/i,
    "lasting",
    "its quota of requests is used up",
  ],
  [/\bMISCONF\b/, "lasting", "it can't save to its disk, and takes no writes (MISCONF)"],
  [/\bREADONLY\b/, "passing", "it is a replica, and takes no writes (READONLY)"],
  [/\bNOREPLICAS\b/, "passing", "too few replicas are connected to it (NOREPLICAS)"],
  [/\bLOADING\b/, "passing", "it is still loading its data (LOADING)"],
  [/\bMASTERDOWN\b/, "passing", "it has lost its master (MASTERDOWN)"],
  [/\bCLUSTERDOWN\b/, "passing", "its cluster is down (CLUSTERDOWN)"],
  [/\bTRYAGAIN\b/, "passing", "its slots are being moved (TRYAGAIN)"],
  [/\bBUSY\b/, "passing", "it is busy with another script (BUSY)"],
  [
    /\b429\b|too many requests|rate.?limit|requests? per second/i,
    "passing",
    "it gets too many requests (429)",
  ],
];

/** The start of the message for callers. */
const PREFIX = "the registry refuses it: ";

/**
 * The error for a step that a server refused with the message `said`; null if it is not certain
 * that nothing was applied.
 *
 * @param detail the whole message, for logs.
 */
export function stepRefused(said: string, detail: string, cause?: unknown): StepRefused | null {
  for (const [pattern, refusal, meaning] of REFUSALS) {
    if (pattern.test(said)) return new StepRefused(PREFIX + meaning, refusal, detail, cause);
  }
  return null;
}

/** The same for an error of SQLite. */
export function fileRefused(error: unknown, detail: string): StepRefused | null {
  const why = isFull(error)
    ? "its disk is full (SQLITE_FULL)"
    : isOfSqlite(error, SQLITE_READONLY, /readonly database/)
    ? "its file can't be written to (SQLITE_READONLY)"
    : null;
  return why === null ? null : new StepRefused(PREFIX + why, "lasting", detail, error);
}

/** Whether SQLite reports that its disk is full. */
export function isFull(error: unknown): boolean {
  return isOfSqlite(error, SQLITE_FULL, /database or disk is full/);
}

const SQLITE_READONLY = 8;
const SQLITE_FULL = 13;

/** Some runtimes give SQLite's error number, some only its message. */
function isOfSqlite(error: unknown, code: number, words: RegExp): boolean {
  const { errcode } = error as { errcode?: unknown };
  return typeof errcode === "number" ? (errcode & 0xff) === code : words.test(messageOf(error));
}
