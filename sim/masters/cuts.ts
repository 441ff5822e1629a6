/**
 * The ways in which a plan with several masters can be made plainer: fewer of them, and a
 * rounder lag.
 *
 * Takes a plan; gives plainer ones to try, none where there is one order of writes. What
 * keeps within the bound goes on doing so.
 */
import type { Plan } from "../plan.ts";

export function* mastersCuts(plan: Plan): Generator<Plan> {
  const { masters } = plan;
  if (!masters) return;
  const { count, lagMs } = masters;
  if (count > 2) yield { ...plan, masters: { ...masters, count: count - 1 } };
  yield { ...plan, masters: { ...masters, lagMs: Math.floor(lagMs) } };
}
