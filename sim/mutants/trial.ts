/**
 * The trial of one mutant, run inside its copy: seeds of one or several worlds by turns until a
 * rule is broken, then its directed scenarios.
 *
 * Takes `SEEDS WORLD[,WORLD…] [SCENARIO…]` on the command line; prints the verdict as a line of
 * JSON.
 */
import process from "node:process";
import type { Plan, WorldName } from "../plan/plan.ts";
import { runPlan } from "../worlds/simulation.ts";
import { planOf } from "../draw/draw.ts";
import { scenarioOf } from "./scenarios.ts";
import type { Verdict } from "./trials.ts";

async function tryPlans(
  seeds: number,
  worlds: readonly WorldName[],
  scenarios: readonly string[],
): Promise<Verdict | null> {
  for (let seed = 1; seed <= seeds; seed++) {
    for (const world of worlds) {
      const broken = await firstViolation(planOf(world, seed));
      if (broken) return { ...broken, seed, scenario: null };
    }
  }
  for (const scenario of scenarios) {
    const broken = await firstViolation(scenarioOf(scenario));
    if (broken) return { ...broken, seed: null, scenario };
  }
  return null;
}

/** The first rule that a plan breaks. */
async function firstViolation(plan: Plan): Promise<Pick<Verdict, "rule" | "message"> | null> {
  const [first] = (await runPlan(plan)).violations;
  return first ? { rule: first.rule, message: first.message } : null;
}

const [seeds, worlds = "", ...scenarios] = process.argv.slice(2);
const verdict = await tryPlans(Number(seeds), worlds.split(",") as WorldName[], scenarios);
console.log(JSON.stringify(verdict));
