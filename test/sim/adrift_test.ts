/** Going on without the store under simulation: the rules hold, and what they are for is met. */
import { expect, test } from "vitest";
import { makePartitionedPlan } from "../../sim/draw/draw_partitioned.ts";
import { type PartitionedResult, runPartitioned } from "../../sim/worlds/partitioned.ts";
import { parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

/** On whatever else the machine does. */
const LONG_MS = 300_000;

test("no seed breaks a rule; offline marks, reconciliations and conflicts occur", async () => {
  const results: PartitionedResult[] = [];
  for (let seed = 1; seed <= 100; seed++) {
    results.push(await runPartitioned(makePartitionedPlan(seed)));
  }
  expect(results.flatMap(({ seed, violations }) => violations.map((it) => ({ seed, ...it }))))
    .toEqual([]);
  const sum = (of: (result: PartitionedResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  expect(sum(({ marked }) => marked)).toBeGreaterThan(500);
  expect(sum(({ landed }) => landed)).toBeGreaterThan(300);
  expect(sum(({ conflicts }) => conflicts)).toBeGreaterThan(20);
  expect(sum(({ reached }) => reached)).toBeGreaterThan(100);
}, LONG_MS);

test("a plan plays the same each time, and from a file", async () => {
  const plan = makePartitionedPlan(3);
  const { hash, world } = await runPlan(plan);
  expect(world).toBe("adrift");
  const kept = { bug: "", rule: "", message: "", from: "", edits: [], plan };
  const again = parseSchedule(printSchedule(kept)).plan;
  expect((await runPlan(again)).hash).toBe(hash);
});
