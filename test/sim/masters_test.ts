/** Several masters under simulation: the rules hold, and each mutant breaks one. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, describe, expect, test } from "vitest";
import { MASTERS_MUTANTS } from "../../sim/masters/mutants.ts";
import { makeMastersPlan } from "../../sim/masters/plan.ts";
import { type MastersResult, playMasters } from "../../sim/masters/play.ts";
import { mutantCopy, ROOT } from "../../sim/mutants/copy.ts";
import { applyEdit, type Mutant } from "../../sim/mutants/mutant.ts";

/** Trials start a process each, on whatever else the machine does. */
const TRIAL_MS = 60_000;
const folders: string[] = [];

afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** The first rule that a mutant breaks within some seeds; null where it breaks none. */
async function verdictOf(mutant: Mutant, seeds: number): Promise<{ rule: string } | null> {
  const folder = await mutantCopy(mutant);
  folders.push(folder);
  const head = "Deno" in globalThis ? ["run", "-A"] : [];
  const script = join(folder, "sim/masters/trial.ts");
  const { stdout, stderr } = spawnSync(process.execPath, [...head, script, String(seeds)]);
  try {
    return JSON.parse(String(stdout));
  } catch {
    throw new Error(`the trial says nothing: ${stderr}`);
  }
}

test("seeds within the bound and beyond it break no rule, and contests are met", async () => {
  const results: MastersResult[] = [];
  for (let seed = 1; seed <= 40; seed++) results.push(await playMasters(makeMastersPlan(seed)));
  expect(results.flatMap(({ seed, violations }) => violations.map((it) => ({ seed, ...it }))))
    .toEqual([]);
  const sum = (of: (result: MastersResult) => number) =>
    results.reduce((total, result) => total + of(result), 0);
  expect(sum(({ contests }) => contests)).toBeGreaterThan(50);
  expect(sum(({ conflictsLost }) => conflictsLost)).toBeGreaterThan(5);
  expect(sum(({ answered }) => answered)).toBeGreaterThan(1_000);
}, TRIAL_MS);

test("a seed plays the same each time", async () => {
  const [one, two] = [await playMasters(makeMastersPlan(5)), await playMasters(makeMastersPlan(5))];
  expect(one.hash).toBe(two.hash);
});

test.for(MASTERS_MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
  "each edit of %s fits once",
  ([, { edits }]) => {
    for (const edit of edits) applyEdit(readFileSync(ROOT + edit.file, "utf8"), edit);
  },
);

describe("trials", { timeout: TRIAL_MS }, () => {
  test.for([["no_bound", "one owner"], ["no_withdrawal", "withdrawn"], [
    "contest_hidden",
    "shown",
  ]])("%s is caught by the rule: %s", async ([name, rule]) => {
    const mutant = MASTERS_MUTANTS.find((it) => it.name === name) as Mutant;
    expect(await verdictOf(mutant, 60)).toMatchObject({ rule });
  });
});
