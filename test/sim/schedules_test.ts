/**
 * Kept schedules: each broke a rule before its bug was fixed, and has broken none since.
 * `with_bug.ts` brings the bugs back and shows that the schedules would find them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { HISTORY_CHECKERS, LIVE_CHECKERS } from "../../sim/checkers/all.ts";
import { MARKET_CHECKERS } from "../../sim/market/checkers/all.ts";
import { parseSchedule, printSchedule } from "../../sim/draw/schedule.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";
import { slowPaths } from "./slow_paths.ts";

const FOLDER = fileURLToPath(new URL("schedules", import.meta.url));
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json")).sort();
const rules = [...LIVE_CHECKERS, ...HISTORY_CHECKERS, ...MARKET_CHECKERS].map(({ name }) => name);

test.for(files)("%s breaks no rule any more", async (file) => {
  const { bug, rule, message, edits, plan } = parseSchedule(
    readFileSync(join(FOLDER, file), "utf8"),
  );
  expect(bug).not.toBe("");
  expect(message).not.toBe("");
  expect(rules).toContain(rule);
  expect(edits.length).toBeGreaterThan(0);
  expect((await runPlan(plan)).violations).toEqual([]);
});

test("a schedule stays the same when it is written and read", () => {
  const schedule = { bug: "b", rule: "r", message: "m", from: "f", edits: [], plan: slowPaths() };
  expect(parseSchedule(printSchedule(schedule))).toEqual(schedule);
});

test("a plan alone is a schedule, and missing fields get their defaults", () => {
  const faults = [{ at: 5, kind: "crash" }];
  const { bug, plan } = parseSchedule(JSON.stringify({ shape: { nodes: 2 }, faults }));
  expect(bug).toBe("");
  expect(plan.shape).toMatchObject({ nodes: 2, keys: 1, linkConditions: { loss: 0 } });
  expect(plan.faults).toEqual([{ at: 5, kind: "crash", a: 0, b: 0, ms: 0, x: 0 }]);
});

test.for(
  [
    ["{", /^it is not JSON: /],
    ["3", /^the schedule is 3, it must be an object$/],
    ['{"plan":{"faults":{}}}', /^plan\.faults is {}, it must be a list$/],
    ['{"plan":{"work":[{"at":"soon"}]}}', /^plan\.work\[0\]\.at is "soon", it must be a number$/],
    [
      '{"plan":{"shape":{"linkConditions":{"loss":[]}}}}',
      /^plan\.shape\.linkConditions\.loss is \[\], it must be/,
    ],
    ['{"shape":{"nodes":0}}', /^plan\.shape\.nodes is 0, it must be a whole number from 1$/],
    ['{"plan":{"faults":[{"kind":"flood"}]}}', /^no fault is called flood; there are: .*crash/],
  ] as const,
)("%s is refused", ([text, message]) => {
  expect(() => parseSchedule(text)).toThrow(message);
});
