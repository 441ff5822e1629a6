/**
 * A replicated store: failovers break no rule, whatever they lose, and their losses are reported.
 */
import { expect, test } from "vitest";
import { makePlan } from "../../sim/draw/draw_resources.ts";
import type { Plan, StoreShape } from "../../sim/plan/plan.ts";
import type { Violation } from "../../sim/run/run_world.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

/** The first violation of each seed's plan that has one. */
async function violations(
  seeds: number,
  planOf: (seed: number) => Plan | null,
): Promise<Violation[]> {
  const found: Violation[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    const plan = planOf(seed);
    if (!plan) continue;
    const { violations: [first] } = await runPlan(plan);
    if (first) found.push(first);
  }
  return found;
}

function withStore(plan: Plan, store: Partial<StoreShape>): Plan {
  return { ...plan, shape: { ...plan.shape, store: { ...plan.shape.store, ...store } } };
}

/** The seed's plan if its store has replicas and its steps wait for them, or don't, as asked. */
function replicated(seed: number, isConfirmed: boolean): Plan | null {
  const plan = makePlan(seed);
  const { store } = plan.shape;
  return store.lagMs !== undefined && store.isConfirmed === isConfirmed ? plan : null;
}

test("failovers of a store whose replicas confirm lose nothing that was acknowledged", async () => {
  expect(await violations(60, (seed) => replicated(seed, true))).toEqual([]);
});

test("failovers that lose writes leave one owner at most, and losses are reported", async () => {
  expect(await violations(100, (seed) => replicated(seed, false))).toEqual([]);
});

test("without confirmation by replicas, a former primary that continues after a failover is reported", async () => {
  const found = await violations(60, (seed) => {
    const plan = replicated(seed, true);
    return plan && withStore(plan, { isConfirmed: false, lagMs: 500 });
  });
  expect(found.length).toBeGreaterThan(0);
});

test("a store that answers lookups from a replica is reported for a wrong confirmed lookup", async () => {
  const found = await violations(
    20,
    (seed) => withStore(makePlan(seed), { lagMs: 1_000, readsFromReplica: true }),
  );
  expect(found.map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/was confirmed, and never true$/),
  );
});
