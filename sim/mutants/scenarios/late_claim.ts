/**
 * Claims are on the road for up to four seconds while the node that sent them loses its
 * lease and begins another life. What they win belongs to the dead: another may take it at
 * any time, so the new life must not serve it.
 *
 * Several keys, because each claim's delay is drawn.
 */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

const KEYS = [0, 1, 2, 3, 4, 5];

export const lateClaim: Plan = scenario(
  { keys: KEYS.length, store: { isStream: false, timeoutMs: 10_000 } },
  [
    fault(1_490, "store_clog", 0, 40),
    // The lease is over as soon as the clocks are seen to disagree, by 2,000 at the latest.
    fault(1_540, "wall_jump", 0, 0),
  ],
  [
    ...KEYS.map((key) => append(1_500, 0, key)),
    ...KEYS.map((key) => append(6_500, 1, key)),
    ...KEYS.map((key) => append(7_000, 0, key)),
  ],
);
