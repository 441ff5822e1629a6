/**
 * An owner's renewals are held up, then all done in time; the neighbour hears nothing of
 * the store meanwhile, and asks for the owner's death on the strength of what it last saw.
 * The owner's heartbeat has moved since: it must live.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const blindKill: Plan = scenario(
  {},
  [
    // The renewals at 2,000 and 3,000 are done at 3,500: the lease holds until 6,000.
    fault(1_900, "store_deaf", 0, 1_600),
    // At 3,000 the neighbour has seen 1,000's heartbeat; at 4,270 it asks, unaware of more.
    fault(3_900, "store_mute", 1, 600),
  ],
  [
    append(1_500, 0),
    append(4_600, 1),
    append(4_700, 0),
  ],
);
