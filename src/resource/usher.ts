/**
 * The usher: goes through the house now and then, and sees whose door has been silent for
 * too long.
 *
 * Takes the audiences that have connections; has each look after its doors. One timer for
 * all of a node's resources, and none while nobody listens.
 */
import { DOOR_SWEEP_MS } from "../limits.ts";
import type { Clock, Timer } from "../ports/clock.ts";

/** What an usher looks after. */
export interface Attended {
  /** Lets go of connections whose door has gone. Answers whether any are left. */
  sweep(now: number, isDead: (incarnation: string) => boolean): boolean;
}

export class Usher {
  readonly #clock: Clock;
  /** Whether an incarnation is known to be dead. */
  readonly isDead: (incarnation: string) => boolean;
  readonly #attended = new Set<Attended>();
  #timer: Timer | null = null;

  constructor(clock: Clock, isDead: (incarnation: string) => boolean) {
    this.#clock = clock;
    this.isDead = isDead;
  }

  /** From now on there are connections; forgotten when a sweep finds none. */
  attend(audience: Attended): void {
    this.#attended.add(audience);
    this.#timer ??= this.#clock.after(DOOR_SWEEP_MS, () => this.#sweep());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#attended.clear();
  }

  #sweep(): void {
    this.#timer = null;
    const now = this.#clock.now();
    for (const audience of this.#attended) {
      if (!audience.sweep(now, this.isDead)) this.#attended.delete(audience);
    }
    if (this.#attended.size === 0) return;
    this.#timer = this.#clock.after(DOOR_SWEEP_MS, () => this.#sweep());
  }
}
