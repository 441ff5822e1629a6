/**
 * A plan that breaks a rule without a bug: paths on which nothing arrives within a lease,
 * so that no key is served in time after healing. For tests of reports and shrinking.
 */
import { makePlan } from "../../sim/draw/draw_resources.ts";
import type { Plan } from "../../sim/plan/plan.ts";

export function slowPaths(): Plan {
  const plan = makePlan(1);
  const { shape } = plan;
  const lease = { heartbeatMs: 300, leaseMs: 1_000 };
  const linkConditions = { ...shape.linkConditions, baseMs: 1_000 };
  return { ...plan, shape: { ...shape, lease, linkConditions } };
}
