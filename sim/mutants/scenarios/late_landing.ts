/**
 * What was kept without the store is being committed when the lease runs out again: the
 * last answer comes to a life that is over. Drawn, not written by hand: it takes two
 * lapses of one node, the second between a commit and its answer.
 */
import { makePartitionedPlan } from "../../draw/draw_partitioned.ts";
import type { Plan } from "../../plan/plan.ts";

export const lateLanding: Plan = makePartitionedPlan(1355);
