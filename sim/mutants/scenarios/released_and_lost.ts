/**
 * An owner lets its key go after a rest, and a failover loses the turns of before. Nobody owns
 * the key; who had owned it must say what is missing.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const releasedAndLost: Plan = scenario(
  {
    idleAfterMs: 100,
    store: { isStream: true, timeoutMs: 3_000, lagMs: 1_000, isConfirmed: false },
  },
  [fault(3_500, "failover", 0, 1)],
  [append(3_000, 0), append(3_010, 0), append(8_000, 1)],
);
