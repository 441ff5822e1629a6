/**
 * A replica is down and left out of what steps wait for. It comes back, and one of the two is
 * promoted, within the second for which a look at the replicas may be kept. The former primary
 * goes on with the other one beside it: what they alone have must not count.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const backAndPromoted: Plan = scenario(
  { store: { isStream: true, timeoutMs: 3_000, lagMs: 5, isConfirmed: true } },
  [
    // Renewals at 3,000 find it down.
    fault(2_000, "replica_down", 0, 1_050),
    fault(3_090, "failover_planned", 0, 1_000),
  ],
  [
    append(1_500, 0),
    append(3_100, 0),
    append(6_000, 1),
  ],
);
