/** The store is full for longer than a lease: turns are refused, and both nodes' leases are renewed. */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const fullForLong: Plan = scenario(
  {},
  [fault(2_000, "store_full", 0, 4_000)],
  [append(1_500, 0), append(2_500, 0), append(3_500, 1), append(7_000, 1)],
);
