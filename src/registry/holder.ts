/**
 * Who the membership of a node tells of changes, and who holds what its present life owns.
 */
import type { NodeEvent } from "../model/event.ts";
import type { LineageName, Overtaken } from "../ports/store.ts";
import type { Life } from "./lease.ts";

/** Who holds what a life owns. */
export interface Holder {
  /**
   * Says to the store again what this life holds. Answers whether the store took it in
   * this lineage; rejects where it can't say.
   */
  reassert(life: Life, lineage: LineageName): Promise<boolean>;
  /** Another copy of the store answers than before. */
  failedOver(): void;
  /** Ownerships have to give way to others. Told until they have. */
  overtaken(overtaken: readonly Overtaken[]): void;
}

export interface MembershipListener {
  /** The roll changed. */
  onChange(): void;
  /** Who holds what the present life owns. */
  holder(): Holder;
  onEvent(event: NodeEvent): void;
}
