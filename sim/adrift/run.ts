/**
 * `bun run sim/adrift/run.ts [SEEDS] [FROM]`: plays simulations of resources that go on
 * without the store.
 *
 * Prints each seed that broke a rule, and the score; exit 1 where one did. With SEEDS 1 it
 * tells what led there.
 */
import process from "node:process";
import { makeAdriftPlan } from "./plan.ts";
import { playAdrift } from "./play.ts";

const [seeds = 500, from = 1] = process.argv.slice(2).map(Number);
const started = performance.now();
let [failed, answered, marked, landed, conflicts] = [0, 0, 0, 0, 0];
for (let seed = from; seed < from + seeds; seed++) {
  const result = await playAdrift(makeAdriftPlan(seed), seeds === 1 ? 80 : 0);
  answered += result.answered;
  marked += result.marked;
  landed += result.landed;
  conflicts += result.conflicts;
  const [first] = result.violations;
  if (!first) continue;
  failed++;
  for (const remark of result.remarks) console.log(remark);
  console.log(`seed ${seed}: ${first.rule}, at ${first.at.toFixed(3)}: ${first.message}`);
}
const seconds = ((performance.now() - started) / 1_000).toFixed(1);
console.log(
  `${seeds} seeds, ${answered} calls answered, ${marked} appends marked, ${landed} turns ` +
    `committed later, ${conflicts} conflicts, ${failed} violations, in ${seconds} s`,
);
process.exitCode = failed > 0 ? 1 : 0;
