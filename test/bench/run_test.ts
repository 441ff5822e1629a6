/** The command line of the benches, and how figures and rates are computed. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { figure, median, rateOf } from "../../bench/kit.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(`${ROOT}node_modules/.bin/bun`, ["run", "bench/run.ts", ...args], {
    cwd: ROOT,
    encoding: "utf8",
  });
}

test("--list names each bench with what it measures", () => {
  const { status, stdout } = bench("--list");
  expect(status).toBe(0);
  expect(stdout.match(/^\w+/gm)).toEqual([
    "calls",
    "modules",
    "local",
    "claims",
    "upstash",
    "memory",
  ]);
});

test("--help shows the usage", () => {
  const { status, stdout } = bench("--help");
  expect(status).toBe(0);
  expect(stdout).toContain("--json");
});

test("an unknown bench or option is bad usage, and the error names the known ones", () => {
  const unknown = bench("speed");
  expect(unknown.status).toBe(2);
  expect(unknown.stderr).toMatch(
    /no bench named speed; there are: calls modules local claims upstash memory/,
  );
  expect(bench("--fast").status).toBe(2);
});

test("a figure has both medians and their ratio", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  const about = { bench: "b", metric: "m", unit: "u", peer: "p", runtime: "r" };
  expect(figure(about, [100, 300, 200], [50, 60, 50])).toEqual({
    ...about,
    value: 200,
    peerValue: 50,
    ratio: 4,
    runs: 3,
  });
});

test("a rate makes each call once, and no more than allowed at a time", async () => {
  const seen: number[] = [];
  let now = 0;
  let most = 0;
  await rateOf(100, 7, async (n) => {
    most = Math.max(most, ++now);
    seen.push(n);
    await Promise.resolve();
    now -= 1;
  });
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(most).toBe(7);
});
