/**
 * The trial of one mutant of the race resolution, run inside its copy.
 *
 * Takes how many seeds on the command line; prints the first rule that was broken and its
 * seed as one line of JSON, or null.
 */
import process from "node:process";
import { makeMastersPlan } from "./plan.ts";
import { playMasters } from "./play.ts";

async function judge(seeds: number): Promise<{ rule: string; seed: number } | null> {
  for (let seed = 1; seed <= seeds; seed++) {
    const [first] = (await playMasters(makeMastersPlan(seed))).violations;
    if (first) return { rule: first.rule, seed };
  }
  return null;
}

console.log(JSON.stringify(await judge(Number(process.argv[2]))));
