/** The worlds that a seed can be played in: takes a seed and a world, gives the plan. */
import { makeMarketPlan } from "./market/draw.ts";
import { makePlan, type Plan, type PlanOptions, type WorldName } from "./plan.ts";

export function planOf(world: WorldName, seed: number, options: PlanOptions = {}): Plan {
  return world === "market" ? makeMarketPlan(seed) : makePlan(seed, options);
}
