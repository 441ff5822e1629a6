/**
 * Mutants: the edits of each fit the source, each is caught where it should be, and unchanged code
 * is not.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { parseArguments } from "../../sim/cli/arguments.ts";
import { applyEdit, ROOT } from "../../sim/mutants/copy.ts";
import { CONTROLS, type Mutant, worldOf } from "../../sim/mutants/mutant.ts";
import { mutantOf, MUTANTS } from "../../sim/mutants/mutants.ts";
import { SCENARIOS } from "../../sim/mutants/scenarios.ts";
import { document, isRight, outcomeLine } from "../../sim/cli/mutant_table.ts";
import { tryMutant } from "../../sim/mutants/trials.ts";
import type { WorldName } from "../../sim/plan/plan.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

/** Each trial starts a process, on a machine that may be busy. */
const TRIAL_MS = 300_000;

describe("the table", () => {
  test("every mutant has a unique name", () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.length).toBeGreaterThanOrEqual(31);
  });

  test.for(MUTANTS.map(({ name }) => name))("each edit of %s fits once", (name) => {
    const sources = new Map<string, string>();
    for (const edit of mutantOf(name).edits) {
      const before = sources.get(edit.file) ?? readFileSync(ROOT + edit.file, "utf8");
      const after = applyEdit(before, edit);
      expect(after).not.toBe(before);
      sources.set(edit.file, after);
    }
  });

  test("an edit that fits twice or not at all is refused", () => {
    const edit = { file: "a.ts", find: "x", replace: "y" };
    expect(() => applyEdit("xx", edit)).toThrow("a.ts has this 2 times");
    expect(() => applyEdit("", edit)).toThrow("a.ts has this 0 times");
  });

  test("each mutant's scenario exists, and each scenario belongs to a mutant", () => {
    const used = MUTANTS.flatMap(({ scenario }) => scenario ?? []);
    expect([...new Set(used)].sort()).toEqual(Object.keys(SCENARIOS).sort());
  });

  test("the table shows which rule caught a mutant, and marks one that none caught", () => {
    const mutant = mutantOf("early_takeover");
    const verdict = { rule: "answers", message: "…", seed: 7, scenario: null };
    const caught = { mutant, verdict, trouble: null };
    const free = { mutant, verdict: null, trouble: null };
    expect(outcomeLine(caught)).toMatch(/^early_takeover +answers +seed 7$/);
    expect(document([caught, free])).toContain("| **nobody** | - |");
    expect([caught, free].map(isRight)).toEqual([true, false]);
    const control = CONTROLS[0] as Mutant;
    expect([{ ...free, mutant: control }, { ...caught, mutant: control }].map(isRight))
      .toEqual([true, false]);
    expect(isRight({ ...free, trouble: "it can't run" })).toBe(false);
  });
});

test.for(Object.keys(SCENARIOS))("the unchanged protocol passes %s", async (name) => {
  const plan = SCENARIOS[name];
  const { violations, answered } = await runPlan(plan as NonNullable<typeof plan>);
  expect(violations).toEqual([]);
  expect(answered).toBeGreaterThan(0);
});

/** The rule that mutants with a scenario break, by world; and mutants that break another one. */
const RULES: Partial<Record<WorldName, string>> = {
  resources: "single owner",
  regions: "single owner",
  masters: "one owner",
  offline: "healing",
};
const OTHERS: Readonly<Record<string, string>> = {
  silence_overtaken: "fifo",
  lease_checked_by_one_clock: "answers",
  failed_renewal_waits: "needless lapse",
  name_taken_from_the_living: "name kept",
  released_is_forgotten: "losses",
  later_turn_covers_all: "losses",
  work_joins_turns: "once",
  full_renews_nothing: "needless lapse",
};

describe("trials", { timeout: TRIAL_MS }, () => {
  test("random faults catch a claim without compare-and-set", async () => {
    const verdict = await tryMutant(mutantOf("no_compare_and_set"), 20);
    expect(verdict?.seed).toBeGreaterThan(0);
  });

  test.for(MUTANTS.filter(({ scenario }) => scenario !== undefined).map(({ name }) => name))(
    "the mutant's scenario catches %s",
    async (name) => {
      const verdict = await tryMutant(mutantOf(name), 0);
      expect(verdict?.rule).toBe(OTHERS[name] ?? RULES[worldOf(mutantOf(name))]);
      expect(verdict?.scenario).toBe(mutantOf(name).scenario);
    },
  );

  test("random faults catch code that is dropped early, in the market", async () => {
    const verdict = await tryMutant(mutantOf("old_code_dropped_early"), 20);
    expect(verdict?.seed).toBeGreaterThan(0);
  });

  test.for(CONTROLS.map((control) => [worldOf(control), control] as const))(
    "no rule is broken by unchanged code in the world of %s",
    async ([, control]) => {
      expect(await tryMutant(control, 20)).toBeNull();
    },
  );

  test("a mutant that can't run proves nothing, and leaves no folder", async () => {
    const broken = {
      name: `broken-${crypto.randomUUID()}`,
      about: "It is no TypeScript.",
      edits: [{
        file: "sim/draw/draw_resources.ts",
        find: "const END_AT",
        replace: "const const END_AT",
      }],
    };
    const folders = () =>
      readdirSync(tmpdir()).filter((it) => it.startsWith(`atlas-mutant-${broken.name}`));
    await expect(tryMutant(broken, 1)).rejects.toThrow(/the trial ended with 1: .*Error/i);
    expect(folders()).toEqual([]);
  });
});

describe("the command line", () => {
  test("--mutants selects all mutants, --mutant one", () => {
    expect(parseArguments(["--mutants", "--write"])).toMatchObject({
      areMutants: true,
      isWritten: true,
    });
    expect(parseArguments(["--mutant", "epoch_reused"])).toMatchObject({
      mutant: "epoch_reused",
      seeds: 500,
    });
  });

  test.for(
    [
      [["--mutants", "--seed", "1"], "--mutants excludes every other task"],
      [["--mutants", "--mutant", "a"], "--mutants excludes every other task"],
      [["--write"], "--write goes with --mutants only"],
    ] as const,
  )("refuses %j", ([words, why]) => {
    expect(() => parseArguments(words)).toThrow(why);
  });

  test("an unknown mutant is refused with the list of all", () => {
    expect(() => mutantOf("none")).toThrow(
      'no mutant is called "none"; there are: no_self_fencing',
    );
  });
});

test("the docs list every mutant", () => {
  const file = `${ROOT}docs/mutants.md`;
  expect(existsSync(file)).toBe(true);
  const text = readFileSync(file, "utf8");
  for (const { name } of MUTANTS) expect(text).toContain(`\`${name}\``);
  expect(text).not.toContain("nobody");
});
