/**
 * A few seconds of hostile input of each part to a real node on each runtime, of one seed.
 * `npm run fuzz` is the same for longer.
 */
import { afterEach, describe, expect, test } from "vitest";
import { unmeasurable } from "../../fuzz/watch.ts";
import { redisMissing, warnIfRedisMissing } from "../support/redis.ts";
import { endAll, type Program, runScript, type RuntimeName } from "./process.ts";
import { unless } from "../support/unless.ts";

warnIfRedisMissing("hostile rows in Redis, and a registry by HTTP that lies");
if (unmeasurable !== null) console.warn(`skipped: hostile input: ${unmeasurable}`);
afterEach(endAll);

const PARTS = ["http", "chunks", "sockets", "links", "rows", "upstash"];

function fuzz(...words: string[]): Program {
  return runScript("node", "fuzz/run.ts", {}, words);
}

describe.each<RuntimeName>(["bun", "deno", "node"])(
  "a node on %s stays within its bounds",
  unless(unmeasurable),
  (runtime) => {
    const parts = PARTS.filter((part) => part !== "upstash" || !redisMissing);
    test.each(parts)("under hostile input of the part %s", async (part) => {
      const program = fuzz(
        "--runtime",
        runtime,
        "--part",
        part,
        "--minutes",
        "0.03",
        "--seed",
        "1",
        // The node's delay isn't checked, because this machine may be busy.
        "--delay",
        "60000",
      );
      const status = await program.ended;
      expect(status, program.output.stderr).toBe(0);
      const rows = program.output.stdout.trim().split("\n").slice(1);
      expect(rows.length).toBe(part === "rows" && !redisMissing ? 2 : 1);
      for (const row of rows) expect(row).toMatch(new RegExp(`^${runtime} +${part}\\b.* nothing$`));
    });
  },
);

test.each([
  [["--runtime", "python"], "--runtime is python: use bun, deno, node"],
  [["--runtime", "bun", "--part", "rain"], "--part is rain: use http, chunks,"],
  [["--runtime", "bun", "--minutes", "none"], "--minutes is none: it must be a number above 0"],
  [["--runtime", "bun", "--seed", "x"], "--seed is x: it must be a whole number from 0"],
  [[], "--runtime is missing"],
])("bad usage %j is one clear line", async (words, line) => {
  const program = fuzz(...words);
  expect(await program.ended).toBe(2);
  expect(program.output.stderr).toContain(line);
});
