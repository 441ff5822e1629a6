/** The worlds that a seed can be played in: takes a seed and a world, gives the plan. */
import { makePartitionedPlan } from "./draw_partitioned.ts";
import { makeMarketPlan } from "./draw_market.ts";
import { makeMastersPlan } from "./draw_masters.ts";
import { makePlan } from "./draw_resources.ts";
import type { Plan, WorldName } from "../plan/plan.ts";
import { makeRegionalPlan } from "./draw_regions.ts";

const MAKERS: Readonly<Record<WorldName, (seed: number) => Plan>> = {
  resources: makePlan,
  regions: makeRegionalPlan,
  market: makeMarketPlan,
  masters: makeMastersPlan,
  adrift: makePartitionedPlan,
};

export function planOf(world: WorldName, seed: number): Plan {
  return MAKERS[world](seed);
}
