/** Several masters in a simulation: the rules hold, conflicts occur, and mistakes are caught. */
import { describe, expect, test } from "vitest";
import { parseArguments } from "../../sim/cli/arguments.ts";
import { cuts } from "../../sim/draw/simplify.ts";
import { makeMastersPlan } from "../../sim/draw/draw_masters.ts";
import { type MastersResult, runMasters } from "../../sim/worlds/masters.ts";
import { PLAIN_MASTERS } from "../../sim/plan/plan.ts";
import { mutantOf } from "../../sim/mutants/mutants.ts";
import { tryMutant } from "../../sim/mutants/trials.ts";
import { replayCommand } from "../../sim/cli/one.ts";
import { scheduleLines } from "../../sim/cli/report.ts";
import { parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";
import { planOf } from "../../sim/draw/draw.ts";

/** Each trial starts a process, on a machine that may be busy. */
const TRIAL_MS = 300_000;

test("seeds within the bound and beyond it break no rule, and conflicts occur", async () => {
  const results: MastersResult[] = [];
  const kinds = new Set<string>();
  for (let seed = 1; seed <= 40; seed++) {
    const plan = makeMastersPlan(seed);
    for (const { kind } of plan.faults) kinds.add(kind);
    results.push(await runMasters(plan));
  }
  expect(results.flatMap(({ seed, violations }) => violations.map((it) => ({ seed, ...it }))))
    .toEqual([]);
  const sum = (of: (result: MastersResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  expect(sum(({ contests }) => contests)).toBeGreaterThan(50);
  expect(sum(({ lookups }) => lookups)).toBeGreaterThan(3);
  expect(sum(({ conflictsLost }) => conflictsLost)).toBeGreaterThan(5);
  expect(sum(({ answered }) => answered)).toBeGreaterThan(1_000);
  for (const kind of ["masters_split", "master_cut", "master_clog", "crash"]) {
    expect(kinds).toContain(kind);
  }
}, TRIAL_MS);

test("replication stops only in plans without a bound", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const { masters: { isBounded, lagMs, boundMs }, faults } = makeMastersPlan(seed);
    const splits = faults.filter(({ kind }) => kind === "masters_split").length;
    expect(splits > 0, `seed ${seed}`).toBe(!isBounded);
    if (isBounded) expect(lagMs).toBeLessThan(boundMs);
  }
});

test("a plan runs the same each time, and from a file", async () => {
  const plan = makeMastersPlan(5);
  const { hash, world } = await runPlan(plan);
  expect(world).toBe("masters");
  const kept = { bug: "", rule: "", message: "", from: "", edits: [], plan };
  const again = parseSchedule(printSchedule(kept)).plan;
  expect(again).toEqual(plan);
  expect((await runPlan(again)).hash).toBe(hash);
});

test("missing fields of masters get their defaults; the error names wrong ones", () => {
  const bare = parseSchedule('{"shape":{},"masters":{"count":3}}').plan;
  expect(bare.masters).toEqual({ ...PLAIN_MASTERS, count: 3 });
  expect(() => parseSchedule('{"shape":{},"masters":{"count":"two"}}')).toThrow(
    'plan.masters.count is "two", it must be a number',
  );
});

test("a report names a plan's masters, and shrinking keeps fewer masters within the bound", () => {
  const plan = { ...makeMastersPlan(1), faults: [], work: [] };
  const masters = { ...plan.masters, count: 3, lagMs: 9.9, boundMs: 10 };
  expect(scheduleLines({ ...plan, masters })[0]).toContain("masters.count=3");
  const plainer = [...cuts({ ...plan, masters })].map((it) => it.masters);
  expect(plainer).toContainEqual({ ...masters, count: 2 });
  expect(plainer).toContainEqual({ ...masters, lagMs: 9 });
});

test("--world masters selects the world, also in the command that replays a seed", () => {
  expect(parseArguments(["--world", "masters", "--seed", "7"]).worlds).toEqual(["masters"]);
  expect(replayCommand(7, "masters")).toBe("npm run sim -- --world masters --seed 7");
  expect(planOf("masters", 7).masters?.count).toBeGreaterThan(1);
  expect(planOf("resources", 7).masters).toBeUndefined();
});

describe("trials", { timeout: TRIAL_MS }, () => {
  test.for([["no_bound", "one owner"], ["no_withdrawal", "withdrawn"], [
    "contest_hidden",
    "shown",
  ], ["looked_up_in_memory", "shown"]])(
    "%s is caught by the rule: %s",
    async ([name = "", rule]) => {
      expect(await tryMutant(mutantOf(name), 60)).toMatchObject({ rule });
    },
  );
});
