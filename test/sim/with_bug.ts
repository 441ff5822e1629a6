/**
 * Brings a fixed bug back in a copy of the sources, and runs its kept schedule there, to show that
 * the schedule still finds it. It is not part of the tests, because the sources change:
 *
 *     bun test/sim/with_bug.ts [FILE…]
 *
 * Takes schedules whose edits fit the present sources; without arguments all kept ones. Prints for
 * each whether its rule was broken. Exits with 1 if one was not broken, or an edit doesn't fit.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseSchedule } from "../../sim/draw/schedule.ts";
import { ROOT, withCopy } from "../../sim/mutants/copy.ts";

const SCHEDULES = join(ROOT, "test/sim/schedules");

/** Whether a schedule breaks its rule with its bug back in. @throws if its edits don't fit */
function isFound(file: string): Promise<boolean> {
  const { rule, edits } = parseSchedule(readFileSync(file, "utf8"));
  return withCopy("bug", edits, (folder) => {
    const head = "Deno" in globalThis ? ["run", "-A"] : [];
    const flags = [...head, "sim/cli/run.ts", "--plan", resolve(file), "--no-shrink"];
    const { status, stdout } = spawnSync(process.execPath, flags, { cwd: folder });
    return status === 1 && String(stdout).includes(` ms: ${rule}: `);
  });
}

async function main(asked: readonly string[]): Promise<number> {
  const all = readdirSync(SCHEDULES).filter((name) => name.endsWith(".json")).sort();
  const files = asked.length > 0 ? asked : all.map((name) => join(SCHEDULES, name));
  let missed = 0;
  for (const file of files) {
    const what = await isFound(file).then(
      (found) => found ? "found" : "not found",
      (error: Error) => error.message,
    );
    if (what !== "found") missed++;
    console.log(`${file}: ${what}`);
  }
  return missed > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
