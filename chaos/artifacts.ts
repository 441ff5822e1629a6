/**
 * Writes the artifacts of a failed round to a folder: violations, history, schedule and process
 * logs. Prints a summary first.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CallRecord, Entry } from "../sim/engine/history.ts";
import type { Fault } from "./plan.ts";
import type { Violation } from "./report.ts";
import type { FaultRunner } from "./fault_runner.ts";

export interface Artifacts {
  readonly seed: number;
  readonly round: number;
  readonly faults: readonly Fault[];
  readonly calls: readonly CallRecord[];
  readonly journals: ReadonlyMap<string, readonly Entry[]>;
  readonly violations: readonly Violation[];
}

/** The number of violations and records that are printed; the folder has all of them. */
const MOST_SHOWN = 10;

/** Prints a failed round and keeps it. Gives the folder's path. */
export function keepArtifacts(artifacts: Artifacts, runner: FaultRunner): string {
  const folder = mkdtempSync(join(tmpdir(), "atlas-chaos-"));
  const { seed, round, faults, calls, journals, violations } = artifacts;
  const write = (name: string, value: unknown): void =>
    writeFileSync(join(folder, name), JSON.stringify(value, null, 1));
  write("schedule.json", { seed, round, faults, log: runner.log });
  write("violations.json", violations);
  writeFileSync(join(folder, "calls.jsonl"), calls.map((it) => `${line(it)}\n`).join(""));
  write("journals.json", Object.fromEntries(journals));
  for (const { programs } of runner.nodes) {
    for (const { id, program } of programs) {
      writeFileSync(join(folder, `${id.replace("#", "_")}.log`), program.output.stderr);
    }
  }
  console.error(`\nseed ${seed}, round ${round}: ${violations.length} violations`);
  for (const violation of violations.slice(0, MOST_SHOWN)) show(violation, calls);
  console.error("what was done (ms of the run's clock):");
  for (const { at, what } of runner.log) console.error(`  ${at.toFixed(0).padStart(8)} ${what}`);
  console.error(`schedule: ${JSON.stringify(faults)}`);
  console.error(`history, schedule and logs: ${folder}`);
  return folder;
}

function show({ rule, message, at }: Violation, calls: readonly CallRecord[]): void {
  console.error(`VIOLATION of ${rule} at ${at.toFixed(0)}: ${message}`);
  const ids = new Set(
    [...message.matchAll(/\b(?:call|read|lookup) (\d+)/g)].map(([, id]) => Number(id)),
  );
  const values = new Set(message.match(/\bv\d+\b/g));
  const concerned = calls.filter(({ id, value }) => ids.has(id) || values.has(value));
  for (const record of concerned.slice(0, MOST_SHOWN)) console.error(`  ${line(record)}`);
}

/** JSON has no Infinity: for a call that never returned, `returnedAt` is null. */
function line(record: CallRecord): string {
  return JSON.stringify(record);
}
