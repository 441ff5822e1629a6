/**
 * Words that the code must not use, each with the field's term to use instead: names that a reader
 * would have to be told the meaning of, and words that had several.
 *
 * Reads names of files, identifiers, comments and strings; `fooBar` and `foo_bar` are two words.
 */
import type { SourceFile } from "./rules.ts";

interface BannedWord {
  readonly word: string;
  readonly instead: string;
  readonly pattern: RegExp;
}

/** Singular, and the plural with `s`, unless a pattern says otherwise. */
function ban(word: string, instead: string, pattern = `\\b${word}s?\\b`): BannedWord {
  return { word, instead, pattern: new RegExp(pattern) };
}

export const BANNED_WORDS: readonly BannedWord[] = [
  ban("adrift", "offline"),
  ban("audience", "event broadcaster"),
  ban("bell", "signal"),
  ban("box office", "subscription calls"),
  ban("breath", "event-loop yield"),
  ban("company", "node factory", "\\bcompan(?:y|ies)\\b"),
  ban("concede", "yield to"),
  ban("course", "plan, run", "(?<!\\bof )\\bcourses?\\b"),
  ban("desk", "process context"),
  ban("detour", "failed route"),
  ban("door", "socket server, subscriber"),
  ban("drift gauge", "caller affinity"),
  ban("errand", "pending request, hook call, workload"),
  ban("farewell", "goodbye"),
  ban("favourite", "dominant region"),
  ban("freight", "offline budget"),
  ban("hall", "event broadcaster"),
  ban("harbour", "reconciliation", "\\bharbou?rs?\\b"),
  ban("heir", "successor"),
  ban("hungry", "unmatched"),
  ban("landed", "committed offline"),
  ban("landlord", "target node"),
  ban("lane", "queue"),
  ban("ledger", "turn commit, history"),
  ban("letter", "message", "\\bletter\\b"),
  ban("moor", "reconcile", "\\bmoor(?:s|ed)?\\b"),
  ban("mover", "migration"),
  ban("observatory", "introspection"),
  ban("outfit", "node options"),
  ban("outlet", "facade"),
  ban("parcel", "payload"),
  ban("party", "subscription", "(?<!\\bthird[ -])\\bpart(?:y|ies)\\b"),
  ban("pigeonhole", "slot"),
  ban("premises", "parts", "\\bpremises\\b"),
  ban("purse", "buyer"),
  ban("referee", "checker"),
  ban("reign", "ownership interval"),
  ban("road", "route, path"),
  ban("roll", "membership view", "\\brolls?\\b(?! back)"),
  ban("seat", "client session", "\\bseat(?:s|ed)?\\b"),
  ban("shun", "exclude", "\\bshun(?:s|ned)?\\b"),
  ban("stage", "plan, scenario, host"),
  ban("stake", "claim"),
  ban("stranded", "lost offline"),
  ban("tenure", "ownership"),
  ban("testimony", "observations", "\\btestimon(?:y|ies)\\b"),
  ban("tide gauge", "caller affinity"),
  ban("trail", "call path"),
  ban("usher", "subscriber reaper"),
  ban("weather", "link conditions"),
  ban("witness", "history recorder", "\\bwitness(?:es)?\\b"),
];

/** Where the words are banned from the text as well as from the name of the file. */
const READ = /^(?:src|adapters|sim)\//;

/** Names of random streams, on which depends what a seed draws. */
const STREAM = /\bdraw\("\w+"\)|\bSeededRandom\([^")]*"\w+"/g;

/** What is wrong with a file's name. */
export function wordsOfName(path: string): string[] {
  return found(path.replaceAll(/[/.]/g, " ")).map((it) => `${path}: named after ${advice(it)}`);
}

/** What is wrong with a file's text. */
export function wordsOfText({ path, source }: SourceFile): string[] {
  if (!READ.test(path)) return [];
  return source.replace(STREAM, "").split("\n").flatMap((line, i) =>
    found(line).map((it) => `${path}:${i + 1}: says ${advice(it)}`)
  );
}

function found(text: string): BannedWord[] {
  const words = plain(text);
  return BANNED_WORDS.filter((it) => it.pattern.test(words));
}

function advice({ word, instead }: BannedWord): string {
  return `"${word}": say ${instead}`;
}

/** Words in lower case with spaces between them, for identifiers as well. */
function plain(text: string): string {
  return text.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2")
    .replaceAll("_", " ").toLowerCase();
}
