/**
 * Runs mutants' trials, each in its own copy and process, and removes the copies. Gives the outcome
 * of each.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { withCopy } from "./copy.ts";
import { isControl, MOST_SEEDS, type Mutant, worldOf } from "./mutant.ts";
import { SCENARIOS } from "./scenarios.ts";

/** The longest that a trial may take, because a mutant may never end. In ms. */
const TRIAL_MS = 300_000;

/** Which rule caught a mutant, and where. */
export interface Verdict {
  /** The checker's name, and its message. */
  readonly rule: string;
  readonly message: string;
  /** The first seed in which it happened, or otherwise the scenario. */
  readonly seed: number | null;
  readonly scenario: string | null;
}

/**
 * Tries one mutant, or a control. Null if no rule caught it.
 *
 * @param seeds the number of seeds, from 1, before its scenario; a control is tried with all of
 * them.
 * @throws Error if an edit doesn't fit, or the mutant can't run, which proves nothing.
 */
export function tryMutant(
  mutant: Mutant,
  seeds: number = MOST_SEEDS[worldOf(mutant)],
): Promise<Verdict | null> {
  const own = mutant.scenario === undefined ? [] : [mutant.scenario];
  const scenarios = isControl(mutant) ? Object.keys(SCENARIOS) : own;
  return withCopy(
    mutant.name,
    mutant.edits,
    (folder) => verdictOf(folder, [String(seeds), worldOf(mutant), ...scenarios]),
  );
}

/** Runs one seed of a mutant, printed in full. Gives the exit code. */
export function runMutant(mutant: Mutant, seed: number): Promise<number> {
  return withCopy(mutant.name, mutant.edits, async (folder) => {
    const flags = ["--world", worldOf(mutant), "--seed", String(seed)];
    const { code } = await run(join(folder, "sim/cli/run.ts"), flags, "inherit");
    return code ?? 1;
  });
}

async function verdictOf(folder: string, flags: readonly string[]): Promise<Verdict | null> {
  const script = join(folder, "sim/mutants/trial.ts");
  const { code, output, errors } = await run(script, flags, "pipe");
  if (code === null) throw new Error(`no verdict within ${TRIAL_MS / 1_000} s`);
  if (code === 0) return JSON.parse(output) as Verdict | null;
  const why = errors.split("\n").find((line) => /error/i.test(line)) ?? "it does not say why";
  throw new Error(`the trial ended with ${code}: ${why.trim()}`);
}

function run(
  script: string,
  flags: readonly string[],
  out: "pipe" | "inherit",
): Promise<{ code: number | null; output: string; errors: string }> {
  const head = "Deno" in globalThis ? ["run", "-A"] : [];
  const child = spawn(process.execPath, [...head, script, ...flags], {
    stdio: ["ignore", out, out],
    timeout: TRIAL_MS,
  });
  let output = "";
  let errors = "";
  child.stdout?.on("data", (part: Uint8Array) => (output += String(part)));
  child.stderr?.on("data", (part: Uint8Array) => (errors += String(part)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output, errors }));
  });
}
