/** A seed gives the same trace in each world on Bun, Deno and Node, each in its own process. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { WORLDS } from "../../sim/plan/plan.ts";

const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  bun: ["node_modules/.bin/bun"],
  deno: ["node_modules/.bin/deno", "run", "-A"],
  node: ["node_modules/node24/bin/node"],
};
const SEEDS = [3, 4];

function trace(command: readonly string[], seed: number): Promise<string> {
  const [program = "", ...flags] = command;
  return new Promise((resolve, reject) =>
    execFile(program, [...flags, "sim/cli/run.ts", "--seed", String(seed)], (error, out) => {
      const hashes = [...out.matchAll(/^trace ([0-9a-f]{16})$/gm)].map(([, hash]) => hash);
      if (hashes.length === WORLDS.length) resolve(hashes.join(" "));
      else reject(error ?? new Error(`no trace in ${out}`));
    })
  );
}

const present = Object.entries(RUNTIMES).filter(([, [program = ""]]) => existsSync(program));
const missing = Object.keys(RUNTIMES).filter((name) => !present.some(([other]) => other === name));
const title = missing.length > 0 ? ` (skipped, not installed: ${missing.join(", ")})` : "";

test(`the same traces on every runtime${title}`, async () => {
  for (const seed of SEEDS) {
    const traces = await Promise.all(present.map(([, command]) => trace(command, seed)));
    expect(new Set(traces).size, `seed ${seed}: ${traces}`).toBe(1);
  }
}, 300_000);
