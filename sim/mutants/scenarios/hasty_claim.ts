/**
 * The store fails over and loses a claim while its owner can't reach it. The owner's
 * lease lasts for some seconds yet: whoever finds the key free must wait for its end.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const hastyClaim: Plan = scenario(
  { store: { isStream: true, timeoutMs: 3_000, lagMs: 500, isConfirmed: false } },
  [
    fault(5_200, "store_cut", 0, 4_000),
    fault(5_300, "failover", 0, 1),
  ],
  [
    append(5_100, 0),
    // The lease that was renewed at 5,000 holds until 8,000.
    append(5_600, 1),
    append(6_600, 0),
    append(6_700, 1),
  ],
);
