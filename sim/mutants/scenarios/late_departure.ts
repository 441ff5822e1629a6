/**
 * A key is released so as to move, and has another owner by the time at which its new
 * address is written. Drawn, not written by hand: it takes a claim at the old home between
 * the two, while the road from the one who leaves is slow.
 */
import type { Plan } from "../../plan/plan.ts";
import { makeRegionalPlan } from "../../draw/draw_regions.ts";

export const lateDeparture: Plan = makeRegionalPlan(642);
