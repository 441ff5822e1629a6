/**
 * A mutant: the protocol with one known mistake, written as edits to its source. The simulator must
 * catch it.
 *
 * Edits are applied to a temporary copy only (`copy.ts`), so production code has no switch for
 * them.
 */
import type { Edit } from "../draw/schedule.ts";
import type { WorldName } from "../plan/plan.ts";

/** Seeds of its world within which random faults must catch a mutant that has no scenario. */
export const MOST_SEEDS: Readonly<Record<WorldName, number>> = {
  resources: 500,
  regions: 200,
  market: 200,
  masters: 200,
  offline: 200,
};

export interface Mutant {
  readonly name: string;
  /** The mistake, in a sentence. */
  readonly about: string;
  readonly edits: readonly Edit[];
  /** The world whose seeds it is tried in. Default: `resources`. */
  readonly world?: WorldName;
  /** A directed scenario of `scenarios.ts`, if random faults find the mistake too rarely. */
  readonly scenario?: string;
}

/** The world that a mutant is tried in. */
export function worldOf({ world = "resources" }: Mutant): WorldName {
  return world;
}

/** Controls: copies without an edit, which must break no rule. One for each world. */
export const CONTROLS: readonly Mutant[] = (Object.keys(MOST_SEEDS) as WorldName[])
  .map((world) => ({ name: "(none)", about: "The code as it is.", edits: [], world }));

export function isControl(mutant: Mutant): boolean {
  return CONTROLS.includes(mutant);
}
