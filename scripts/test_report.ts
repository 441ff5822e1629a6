/**
 * A tally clerk beside vitest: writes what became of each test to a file.
 *
 * Takes vitest's results; gives JSON of {@link TestReport} at `ATLAS_TEST_REPORT`.
 * vitest's own JSON report leaves out why a test was skipped.
 */
import { writeFileSync } from "node:fs";
import type { Reporter } from "vitest/node";

export interface TestReport {
  passed: number;
  failed: number;
  /** Each skipped test with its reason, where it gave one. */
  skipped: { name: string; reason: string }[];
  /** Names of what failed, files that could not be loaded included. */
  failures: string[];
}

type RunEnd = Parameters<NonNullable<Reporter["onTestRunEnd"]>>;

export default class Tally implements Reporter {
  onTestRunEnd(...[modules, errors]: RunEnd): void {
    const report: TestReport = { passed: 0, failed: 0, skipped: [], failures: [] };
    for (const module of modules) {
      // A file or a describe that broke outside any test.
      const broken = [module, ...module.children.allSuites()].filter((it) =>
        it.errors().length > 0
      );
      for (const it of broken) {
        fail(report, "fullName" in it ? it.fullName : module.relativeModuleId);
      }
      for (const test of module.children.allTests()) {
        const name = `${module.relativeModuleId} > ${test.fullName}`;
        const result = test.result();
        if (result.state === "passed") report.passed += 1;
        else if (result.state === "skipped") {
          report.skipped.push({ name, reason: result.note ?? "no reason given" });
        } else fail(report, name);
      }
    }
    for (const error of errors) fail(report, `unhandled: ${error.message}`);
    const file = process.env["ATLAS_TEST_REPORT"];
    if (file) writeFileSync(file, JSON.stringify(report));
  }
}

function fail(report: TestReport, name: string): void {
  report.failed += 1;
  report.failures.push(name);
}
