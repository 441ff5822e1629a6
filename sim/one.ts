/**
 * One simulation, told in full: what `npm run sim` does with a single seed or a plan from
 * a file, and with the first seed of many that broke a rule.
 *
 * Takes a plan; prints its trace, and, where it broke a rule, how, what led there, and a
 * smaller plan that breaks it too.
 */
import { writeFileSync } from "node:fs";
import type { Plan } from "./plan.ts";
import { failureReport, shrunkReport } from "./report.ts";
import { printSchedule } from "./schedule.ts";
import { kindOf, type SeedOptions } from "./seeds.ts";
import { shrink } from "./shrink.ts";
import { type Result, runPlan } from "./simulation.ts";
import { addResult, newTally, summary } from "./tally.ts";

/** Remarks shown of a simulation that broke a rule. */
const REMARKS = 60;

export interface Telling {
  /** What plays it again: `npm run sim -- --seed 9`. */
  readonly replay: string;
  readonly isShrunk: boolean;
  /** The file in which the shrunk plan is kept, or the whole one where it isn't shrunk. */
  readonly keep: string | null;
}

/** The line that plays a seed again. */
export function replayOf(seed: number, options: SeedOptions = {}): string {
  return ["npm run sim --", ...kindOf(options), `--seed ${seed}`].join(" ");
}

/** Plays a plan and tells of it; last its trace and the score. Gives the exit code. */
export async function playOne(plan: Plan, telling: Telling): Promise<number> {
  const started = performance.now();
  const result = await runPlan(plan);
  const tally = newTally();
  addResult(tally, result);
  const score = summary(tally, (performance.now() - started) / 1_000);
  const isGood = result.violations.length === 0;
  if (!isGood) await tellFailure(plan, result, telling);
  else if (telling.keep !== null) console.log("no rule was broken: nothing is kept");
  console.log(`trace ${result.hash}`);
  console.log(score);
  return isGood ? 0 : 1;
}

/** Tells how a plan broke a rule, and shrinks it. */
export async function tellFailure(plan: Plan, result: Result, telling: Telling): Promise<void> {
  const [first] = result.violations;
  if (!first) return;
  // The same again with remarks, which cost too much to keep always. What was unhandled did
  // not end the simulation: then only what came before it is of interest.
  const told = first.rule === "unhandled" ? { ...plan, endAt: first.at } : plan;
  const { remarks } = await runPlan(told, { remarks: REMARKS });
  tell(failureReport(plan, { ...result, remarks }, telling.replay));
  const shrunk = telling.isShrunk ? await shrink(plan, first.rule) : null;
  if (shrunk) tell(shrunkReport(plan, shrunk));
  if (telling.keep === null) return;
  const { rule, message } = shrunk?.violation ?? first;
  const from = shrunk ? `${telling.replay}, shrunk` : telling.replay;
  const kept = { bug: "", rule, message, from, edits: [], plan: shrunk?.plan ?? plan };
  writeFileSync(telling.keep, printSchedule(kept));
  console.log(`kept; replay: npm run sim -- --plan ${telling.keep}`);
}

function tell(lines: readonly string[]): void {
  for (const line of lines) console.log(line);
}
