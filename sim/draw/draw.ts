/** Draws the plan of a seed in one of the simulated worlds. */
import { makeOfflinePlan } from "./draw_offline.ts";
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
  offline: makeOfflinePlan,
};

export function planOf(world: WorldName, seed: number): Plan {
  return MAKERS[world](seed);
}
