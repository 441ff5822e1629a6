/**
 * The trial of one mutant, run inside its copy: seeds until a rule is broken, then its
 * directed scenarios.
 *
 * Takes `SEEDS plain|regional [SCENARIO…]` on the command line; prints the verdict as one
 * line of JSON.
 */
import process from "node:process";
import type { Plan } from "../plan.ts";
import { planOf } from "../seeds.ts";
import { runPlan } from "../simulation.ts";
import { scenarioOf } from "./scenarios.ts";
import type { Verdict } from "./trials.ts";

async function judge(
  seeds: number,
  isRegional: boolean,
  scenarios: readonly string[],
): Promise<Verdict | null> {
  for (let seed = 1; seed <= seeds; seed++) {
    const broken = await play(planOf(seed, { isRegional }));
    if (broken) return { ...broken, seed, scenario: null };
  }
  for (const scenario of scenarios) {
    const broken = await play(scenarioOf(scenario));
    if (broken) return { ...broken, seed: null, scenario };
  }
  return null;
}

/** The first rule that a plan breaks. */
async function play(plan: Plan): Promise<Pick<Verdict, "rule" | "message"> | null> {
  const [first] = (await runPlan(plan)).violations;
  return first ? { rule: first.rule, message: first.message } : null;
}

const [seeds, kind, ...scenarios] = process.argv.slice(2);
console.log(JSON.stringify(await judge(Number(seeds), kind === "regional", scenarios)));
