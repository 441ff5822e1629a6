/** Unusual calls of a plan: each kind is drawn, and is answered as documented. */
import { expect, test } from "vitest";
import { chains } from "../../sim/checkers/calls.ts";
import type { CallRecord } from "../../sim/engine/history.ts";
import { makePlan } from "../../sim/draw/draw_resources.ts";
import type { Plan, Shape, WorkEvent } from "../../sim/plan/plan.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

test("plans have every kind of unusual call", () => {
  const plans = Array.from({ length: 60 }, (_, seed) => makePlan(seed));
  const work = plans.flatMap((plan) => plan.work);
  const has = (is: (event: WorkEvent) => unknown) => work.some(is);
  expect(has(({ path, isKeyed }) => path && isKeyed)).toBe(true);
  expect(has(({ path, key }) => path?.includes(key))).toBe(true);
  expect(has(({ giveUpMs }) => giveUpMs !== undefined)).toBe(true);
  expect(has(({ isConfirmed }) => isConfirmed)).toBe(true);
  expect(has(({ isEverywhere }) => isEverywhere)).toBe(true);
  expect(has(({ count }) => count > 8)).toBe(true);
  for (const behavior of ["gateways", "mailbox", "isReentrant"] as const) {
    expect(plans.some(({ shape }) => shape[behavior]), behavior).toBe(true);
    expect(plans.every(({ shape }) => shape[behavior]), behavior).toBe(false);
  }
  for (const { shape } of plans) expect(shape.gateways).toBeLessThan(shape.nodes);
});

const linkConditions = { baseMs: 1, jitterMs: 0, tail: 0, tailMs: 0, loss: 0, duplicates: 0 };

/** The plan of a cluster without faults and with these calls. */
function quiet(work: Partial<WorkEvent>, shape: Partial<Shape> = {}): Plan {
  const plan = makePlan(1);
  const { lease } = plan.shape;
  const store = { isStream: true, timeoutMs: 1_000 };
  const calm = { nodes: 3, keys: 2, lease, store, linkConditions, idleAfterMs: 60_000, drift: 0 };
  const usual = { at: 500, node: 0, client: 0, key: 0, count: 1, isKeyed: false, timeoutMs: 1_000 };
  return {
    ...plan,
    shape: { ...calm, ...shape },
    faults: [],
    work: [{ ...usual, what: "append", ...work }],
    healAt: 4_000,
    endAt: 14_000,
  };
}

/** The remarks about a plan's calls. */
async function remarks(plan: Plan): Promise<string[]> {
  const result = await runPlan(plan, { remarks: 4_000 });
  expect(result.violations).toEqual([]);
  const heal = result.remarks.findIndex((line) => line.endsWith("  heal"));
  return result.remarks.slice(0, heal).map((line) => line.replace(/^ *[\d.]+ {2}/, ""));
}

test.for<[string, Partial<WorkEvent>, Partial<Shape>, RegExp]>([
  ["a chain is answered by its last journal", { path: [1] }, {}, /^return 0 ok {2}0 \d+$/],
  [
    "a chain that returns to a busy journal is refused",
    { path: [0, 1] },
    {},
    /^return 0 info reentrant_call /,
  ],
  ["a chain that returns is answered if journals are reentrant", { path: [0, 1] }, {
    isReentrant: true,
  }, /^return 0 ok {2}0 /],
  ["an aborted call returns", { giveUpMs: 1 }, {}, /^return 0 fail timeout /],
  ["a full mailbox refuses calls", { count: 9 }, { mailbox: 4 }, /^return 8 fail overloaded /],
  ["a gateway forwards calls", { node: 2 }, { gateways: 1 }, /^return 0 ok {2}0 /],
  ["a lookup is confirmed", { what: "lookup", isConfirmed: true }, {}, /^return 0 ok {2}-1 0$/],
])("%s", async ([, work, shape, expected]) => {
  expect(await remarks(quiet(work, shape))).toContainEqual(expect.stringMatching(expected));
});

test("a burst of calls through every node gives one owner", async () => {
  const told = await remarks(quiet({ key: 7, count: 3, isEverywhere: true }));
  const epochs = told.flatMap((line) => /^return \d+ ok {2}\d+ (\d+)$/.exec(line)?.[1] ?? []);
  expect(epochs).toHaveLength(9);
  expect(new Set(epochs).size).toBe(1);
  expect(told.filter((line) => /^store \S+ claim$/.test(line)).length).toBeLessThanOrEqual(3);
});

test("the checker of chains finds a wrong answer and a wrong refusal", () => {
  const violationsOf = (call: Partial<CallRecord>): number => {
    let found = 0;
    const record = { id: 1, key: "a", idempotencyKey: null, code: null, ...call } as CallRecord;
    chains.check({ calls: [record], journals: new Map() }, () => void found++);
    return found;
  };
  expect(violationsOf({ via: ["a", "b"], outcome: "ok" })).toBe(1);
  expect(violationsOf({ via: ["a", "b"], outcome: "ok", mayReenter: true })).toBe(0);
  expect(violationsOf({ via: ["b"], outcome: "ok" })).toBe(0);
  expect(violationsOf({ via: ["b"], outcome: "info", code: "reentrant_call" })).toBe(1);
});
