/**
 * The store fails over and loses an owner's claim; what the owner says to the new primary
 * is long on the road, while its renewals are not. They must not count before it has
 * come: the neighbour, who has waited for the takeover time, finds the key free.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const slowReassertion: Plan = scenario(
  {
    lease: { heartbeatMs: 300, leaseMs: 1_000 },
    store: { isStream: false, timeoutMs: 10_000, lagMs: 500, isConfirmed: false },
  },
  [
    fault(3_100, "failover", 0, 1),
    // Between the renewal that hears of the new primary and the reassertion that follows.
    fault(3_306.5, "store_clog", 0, 200),
  ],
  [
    append(3_050, 0),
    append(4_600, 1),
    append(4_700, 0),
  ],
);
