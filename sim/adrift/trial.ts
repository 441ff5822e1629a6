/**
 * The trial of one mutant of going on without the store, run inside its copy.
 *
 * Takes how many seeds on the command line; prints the first rule that was broken and its
 * seed as one line of JSON, or null.
 */
import process from "node:process";
import { makeAdriftPlan, REMEMBERED } from "./plan.ts";
import { playAdrift } from "./play.ts";

async function judge(seeds: number): Promise<{ rule: string; seed: number } | null> {
  const drawn = Array.from({ length: seeds }, (_, i) => i + 1);
  for (const seed of [...drawn, ...REMEMBERED]) {
    const [first] = (await playAdrift(makeAdriftPlan(seed))).violations;
    if (first) return { rule: first.rule, seed };
  }
  return null;
}

console.log(JSON.stringify(await judge(Number(process.argv[2]))));
