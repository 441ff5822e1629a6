/**
 * A vitest reporter that writes the outcome of each test as JSON ({@link TestReport}) to
 * `ATLAS_TEST_REPORT`. vitest's own JSON report leaves out why a test was skipped.
 */
import { writeFileSync } from "node:fs";
import type { Reporter, TestCase } from "vitest/node";

export interface TestReport {
  passed: number;
  failed: number;
  /** Each skipped test with its reason, where it gave one. */
  skipped: { name: string; reason: string }[];
  /** What failed, and why: tests, and files and suites that failed outside of a test. */
  failures: string[];
}

/** The most characters of a message in the report. */
const MAX_WHY = 500;

type RunEnd = Parameters<NonNullable<Reporter["onTestRunEnd"]>>;

export default class Tally implements Reporter {
  onTestRunEnd(...[modules, errors]: RunEnd): void {
    const report: TestReport = { passed: 0, failed: 0, skipped: [], failures: [] };
    for (const module of modules) {
      if (module.errors().length > 0) fail(report, module.relativeModuleId, module.errors());
      for (const suite of module.children.allSuites()) {
        const name = `${module.relativeModuleId} > ${suite.fullName}`;
        if (suite.errors().length > 0) fail(report, name, suite.errors());
      }
      for (const test of module.children.allTests()) {
        const name = `${module.relativeModuleId} > ${test.fullName}`;
        const result = test.result();
        if (result.state === "passed") report.passed += 1;
        else if (result.state === "skipped") {
          report.skipped.push({ name, reason: result.note ?? reasonOf(test) });
        } else fail(report, name, result.errors ?? []);
      }
    }
    for (const error of errors) fail(report, "unhandled", [error]);
    const file = process.env["ATLAS_TEST_REPORT"];
    if (file) writeFileSync(file, JSON.stringify(report));
  }
}

/** The reason in the options of a test or of its suite (test/support/unless.ts). */
function reasonOf(test: TestCase): string {
  const { reason } = test.meta() as { reason?: string };
  return reason ?? "no reason given";
}

function fail(report: TestReport, name: string, errors: Iterable<{ message: string }>): void {
  report.failed += 1;
  // In one line, so that the end of a log is enough to find the failure.
  const why = Array.from(errors, ({ message }) => message.replace(/\s+/g, " ").slice(0, MAX_WHY));
  report.failures.push([name, ...why].join(": "));
}
