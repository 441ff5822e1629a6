/** The command line of the benches, and how figures and rates are computed. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { figure, type Goal, inTurns, median, meetsGoal, rateOf } from "../../bench/kit.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const NAMES = [
  "http",
  "calls",
  "modules",
  "local",
  "writes",
  "claims",
  "upstash",
  "fanout",
  "sockets",
  "memory",
  "start",
];

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(`${ROOT}node_modules/.bin/bun`, ["run", "bench/run.ts", ...args], {
    cwd: ROOT,
    encoding: "utf8",
  });
}

test("--list names each bench with what it measures", () => {
  const { status, stdout } = bench("--list");
  expect(status).toBe(0);
  expect(stdout.match(/^\w+/gm)).toEqual(NAMES);
  expect(stdout).toMatch(/^http .*\(bun node deno\)$/m);
});

test("--help shows the usage", () => {
  const { status, stdout } = bench("--help");
  expect(status).toBe(0);
  expect(stdout).toContain("--json");
});

test("an unknown bench, runtime or option is bad usage, and the error names the known ones", () => {
  const unknown = bench("speed");
  expect(unknown.status).toBe(2);
  expect(unknown.stderr).toContain(`no bench named speed; there are: ${NAMES.join(" ")}`);
  const strange = bench("--runtime", "rhino");
  expect(strange.status).toBe(2);
  expect(strange.stderr).toMatch(/--runtime rhino is unknown, use: node bun deno/);
  expect(bench("--fast").status).toBe(2);
  expect(bench("--check", "--write").status).toBe(2);
});

const ABOUT = { bench: "b", metric: "m", unit: "u", peer: "p", runtime: "r" };

test("a figure has both medians and their ratio", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(figure(ABOUT, [100, 300, 200], [50, 60, 50])).toEqual({
    ...ABOUT,
    value: 200,
    peerValue: 50,
    ratio: 4,
    better: "more",
    isFloor: true,
    runs: 3,
  });
});

test("a goal bounds the ratio, the value, or the value less the peer's", () => {
  const reaches = (goal: Goal) => meetsGoal(figure({ ...ABOUT, goal }, [80], [100]));
  expect(reaches({ of: "ratio", least: 0.8 })).toBe(true);
  expect(reaches({ of: "ratio", least: 0.81 })).toBe(false);
  expect(reaches({ of: "value", most: 80 })).toBe(true);
  expect(reaches({ of: "value", most: 79 })).toBe(false);
  expect(reaches({ of: "difference", most: -20 })).toBe(true);
  expect(meetsGoal(figure(ABOUT, [80], [100]))).toBe(null);
});

test("sides are measured in turns, and each round begins with the next side", async () => {
  const order: string[] = [];
  const side = (name: string) => () => Promise.resolve(order.push(name));
  const [a, b] = await inTurns(3, [side("a"), side("b")]);
  expect(order).toEqual(["a", "b", "b", "a", "a", "b"]);
  expect([a, b]).toEqual([[1, 4, 5], [2, 3, 6]]);
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
