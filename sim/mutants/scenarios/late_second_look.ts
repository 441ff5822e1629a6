/**
 * Two nodes claim a key at two masters, neither having seen the other. The greater claim
 * wins, commits and is given back, all while the lesser one's node stands still: when that
 * looks for the second time it is alone, and must find that it lost.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const lateSecondLook: Plan = {
  ...scenario(
    { idleAfterMs: 300 },
    // From after its claim until the other has long been given back.
    [fault(1_600, "pause", 1, 1_200)],
    [
      // Of the first epochs at two masters the first one's is the greater.
      append(1_500, 0),
      append(1_540, 1),
    ],
  ),
  masters: { count: 2, lagMs: 90, boundMs: 100, recheckMs: 500, isBounded: true },
};
