/**
 * A replicated store: what its failovers break is noticed, and nothing is broken where
 * nothing was lost.
 */
import { expect, test } from "vitest";
import { makePlan, type Plan } from "../../sim/plan.ts";
import type { Violation } from "../../sim/perform.ts";
import { runPlan } from "../../sim/simulation.ts";
import type { StoreShape } from "../../sim/store.ts";

/** The first violation of each seed's plan that has one. */
async function violations(
  seeds: number,
  planOf: (seed: number) => Plan,
): Promise<Violation[]> {
  const found: Violation[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const { violations: [first] } = await runPlan(planOf(seed));
    if (first) found.push(first);
  }
  return found;
}

function withStore(plan: Plan, store: Partial<StoreShape>): Plan {
  return { ...plan, shape: { ...plan.shape, store: { ...plan.shape.store, ...store } } };
}

test("failovers that lose writes break what rests on the store, and are caught", async () => {
  const found = await violations(60, (seed) => makePlan(seed, { hasFailovers: true }));
  const rules = new Set(found.map(({ rule }) => rule));
  expect(rules).toContain("once");
  expect(rules).toContain("epochs");
});

test("a failover that loses nothing breaks nothing", async () => {
  const found = await violations(40, (seed) => {
    const plan = makePlan(seed, { hasFailovers: true });
    const faults = plan.faults.filter(({ kind }) => kind !== "failover_split");
    return withStore({ ...plan, faults }, { lagMs: 0 });
  });
  expect(found).toEqual([]);
});

test("replicas that nobody reads and nobody fails over to change nothing", async () => {
  const plan = makePlan(1);
  const { hash } = await runPlan(plan);
  expect((await runPlan(withStore(plan, { lagMs: 500 }))).hash).toBe(hash);
});

test("a store that answers lookups from a replica is caught by what was never true", async () => {
  const found = await violations(
    20,
    (seed) => withStore(makePlan(seed), { lagMs: 1_000, readsFromReplica: true }),
  );
  expect(found.map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/was confirmed, and never true$/),
  );
});
