/**
 * The command line of `npm run sim`: takes words, gives what is to be done, or one clear
 * sentence on what is wrong with them.
 */

export interface SimArguments {
  /** How many seeds; Infinity with `minutes`. */
  readonly seeds: number;
  readonly from: number;
  /** One seed only, told in full. */
  readonly seed: number | null;
  readonly minutes: number | null;
  readonly workers: number;
  /** Whether this process is one of the workers. */
  readonly isWorker: boolean;
}

const USAGE = "npm run sim -- [--seeds N] [--from S] [--seed N] [--minutes M] [--workers W]";
const DEFAULT_SEEDS = 2_000;

/** Reads the words after the program's name. @throws Error with what is wrong */
export function parseArguments(words: readonly string[]): SimArguments {
  const values = new Map<string, string>();
  let isWorker = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (word === "--worker") isWorker = true;
    else if (["--seeds", "--from", "--seed", "--minutes", "--workers"].includes(word)) {
      values.set(word, words[++i] ?? "");
    } else throw new Error(`${word} is not known; usage: ${USAGE}`);
  }
  const number = (name: string, least: number): number | null => {
    const text = values.get(name);
    if (text === undefined) return null;
    const value = Number(text);
    const isWhole = name === "--minutes" || Number.isSafeInteger(value);
    if (text.trim() !== "" && isWhole && value >= least && value < Infinity) return value;
    throw new Error(`${name} is ${JSON.stringify(text)}, it must be a number from ${least}`);
  };
  const minutes = number("--minutes", 0);
  return {
    seeds: number("--seeds", 1) ?? (minutes === null ? DEFAULT_SEEDS : Infinity),
    from: number("--from", 0) ?? 1,
    seed: number("--seed", 0),
    minutes,
    workers: number("--workers", 1) ?? 2,
    isWorker,
  };
}
