/**
 * `npm test`: runs all tests on Node, then the runtime-dependent ones on Bun and Deno.
 *
 * Takes `[--runtime NAME]… [test files or folders…]`; prints each runtime's tests, what was skipped
 * and why, and last `N passed, N failed[, N skipped]`. Exits with 1 if a test failed or a runtime
 * ran none, 2 on bad usage.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT, type RuntimeCommand, RUNTIMES, versionOf } from "./runtimes.ts";
import type { TestReport } from "./test_report.ts";

/** The tests that run on every runtime; the rest tests code that is the same on all. */
const CONCERNS_EACH = ["test/conformance", "test/runtime", "test/http", "test/unit"];

const USAGE = `npm test -- [--runtime NAME]… [test files or folders…]

  --runtime  only on this runtime: ${RUNTIMES.map((it) => it.name).join(", ")}; default: on each`;

interface Outcome extends TestReport {
  title: string;
}

async function main(): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: { runtime: { type: "string", multiple: true } },
    });
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  const names = values.runtime ?? RUNTIMES.map((runtime) => runtime.name);
  const unknown = names.find((name) => !RUNTIMES.some((runtime) => runtime.name === name));
  if (unknown) {
    console.error(
      `--runtime ${unknown} is unknown, use: ${RUNTIMES.map((it) => it.name).join(" ")}`,
    );
    return 2;
  }
  const outcomes = [];
  for (const runtime of RUNTIMES.filter(({ name }) => names.includes(name))) {
    outcomes.push(await testOn(runtime, filesFor(runtime, positionals)));
  }
  return summary(outcomes);
}

function filesFor(runtime: RuntimeCommand, asked: string[]): string[] {
  if (asked.length > 0) return asked;
  if (runtime.name === "node") return [];
  return CONCERNS_EACH.filter((folder) => existsSync(ROOT + folder));
}

async function testOn(runtime: RuntimeCommand, files: string[]): Promise<Outcome> {
  const version = versionOf(runtime);
  const title = `${runtime.name} ${version ?? "(can't be started)"}`;
  console.log(`\n=== tests on ${title}`);
  const folder = mkdtempSync(join(tmpdir(), "atlas-test-"));
  const file = join(folder, "report.json");
  try {
    const [binary, ...args] = runtime.vitest as [string, ...string[]];
    const code = await run(binary, [
      ...args,
      "run",
      "--reporter=default",
      "--reporter=./scripts/test_report.ts",
      ...files,
    ], { ...process.env, ATLAS_TEST_REPORT: file, ATLAS_TEST_RUNTIME: runtime.name });
    return { title, ...reportOf(file, code) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The report, with a failure added where only vitest's exit code shows one. */
function reportOf(file: string, code: number): TestReport {
  const report: TestReport = existsSync(file)
    ? JSON.parse(readFileSync(file, "utf8"))
    : { passed: 0, failed: 0, skipped: [], failures: [] };
  if (report.failed > 0) return report;
  if (report.passed === 0) return { ...report, failed: 1, failures: ["no test ran"] };
  if (code !== 0) {
    return { ...report, failed: 1, failures: [`vitest ended with exit code ${code}`] };
  }
  return report;
}

function run(binary: string, args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(binary, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"], env });
    child.on("error", (error) => {
      console.error(`${binary} can't be started: ${error.message}`);
      resolve(1);
    });
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

function summary(outcomes: Outcome[]): number {
  console.log("");
  for (const { title, skipped } of outcomes) {
    for (const { name, reason } of skipped) console.log(`skipped on ${title}: ${name}: ${reason}`);
  }
  for (const { title, failures } of outcomes) {
    for (const name of failures) console.log(`FAILED on ${title}: ${name}`);
  }
  for (const { title, passed, failed, skipped } of outcomes) {
    console.log(`${title}: ${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  }
  const sum = (count: (outcome: Outcome) => number) =>
    outcomes.reduce((total, outcome) => total + count(outcome), 0);
  const failed = sum((outcome) => outcome.failed);
  const skipped = sum((outcome) => outcome.skipped.length);
  const tail = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`${sum((outcome) => outcome.passed)} passed, ${failed} failed${tail}`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
