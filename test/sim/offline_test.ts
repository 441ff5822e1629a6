/** Nodes that operate without the store in a simulation: the rules hold, and conflicts occur. */
import { expect, test } from "vitest";
import { makeOfflinePlan } from "../../sim/draw/draw_offline.ts";
import { type OfflineResult, runOffline } from "../../sim/worlds/offline.ts";
import { parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

/** Long enough for a busy machine. */
const LONG_MS = 300_000;

test("no seed breaks a rule; offline marks, reconciliations and conflicts occur", async () => {
  const results: OfflineResult[] = [];
  for (let seed = 1; seed <= 100; seed++) {
    results.push(await runOffline(makeOfflinePlan(seed)));
  }
  expect(results.flatMap(({ seed, violations }) => violations.map((it) => ({ seed, ...it }))))
    .toEqual([]);
  const sum = (of: (result: OfflineResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  expect(sum(({ marked }) => marked)).toBeGreaterThan(500);
  expect(sum(({ committed }) => committed)).toBeGreaterThan(300);
  expect(sum(({ conflicts }) => conflicts)).toBeGreaterThan(20);
  expect(sum(({ reached }) => reached)).toBeGreaterThan(100);
}, LONG_MS);

test("a plan runs the same each time, and from a file", async () => {
  const plan = makeOfflinePlan(3);
  const { hash, world } = await runPlan(plan);
  expect(world).toBe("offline");
  const kept = { bug: "", rule: "", message: "", from: "", edits: [], plan };
  const again = parseSchedule(printSchedule(kept)).plan;
  expect((await runPlan(again)).hash).toBe(hash);
});
