/**
 * Checks options and arguments that callers give, and prints refused values for error messages.
 * Refuses unknown option names: otherwise a misspelt name would be ignored silently.
 */
import { AtlasError } from "../errors.ts";
import { DEFAULT_DRAIN_MS, MAX_ARGUMENTS, MAX_TIMEOUT_MS } from "../limits.ts";

/** All names of an options type; the compiler reports a missing one. */
export type OptionNames<T> = { readonly [K in keyof T]-?: true };

/** Options with a signal. */
interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

const CLOSE: OptionNames<{ drainMs?: number }> = { drainMs: true };

/** The error for an option whose value isn't allowed. */
export function wrong(name: string, value: unknown, allowed: string): AtlasError {
  return new AtlasError("bad_request", `${name} is ${quoted(value)}, it must be ${allowed}`);
}

/** @throws AtlasError `bad_request`, naming what isn't allowed and what is. */
export function checkOptions<T extends object>(options: T, names: OptionNames<T>): T {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw wrong("options", options, "an object");
  }
  for (const name in options) {
    if (Object.hasOwn(names, name)) continue;
    const known = Object.keys(names).sort().join(", ");
    throw new AtlasError("bad_request", `there is no option ${quoted(name)}; there are: ${known}`);
  }
  const { signal } = options as Abortable;
  if (signal !== undefined && signal !== null) checkSignal(signal);
  return options;
}

/** Signals of other realms and packages are accepted. */
function checkSignal(signal: AbortSignal): void {
  if (
    typeof signal === "object" && typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function" &&
    typeof signal.removeEventListener === "function"
  ) return;
  throw wrong("signal", signal, "an AbortSignal");
}

/** One of `words`. @throws AtlasError `bad_request` */
export function checkWord<T extends string | boolean>(
  field: string,
  word: T,
  words: readonly T[],
): T {
  if (words.includes(word)) return word;
  throw wrong(field, word, words.join(" or "));
}

/** A deadline that a caller gave, in ms from now. @throws AtlasError `bad_request` */
export function checkMs(field: string, ms: number): number {
  if (typeof ms === "number" && ms >= 1 && ms <= MAX_TIMEOUT_MS) return ms;
  throw wrong(field, ms, `1 to ${MAX_TIMEOUT_MS}`);
}

/** How long running calls may take after a close, in ms. @throws AtlasError `bad_request` */
export function drainMsOf(options: { drainMs?: number }): number {
  const { drainMs = DEFAULT_DRAIN_MS } = checkOptions(options, CLOSE);
  if (typeof drainMs === "number" && drainMs >= 0 && drainMs <= MAX_TIMEOUT_MS) return drainMs;
  throw wrong("drainMs", drainMs, `0 to ${MAX_TIMEOUT_MS}`);
}

/** Checks the number of arguments. @throws AtlasError `bad_request` */
export function checkArgumentCount<T extends readonly unknown[]>(args: T): T {
  if (args.length <= MAX_ARGUMENTS) return args;
  throw new AtlasError(
    "bad_request",
    `args has ${args.length} arguments: a call may have at most ${MAX_ARGUMENTS}`,
  );
}

/** Arguments of a call. @throws AtlasError `bad_request` */
export function checkArguments(args: unknown): readonly unknown[] {
  if (!Array.isArray(args)) throw wrong("args", args, "an array of arguments");
  return checkArgumentCount(args);
}

/** The longest text of a value in an error, in UTF-16 code units. */
const MOST = 80;

/** Characters that are invisible, break a line or change the text's direction. */
const UNSEEN =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]/g;

/** A short text of any value, without control characters. */
export function quoted(value: unknown): string {
  if (typeof value === "number") return String(value);
  let text: string | undefined;
  try {
    // Of long text only the part that fits is read.
    text = JSON.stringify(typeof value === "string" ? value.slice(0, MOST + 1) : value);
  } catch {
    // A bigint, or a circular structure.
  }
  text ??= printed(value);
  return shown(text, MOST);
}

/** `text` cut to at most `most` characters, without control characters. */
export function shown(text: string, most: number): string {
  const cut = text.length > most ? `${text.slice(0, most - 1).toWellFormed()}…` : text;
  return cut.replace(UNSEEN, escaped);
}

function escaped(sign: string): string {
  return `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function printed(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "object") return "an object";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/** `text` without the characters `unwanted` at its end. */
export function withoutTrailing(text: string, unwanted: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === unwanted) end--;
  return text.slice(0, end);
}
