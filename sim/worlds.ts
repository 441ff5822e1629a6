/** The worlds that a seed can be played in: takes a seed and a world, gives the plan. */
import { makeAdriftPlan } from "./adrift/draw.ts";
import { makeMarketPlan } from "./market/draw.ts";
import { makeMastersPlan } from "./masters/draw.ts";
import { makePlan, type Plan, type WorldName } from "./plan.ts";
import { makeRegionalPlan } from "./regional_plans.ts";

const MAKERS: Readonly<Record<WorldName, (seed: number) => Plan>> = {
  resources: makePlan,
  regions: makeRegionalPlan,
  market: makeMarketPlan,
  masters: makeMastersPlan,
  adrift: makeAdriftPlan,
};

export function planOf(world: WorldName, seed: number): Plan {
  return MAKERS[world](seed);
}
