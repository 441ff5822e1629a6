/** Going on without the store under simulation: the rules hold, and each mutant breaks one. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, describe, expect, test } from "vitest";
import { ADRIFT_MUTANTS } from "../../sim/adrift/mutants.ts";
import { makeAdriftPlan, REMEMBERED } from "../../sim/adrift/plan.ts";
import { type AdriftResult, playAdrift } from "../../sim/adrift/play.ts";
import { mutantCopy, ROOT } from "../../sim/mutants/copy.ts";
import { applyEdit, type Mutant } from "../../sim/mutants/mutant.ts";

/** Trials start a process each, on whatever else the machine does. */
const TRIAL_MS = 60_000;
const SEEDS = 100;
const folders: string[] = [];

afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** The first rule that a mutant breaks within some seeds; null where it breaks none. */
async function verdictOf(mutant: Mutant): Promise<{ rule: string } | null> {
  const folder = await mutantCopy(mutant);
  folders.push(folder);
  const head = "Deno" in globalThis ? ["run", "-A"] : [];
  const script = join(folder, "sim/adrift/trial.ts");
  const { stdout, stderr } = spawnSync(process.execPath, [...head, script, String(SEEDS)]);
  try {
    return JSON.parse(String(stdout));
  } catch {
    throw new Error(`the trial says nothing: ${stderr}`);
  }
}

test("no seed breaks a rule; marks, landings and conflicts are met", async () => {
  const results: AdriftResult[] = [];
  const seeds = Array.from({ length: SEEDS }, (_, i) => i + 1);
  for (const seed of [...seeds, ...REMEMBERED]) {
    results.push(await playAdrift(makeAdriftPlan(seed)));
  }
  expect(results.flatMap(({ seed, violations }) => violations.map((it) => ({ seed, ...it }))))
    .toEqual([]);
  const sum = (of: (result: AdriftResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  expect(sum(({ marked }) => marked)).toBeGreaterThan(500);
  expect(sum(({ landed }) => landed)).toBeGreaterThan(300);
  expect(sum(({ conflicts }) => conflicts)).toBeGreaterThan(20);
}, TRIAL_MS);

test("a seed plays the same each time", async () => {
  const [one, two] = [await playAdrift(makeAdriftPlan(3)), await playAdrift(makeAdriftPlan(3))];
  expect(one.hash).toBe(two.hash);
});

test.for(ADRIFT_MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
  "each edit of %s fits once",
  ([, { edits }]) => {
    for (const edit of edits) applyEdit(readFileSync(ROOT + edit.file, "utf8"), edit);
  },
);

describe("trials", { timeout: TRIAL_MS }, () => {
  test.for([
    ["no_mark", "marked"],
    ["mark_lost_on_the_way", "marked"],
    ["blind_landing", "kept"],
    ["no_conflict", "handed over"],
    ["kept_forgotten", "handed over"],
    ["silent_conflict", "handed over"],
    ["no_landing", "healing"],
    ["late_landing", "healing"],
  ])("%s is caught by the rule: %s", async ([name, rule]) => {
    const mutant = ADRIFT_MUTANTS.find((it) => it.name === name) as Mutant;
    expect(await verdictOf(mutant)).toMatchObject({ rule });
  });
});
