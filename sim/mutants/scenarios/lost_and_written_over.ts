/**
 * A failover loses an owner's turn while the owner is cut off from the store. Its lease lapses,
 * the other node takes the key over and writes to it under a higher term. When the former owner
 * reaches the store again, the state has a later turn than its own, and lacks its own all the
 * same: it must say so.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const lostAndWrittenOver: Plan = scenario(
  {
    lease: { heartbeatMs: 300, leaseMs: 1_000 },
    store: { isStream: true, timeoutMs: 900, lagMs: 500, isConfirmed: false },
  },
  [
    fault(3_040, "store_cut", 0, 6_000),
    fault(3_100, "failover", 0, 1),
  ],
  [append(3_000, 0), append(6_500, 1), append(7_500, 1)],
);
