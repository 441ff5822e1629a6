/** Losses of a store without replicas are reported, and `list` agrees with `get`. */
import { expect, test } from "vitest";
import { makePlan } from "../../sim/draw/draw_resources.ts";
import type { Plan } from "../../sim/plan/plan.ts";
import type { Violation } from "../../sim/run/run_world.ts";
import { runPlan } from "../../sim/worlds/simulation.ts";

/**
 * The seed's plan with these additional faults, each at its time; null if its store has replicas.
 */
function losing(seed: number, kind: string, times: readonly number[]): Plan | null {
  const plan = makePlan(seed);
  if (plan.shape.store.lagMs !== undefined) return null;
  const added = times.map((at, i) => ({ at, kind, a: i, b: 0, ms: 0, x: (seed + i) % 3 / 3 }));
  const faults = [...plan.faults, ...added].sort((one, other) => one.at - other.at);
  return { ...plan, shape: { ...plan.shape, isAudited: true }, endAt: plan.endAt + 10_000, faults };
}

async function violationsOf(
  kind: string,
  times: readonly number[],
  remark: string,
): Promise<Violation[]> {
  const found: Violation[] = [];
  let losses = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const plan = losing(seed, kind, times);
    if (!plan) continue;
    const { violations, remarks } = await runPlan(plan, { remarks: 100_000 });
    found.push(...violations);
    losses += remarks.filter((line) => line.includes(remark)).length;
  }
  expect(losses).toBeGreaterThan(30);
  return found;
}

test("lost parts of resources break no rule, and lost states are reported", async () => {
  expect(await violationsOf("part_lost", [4_000, 5_500, 7_000, 9_000, 12_000], "part lost"))
    .toEqual([]);
});

test("a registry that is replaced by an empty one breaks no rule, and losses are reported", async () => {
  expect(await violationsOf("registry_replaced", [8_000], "registry replaced")).toEqual([]);
});
