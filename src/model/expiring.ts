/** A map whose entries expire. */

/** Cards that expire together. */
export interface Slot {
  readonly number: number;
  first: Expiring | null;
}

/** What can expire. The fields belong to the wheel. */
export abstract class Expiring {
  slot: Slot | null = null;
  before: Expiring | null = null;
  after: Expiring | null = null;
  /** Runs once its time has passed, unless it was removed before. */
  abstract expire(): void;
  /** Runs instead where the wheel is closed before that: its node is. */
  cut(): void {
    this.expire();
  }
}
