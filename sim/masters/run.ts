/**
 * `bun run sim/masters/run.ts [SEEDS] [FROM]`: plays simulations with several masters.
 *
 * Prints each seed that broke a rule, and the score; exit 1 where one did. With SEEDS 1 it
 * tells what led there.
 */
import process from "node:process";
import { makeMastersPlan } from "./plan.ts";
import { playMasters } from "./play.ts";

const [seeds = 500, from = 1] = process.argv.slice(2).map(Number);
const started = performance.now();
let [failed, contests, lost, answered, bounded] = [0, 0, 0, 0, 0];
for (let seed = from; seed < from + seeds; seed++) {
  const plan = makeMastersPlan(seed);
  const result = await playMasters(plan, seeds === 1 ? 80 : 0);
  contests += result.contests;
  lost += result.conflictsLost;
  answered += result.answered;
  if (plan.isBounded) bounded++;
  const [first] = result.violations;
  if (!first) continue;
  failed++;
  for (const remark of result.remarks) console.log(remark);
  console.log(`seed ${seed}: ${first.rule}, at ${first.at.toFixed(3)}: ${first.message}`);
}
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
console.log(
  `${seeds} seeds, ${bounded} within the bound, ${answered} calls answered, ` +
    `${contests} contests read, ${lost} ownerships conceded, ${failed} violations, in ${seconds} s`,
);
process.exitCode = failed > 0 ? 1 : 0;
