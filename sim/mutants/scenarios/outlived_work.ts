/**
 * A call leaves work behind that waits for a round trip to the store and then appends. By then
 * a later call of the same journal waits for another node, in the middle of its turn: what the
 * work writes would be committed with that one.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, scenario } from "./plans.ts";

export const outlivedWork: Plan = scenario(
  { keys: 2 },
  [],
  [
    append(1_500, 0, 0),
    append(1_500, 1, 1),
    { ...append(3_000, 0, 0), leavesWork: true },
    // Through journal 0 to journal 1, which is at the other node.
    { ...append(3_000.5, 0, 1), path: [0] },
    { ...append(3_001, 0, 1), path: [0] },
    { ...append(3_001.5, 0, 1), path: [0] },
  ],
);
