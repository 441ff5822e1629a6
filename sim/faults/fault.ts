/** The type of a fault: a name, and how it is applied to a world. */
import type { FaultEvent } from "../plan/plan.ts";
import type { World } from "../engine/world.ts";

export interface FaultKind {
  readonly name: string;
  /**
   * Begins it now, and ends it after `fault.ms`. Ending it MUST do nothing if the world was healed
   * before: faults are begun and ended by tokens.
   */
  begin(world: World, fault: FaultEvent): void;
}
