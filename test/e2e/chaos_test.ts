/**
 * A short chaos run: real nodes of all runtimes under SIGKILL, SIGSTOP, drains and, if Redis is
 * installed, faults of a Redis. `npm run chaos` is the same for longer.
 */
import { afterEach, expect, test } from "vitest";
import { redisMissing, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { endAll, runScript } from "./process.ts";

/** A run of 21 s, with a seed that has many kinds of faults. */
const ARGS = ["--minutes", "0.35", "--seed", "1", "--json"];

warnIfRedisMissing("chaos on Redis, a SQLite file is used");
afterEach(endAll);

test(
  "no acknowledged write is lost under random faults",
  { timeout: 180_000 },
  () => runChaos(redisMissing ? "file" : "redis"),
);

test(
  "no acknowledged write is lost when sentinels promote replicas",
  { timeout: 240_000, ...unless(redisMissing) },
  () => runChaos("sentinel"),
);

async function runChaos(store: string): Promise<void> {
  const program = runScript("bun", "chaos/run.ts", {}, [...ARGS, "--store", store]);
  const status = await program.ended;
  expect(status, program.output.stderr).toBe(0);
  const summary = JSON.parse(program.output.stdout.trimEnd().split("\n").at(-1) as string);
  expect(summary).toMatchObject({ store, seed: 1, violations: 0 });
  expect(summary.acknowledged).toBeGreaterThan(100);
  expect(summary.lostAndTold).toBe(0);
  expect(Object.keys(summary.faults).length).toBeGreaterThan(2);
}

test("invalid arguments end in one line with the reason", async () => {
  const program = runScript("bun", "chaos/run.ts", {}, ["--minutes", "none"]);
  expect(await program.ended).toBe(2);
  expect(program.output.stderr).toContain("--minutes is none: it must be a number above 0");
});
