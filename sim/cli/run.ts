/**
 * `npm run sim`: runs many simulations on all processors, or one in full.
 *
 * Takes flags (see `arguments.ts`); prints progress, each violation with the command that replays
 * it, the first one in full, and the total as last line. Exits with 1 on a violation, 2 on bad
 * usage.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArguments, type SimArguments, USAGE } from "./arguments.ts";
import { runMany, work } from "./many.ts";
import { mutantOf } from "../mutants/mutants.ts";
import { runMutants, runOneMutant } from "./mutant_trials.ts";
import { replayCommand, runOne } from "./one.ts";
import type { Plan } from "../plan/plan.ts";
import { parseSchedule } from "../draw/schedule.ts";
import { planOf } from "../draw/draw.ts";

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  if (words.includes("--help")) {
    console.log(USAGE);
    return 0;
  }
  let options: SimArguments;
  let plan: Plan | null;
  try {
    options = parseArguments(words);
    plan = options.plan === null ? null : readPlan(options.plan);
    if (options.mutant !== null) mutantOf(options.mutant);
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
  const { seed, keep, isShrunk } = options;
  if (options.areMutants) return await runMutants(options.workers, options.isWritten);
  if (options.mutant !== null) return await runOneMutant(options.mutant, options);
  if (plan) {
    const replay = `npm run sim -- --plan ${options.plan}`;
    return await runOne([plan], () => ({ replay, keep, isShrunk }));
  }
  if (seed !== null) {
    const plans = options.worlds.map((world) => planOf(world, seed));
    return await runOne(plans, (world) => ({
      replay: replayCommand(seed, world),
      keep,
      isShrunk,
    }));
  }
  if (options.isWorker) return await work(options);
  return await runMany(options);
}

/** The plan in a file. @throws Error with what is wrong with it */
function readPlan(file: string): Plan {
  try {
    return parseSchedule(readFileSync(file, "utf8")).plan;
  } catch (error) {
    throw new Error(`--plan ${file}: ${(error as Error).message}`);
  }
}

process.exitCode = await main();
