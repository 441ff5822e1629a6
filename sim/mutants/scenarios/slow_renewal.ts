/**
 * The answer of an owner's last renewal is two seconds on its way, and then the owner is
 * cut off. Its lease must have run out before the neighbour takes over: counted from the
 * answer, it has two seconds left.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const slowRenewal: Plan = scenario(
  {},
  [
    // The renewal at 4,000 is done; its answer comes at 6,000, and nothing is heard after it.
    fault(3_900, "store_mute", 0, 2_100),
    fault(4_200, "store_deaf", 0, 8_000),
  ],
  [
    append(1_500, 0),
    // The neighbour has seen 4,000's heartbeat stand still for W, about 3,260 ms.
    append(7_600, 1),
    append(7_800, 0),
  ],
);
