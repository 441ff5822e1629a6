/** The entry of a timer wheel (`time/timer_wheel.ts`), as a base class for what can expire. */

/** Entries that expire together. */
export interface Slot {
  readonly number: number;
  first: Expiring | null;
}

/** An entry. The fields belong to the wheel. */
export abstract class Expiring {
  slot: Slot | null = null;
  before: Expiring | null = null;
  after: Expiring | null = null;
  /** Runs once its time has passed, unless it was removed before that. */
  abstract expire(): void;
  /** Runs instead if the wheel is closed first, because its node is. */
  onWheelClosed(): void {
    this.expire();
  }
}
