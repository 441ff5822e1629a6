/** Twice another process is started under the name of one that serves and renews. */
import type { Plan } from "../../plan/plan.ts";
import { append, fault, scenario } from "./plans.ts";

export const twins: Plan = scenario(
  {},
  [fault(4_500, "twin", 0, 0), fault(7_000, "twin", 0, 0)],
  [append(1_500, 0), append(6_000, 1), append(9_000, 0)],
);
