/**
 * The answer of an owner's last renewal comes when the lease has long run out and the
 * neighbour has taken over: it must not bring the owner back to life.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const revival: Plan = scenario(
  { store: { isStream: true, timeoutMs: 6_000 } },
  [
    // The renewal at 4,000 is done; its answer comes at 7,900, and nothing is heard after it.
    fault(3_900, "store_mute", 0, 4_000),
    fault(4_200, "store_deaf", 0, 8_000),
  ],
  [
    append(1_500, 0),
    append(7_600, 1),
    append(8_000, 0),
  ],
);
