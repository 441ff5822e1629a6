/**
 * `npm run sim`: its flags, its output and its exit codes, in separate processes. If a bug is
 * needed, a checker that always reports stands in for one.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Edit, parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { ROOT, withCopy } from "../../sim/mutants/copy.ts";
import { slowPaths } from "./slow_paths.ts";

const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  bun: [`${ROOT}node_modules/.bin/bun`],
  deno: [`${ROOT}node_modules/.bin/deno`, "run", "-A"],
  node: [`${ROOT}node_modules/node24/bin/node`],
};
const SCORE =
  /^\d+ seeds, [\d.]+ virtual (?:seconds|hours), \d+ events, .* faults: .*; \d+ violations; /;

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly last: string;
}

/** Runs the simulator with some flags, by default on Bun like `npm run sim`. */
function sim(flags: readonly string[], runtime = "bun", cwd = ROOT): Promise<Outcome> {
  const [program = "", ...head] = RUNTIMES[runtime] ?? [];
  const child = spawn(program, [...head, "sim/cli/run.ts", ...flags], { cwd });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => out += chunk);
  child.stderr.on("data", (chunk) => err += chunk);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code, out, err, last: out.trimEnd().split("\n").at(-1) ?? "" });
    });
  });
}

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "atlas-sim-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("one seed prints its trace, the total last, and exits with 0", async () => {
  const { code, out, last } = await sim(["--seed", "3"]);
  expect(out).toMatch(/^trace [0-9a-f]{16}$/m);
  expect(last).toMatch(SCORE);
  expect(last).toContain("; 0 violations; ");
  expect(code).toBe(0);
});

test("many seeds are distributed among workers, from the first requested one on", async () => {
  const { code, last } = await sim(["--seeds", "7", "--from", "4", "--workers", "2"]);
  expect(last).toMatch(SCORE);
  expect(last).toMatch(/^7 seeds, /);
  expect(code).toBe(0);
});

test("a run ends with its total when its time is up", async () => {
  const { code, last } = await sim(["--minutes", "0.01"]);
  expect(last).toMatch(SCORE);
  expect(code).toBe(0);
});

test.for(["--help", "--seeds 5 --help"])(
  "%s prints the usage, runs nothing and ends with 0",
  async (flags) => {
    const { code, out, err } = await sim(flags.split(" "));
    expect(out).toMatch(/^usage: npm run sim -- \[FLAGS\]\n/);
    expect(out).toContain("resources, regions, market, masters or offline");
    expect(err).toBe("");
    expect(code).toBe(0);
  },
);

test.for(
  [
    [["--huh"], "--huh is not known"],
    [["--seed", "x"], '--seed is "x", it must be a number from 0'],
    [["--seeds"], '--seeds is "", it must be a number from 1'],
    [["--seed", "3", "--plan", "f"], "--seed and --plan exclude each other"],
    [["--plan", "no/such/file"], "--plan no/such/file: "],
    [["--keep", ""], "--keep needs the name of a file"],
  ] as const,
)("%s is bad usage", async ([flags, message]) => {
  const { code, err, out } = await sim(flags);
  expect(err.startsWith(message), err).toBe(true);
  expect(out).toBe("");
  expect(code).toBe(2);
});

test("a plan that breaks a rule is printed, shrunk and kept, and breaks the rule again", async () => {
  const file = join(folder, "plan.json");
  const kept = join(folder, "kept.json");
  const schedule = { bug: "b", rule: "r", message: "m", from: "f", edits: [], plan: slowPaths() };
  writeFileSync(file, printSchedule(schedule));
  const { code, out, last } = await sim(["--plan", file, "--keep", kept]);
  expect(out).toMatch(/^violation at [\d.]+ ms: healing: probe /m);
  expect(out).toContain(`replay: npm run sim -- --plan ${file}\n`);
  expect(out).toMatch(/^shape: seed=1 nodes=\d /m);
  expect(out).toMatch(/^ +[\d.]+ {2}fault {2}\w+ +a=\d b=\d /m);
  expect(out).toMatch(/^the last of \d+ events:$/m);
  expect(out).toContain("VIOLATION healing probe");
  expect(out).toMatch(/^shrunk to 0 of \d+ faults and 0 of \d+ lines of work by running /m);
  expect(out).toContain(`kept; replay: npm run sim -- --plan ${kept}\n`);
  expect(last).toMatch(SCORE);
  expect(code).toBe(1);

  const small = parseSchedule(readFileSync(kept, "utf8"));
  expect(small).toMatchObject({ rule: "healing", plan: { faults: [], work: [] } });
  const again = await sim(["--plan", kept, "--no-shrink"]);
  expect(again.out).toContain(small.message);
  expect(again.out).not.toContain("shrunk to");
  expect(again.code).toBe(1);
});

/** Replaces the checker `bounded` by one that only runs `code`, late in seed 3. */
function planted(code: string): readonly Edit[] {
  const find = "export const bounded: LiveChecker = {";
  const replace = `export const bounded = {
    name: "bounded",
    watch({ plan }, report) {
      let events = 0;
      return { stepped() { if (plan.seed === 3 && ++events === 500) { ${code} } } };
    },
  };
  const replaced = {`;
  return [{ file: "sim/checkers/healing.ts", find, replace }];
}

test("of many seeds the one that breaks a rule is named, printed in full and shrunk", async () => {
  await withCopy("planted", planted('report("too much");'), async (copy) => {
    const { code, out, last } = await sim(["--world", "resources", "--seeds", "6"], "bun", copy);
    expect(out).toContain("seed 3: bounded: too much\n  replay: npm run sim -- --seed 3\n");
    expect(out).toContain("\nseed 3 in full:\n");
    expect(out).toContain("shrunk to 0 of ");
    expect(last).toMatch(/^6 seeds, .*; 1 violations; /);
    expect(code).toBe(1);
  });
});

const present = Object.keys(RUNTIMES).filter((name) => existsSync(RUNTIMES[name]?.[0] ?? ""));
const missing = Object.keys(RUNTIMES).filter((name) => !present.includes(name));
const title = missing.length > 0 ? ` (skipped, not installed: ${missing.join(", ")})` : "";

test.for<[string, string, string]>([
  ["a rejection that nobody handles", 'Promise.reject(new Error("lost"));', "unhandled rejection"],
  ["a thrown error", 'throw new Error("lost");', "uncaught error"],
])(`%s is a violation of its seed, the same on every runtime${title}`, async ([, code, what]) => {
  await withCopy("planted", planted(code), async (copy) => {
    const traces = await Promise.all(present.map(async (runtime) => {
      const world = ["--world", "resources"];
      const flags = [...world, "--seeds", "4", "--workers", "1", "--no-shrink"];
      const many = await sim(flags, runtime, copy);
      expect(many.out, runtime).toContain(`seed 3: unhandled: ${what}: lost\n`);
      expect(many.last, runtime).toMatch(/^4 seeds, .*; 1 violations; /);
      expect(many.code, runtime).toBe(1);
      const one = await sim([...world, "--seed", "3", "--no-shrink"], runtime, copy);
      expect(one.out, runtime).toContain(` ms: unhandled: ${what}: lost\n`);
      expect(one.code, runtime).toBe(1);
      return /^trace ([0-9a-f]{16})$/m.exec(one.out)?.[1];
    }));
    expect(new Set(traces).size, String(traces)).toBe(1);
  });
});
