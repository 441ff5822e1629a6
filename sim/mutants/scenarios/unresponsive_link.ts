/**
 * The road to an owner in another region swallows what is sent, while its link stays open. A
 * second call is made once that was noticed, and there is another node to go through: it must
 * not arrive before the first, which TCP delivers once the road is open again.
 */
import type { Plan, WorkEvent } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

/** Nodes 0 and 2 are in the east, 1 and 3 in the west, where this key is at home. */
const KEY = 0;
const patient = (work: WorkEvent): WorkEvent => ({ ...work, timeoutMs: 9_000 });

export const unresponsiveLink: Plan = scenario(
  { nodes: 4, regions: { names: ["east", "west"], nearMs: 10, farMs: 10 } },
  [{ ...fault(2_500, "partition", 0, 5_000), b: 1 }],
  [
    append(1_000, 1, KEY),
    append(2_000, 0, KEY),
    patient(append(2_600, 0, KEY)),
    patient(append(6_000, 0, KEY)),
  ],
);
