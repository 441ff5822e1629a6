/**
 * Parses the command line of `npm run sim`; gives the task, or an error that says what is wrong.
 */
import { MOST_SEEDS } from "../mutants/mutant.ts";
import { type WorldName, WORLDS } from "../plan/plan.ts";

export interface SimArguments {
  /** The number of seeds; Infinity with `minutes`. */
  readonly seeds: number;
  readonly from: number;
  /** One seed only, printed in full. */
  readonly seed: number | null;
  /** The worlds in which each seed is run, in their order. */
  readonly worlds: readonly WorldName[];
  /** A file with a plan or a kept schedule, which is run and printed in full. */
  readonly plan: string | null;
  /** The file for the shrunk plan of a seed that broke a rule. */
  readonly keep: string | null;
  /** Whether all mutants are tried, and whether their table goes into the docs. */
  readonly areMutants: boolean;
  readonly isWritten: boolean;
  /** One mutant only; with `seed`, one seed of it in full. */
  readonly mutant: string | null;
  /** Whether a plan that breaks a rule is shrunk. */
  readonly isShrunk: boolean;
  readonly minutes: number | null;
  readonly workers: number;
  /** Whether this process is one of the workers. */
  readonly isWorker: boolean;
}

/** What `--help` prints. */
export const USAGE: string = `usage: npm run sim -- [FLAGS]
  --seeds N      run N seeds (2000)        --from S      from seed S (1)
  --minutes M    run for M minutes         --workers W   with W processes (2)
  --seed N       run one seed, and print all of it where it breaks a rule
  --plan FILE    run a plan, or a kept schedule, in the same way
  --keep FILE    write the shrunk plan of what broke a rule to FILE
  --no-shrink    do not shrink what broke a rule
  --world NAME   only in this one: resources, regions, market, masters or offline (all)
  --mutants      try every mutant (exit 0: all were killed); --write: and write docs/mutants.md
  --mutant NAME  try one, over --seeds N; or run --seed N of it in full
  --help         print this`;
const VALUES = [
  "--seeds",
  "--from",
  "--seed",
  "--plan",
  "--keep",
  "--minutes",
  "--workers",
  "--mutant",
  "--world",
];
const SWITCHES = ["--mutants", "--write", "--no-shrink", "--worker"];
/** These flags exclude each other. */
const TASKS = ["--seed", "--plan", "--seeds", "--minutes"];
const DEFAULT_SEEDS = 2_000;

/** Reads the words after the program's name. @throws Error with what is wrong */
export function parseArguments(words: readonly string[]): SimArguments {
  const { values, switches } = sorted(words);
  const number = (name: string, least: number): number | null => {
    const text = values.get(name);
    if (text === undefined) return null;
    const value = Number(text);
    const isWhole = name === "--minutes" || Number.isSafeInteger(value);
    if (text.trim() !== "" && isWhole && value >= least && value < Infinity) return value;
    throw new Error(`${name} is ${JSON.stringify(text)}, it must be a number from ${least}`);
  };
  const file = (name: string): string | null => {
    if (values.get(name) === "") throw new Error(`${name} needs the name of a file`);
    return values.get(name) ?? null;
  };
  const tasks = TASKS.filter((name) => values.has(name));
  const isOne = values.has("--seed") || values.has("--plan");
  if (isOne && tasks.length > 1) throw new Error(`${tasks.join(" and ")} exclude each other`);
  if (switches.has("--mutants") && (tasks.length > 0 || values.has("--mutant"))) {
    throw new Error("--mutants excludes every other task");
  }
  if (switches.has("--write") && !switches.has("--mutants")) {
    throw new Error("--write goes with --mutants only");
  }
  const minutes = number("--minutes", 0);
  const usual = values.has("--mutant") ? MOST_SEEDS.resources : DEFAULT_SEEDS;
  return {
    seeds: number("--seeds", 1) ?? (minutes === null ? usual : Infinity),
    from: number("--from", 0) ?? 1,
    seed: number("--seed", 0),
    worlds: worldsOf(values.get("--world")),
    plan: file("--plan"),
    keep: file("--keep"),
    areMutants: switches.has("--mutants"),
    isWritten: switches.has("--write"),
    mutant: values.get("--mutant") ?? null,
    isShrunk: !switches.has("--no-shrink"),
    minutes,
    workers: number("--workers", 1) ?? 2,
    isWorker: switches.has("--worker"),
  };
}

function worldsOf(name: string = "all"): readonly WorldName[] {
  if (name === "all") return WORLDS;
  const world = WORLDS.find((one) => one === name);
  if (world) return [world];
  throw new Error(`--world is ${JSON.stringify(name)}, it must be ${WORLDS.join(", ")} or all`);
}

/** The flags with values, and those without. */
function sorted(
  words: readonly string[],
): { values: Map<string, string>; switches: Set<string> } {
  const values = new Map<string, string>();
  const switches = new Set<string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (SWITCHES.includes(word)) switches.add(word);
    else if (VALUES.includes(word)) values.set(word, words[++i] ?? "");
    else throw new Error(`${word} is not known\n${USAGE}`);
  }
  return { values, switches };
}
