/**
 * What a seed stands for: a card, whose suit says which deck it is of. Each kind of world
 * draws its plans from seeds of its own.
 *
 * Takes what the command line asked for; gives the plan of a seed, and the words that ask
 * for the same kind again.
 */
import { makePlan, type Plan } from "./plan.ts";
import { makeRegionalPlan } from "./regional_plans.ts";

export interface SeedOptions {
  /** Whether the world has regions. */
  readonly isRegional?: boolean;
}

export function planOf(seed: number, { isRegional = false }: SeedOptions = {}): Plan {
  return isRegional ? makeRegionalPlan(seed) : makePlan(seed);
}

/** The switches that ask for such seeds. */
export function kindOf({ isRegional = false }: SeedOptions): string[] {
  return isRegional ? ["--regions"] : [];
}
