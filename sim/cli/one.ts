/**
 * Runs one simulation in full: a single seed, a plan from a file, or the first failing seed of
 * many. Prints its trace and, on a violation, the rule, what led to it, and a smaller plan that
 * breaks it.
 */
import { writeFileSync } from "node:fs";
import type { Result } from "../run/run_world.ts";
import type { Plan, WorldName } from "../plan/plan.ts";
import { failureReport, shrunkReport } from "./report.ts";
import { printSchedule } from "../draw/schedule.ts";
import { shrink } from "./shrink.ts";
import { runPlan } from "../worlds/simulation.ts";
import { addResults, newTally, summary } from "./tally.ts";

/** Remarks shown of a simulation that broke a rule. */
const REMARKS = 60;

export interface ReportOptions {
  /** The command that replays it: `npm run sim -- --seed 9`. */
  readonly replay: string;
  readonly isShrunk: boolean;
  /** The file in which the shrunk plan is kept, or the whole plan if it isn't shrunk. */
  readonly keep: string | null;
}

/** Gives the options for a world's failure. */
export type ReportOptionsOf = (world: WorldName) => ReportOptions;

/** The command that replays a seed. */
export function replayCommand(seed: number, world: WorldName): string {
  return `npm run sim -- ${world === "resources" ? "" : `--world ${world} `}--seed ${seed}`;
}

/**
 * Runs the plans of one seed; prints the results, the traces and the total. Gives the exit code.
 */
export async function runOne(plans: readonly Plan[], optionsOf: ReportOptionsOf): Promise<number> {
  const started = performance.now();
  const results: Result[] = [];
  for (const plan of plans) results.push(await runPlan(plan));
  const tally = newTally();
  addResults(tally, results);
  const score = summary(tally, (performance.now() - started) / 1_000);
  const broken = results.findIndex(({ violations }) => violations.length > 0);
  const { keep } = optionsOf("resources");
  if (broken >= 0) {
    const result = results[broken] as Result;
    await printFailure(plans[broken] as Plan, result, optionsOf(result.world));
  } else if (keep !== null) console.log("no rule was broken: nothing is kept");
  for (const { hash } of results) console.log(`trace ${hash}`);
  console.log(score);
  return broken >= 0 ? 1 : 0;
}

/** Prints how a plan broke a rule, and shrinks it. */
export async function printFailure(
  plan: Plan,
  result: Result,
  options: ReportOptions,
): Promise<void> {
  const [first] = result.violations;
  if (!first) return;
  // Replays it with remarks, which are too expensive to keep always. An unhandled error did
  // not end the simulation: only what came before it matters.
  const told = first.rule === "unhandled" ? { ...plan, endAt: first.at } : plan;
  const { remarks } = await runPlan(told, { remarks: REMARKS });
  print(failureReport(plan, { ...result, remarks }, options.replay));
  const shrunk = options.isShrunk ? await shrink(plan, first.rule) : null;
  if (shrunk) print(shrunkReport(plan, shrunk));
  if (options.keep === null) return;
  const { rule, message } = shrunk?.violation ?? first;
  const from = shrunk ? `${options.replay}, shrunk` : options.replay;
  const kept = { bug: "", rule, message, from, edits: [], plan: shrunk?.plan ?? plan };
  writeFileSync(options.keep, printSchedule(kept));
  console.log(`kept; replay: npm run sim -- --plan ${options.keep}`);
}

function print(lines: readonly string[]): void {
  for (const line of lines) console.log(line);
}
