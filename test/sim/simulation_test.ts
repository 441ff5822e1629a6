/**
 * The simulator itself: it is deterministic, breaks no rule, and its checkers accept correct
 * histories.
 */
import { expect, test } from "vitest";
import { HISTORY_CHECKERS } from "../../sim/checkers/all.ts";
import type { CallRecord, Entry } from "../../sim/engine/history.ts";
import { makePlan } from "../../sim/draw/draw_resources.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

test("a seed that runs twice, or with remarks, gives the same trace", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const first = await runPlan(makePlan(seed));
    const again = await runPlan(makePlan(seed), { remarks: 10 });
    expect(again.hash).toBe(first.hash);
    expect(again.remarks).toHaveLength(10);
  }
});

test("different seeds give different traces", async () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 5; seed++) hashes.add((await runPlan(makePlan(seed))).hash);
  expect(hashes.size).toBe(5);
});

test("fifty seeds break no rule, and most of their calls are answered", async () => {
  let answered = 0;
  let calls = 0;
  for (let seed = 1; seed <= 50; seed++) {
    const result = await runPlan(makePlan(seed));
    expect(result.violations, `seed ${seed}`).toEqual([]);
    answered += result.answered;
    calls += result.calls;
  }
  expect(answered / calls).toBeGreaterThan(0.5);
});

let calls = 0;

function append(value: string, over: Partial<CallRecord> = {}): CallRecord {
  const id = calls++;
  return {
    id,
    what: "append",
    key: "journals/k",
    process: "p",
    caller: "c",
    idempotencyKey: null,
    value,
    timeoutMs: 1_000,
    invokedAt: id * 10,
    returnedAt: id * 10 + 5,
    outcome: "ok",
    code: null,
    seq: 0,
    epoch: 1,
    rrp: null,
    verdict: null,
    ...over,
  };
}

/** The violations that the history checkers report for some calls and a final state. */
function violationsOf(records: readonly CallRecord[], values: readonly string[]): string[] {
  const entries: Entry[] = values.map((value) => ({ value, epoch: 1 }));
  const rules: string[] = [];
  for (const checker of HISTORY_CHECKERS) {
    const history = { calls: records, journals: new Map([["journals/k", entries]]) };
    checker.check(history, () => rules.push(checker.name));
  }
  return rules;
}

test("the history checkers pass a correct history", () => {
  const right = [
    append("a", { seq: 0 }),
    append("b", { seq: 1 }),
    append("c", { outcome: "info", returnedAt: Infinity, seq: -1 }),
    append("", { what: "read", seq: 2 }),
    append("d", { outcome: "fail", seq: -1 }),
  ];
  expect(violationsOf(right, ["a", "b"])).toEqual([]);
  expect(violationsOf(right, ["a", "b", "c"])).toEqual([]);
});

test.for<[string, CallRecord[], string[], string]>([
  ["an acknowledged call that is gone", [append("a")], [], "once"],
  ["an acknowledged call that is there twice", [append("a")], ["a", "a"], "once"],
  ["a refused call that was executed", [append("a", { outcome: "fail" })], ["a"], "once"],
  [
    "entries in another order than they were acknowledged in",
    [append("a", { seq: 1 }), append("b", { seq: 0 })],
    ["b", "a"],
    "linearizable",
  ],
  [
    "a read that misses what was acknowledged",
    [append("a"), append("", { what: "read", seq: 0 })],
    ["a"],
    "linearizable",
  ],
  [
    "a read that sees what was not yet asked for",
    [append("", { what: "read", seq: 1 }), append("a")],
    ["a"],
    "linearizable",
  ],
  [
    "calls of one caller that changed places",
    [
      append("a", { seq: 0 }),
      append("b", { seq: 2, invokedAt: 10_000, returnedAt: 10_100 }),
      append("c", { seq: 1, invokedAt: 10_000, returnedAt: 10_100 }),
    ],
    ["a", "c", "b"],
    "fifo",
  ],
])("the history checkers find %s", ([, records, values, rule]) => {
  expect(violationsOf(records, values)).toContain(rule);
});
