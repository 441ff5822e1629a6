/**
 * A pacer: makes a runner who never stops breathe now and then.
 *
 * Calls that are answered without I/O go from promise to promise, and a loop of them
 * keeps every timer of the process waiting: heartbeats too, until the lease is gone.
 * After so many calls without a timer the next ones are held till one has run.
 */
import type { Clock } from "../ports/clock.ts";

/** Calls after which a timer is set, and calls after which it is waited for. */
const ASK_AFTER = 1_024;
const HOLD_AFTER = 16_384;

export class Pacer<T> {
  readonly #clock: Clock;
  readonly #go: (item: T) => void;
  #since = 0;
  #asked = false;
  #held: T[] = [];

  /** @param go sends on what was held. */
  constructor(clock: Clock, go: (item: T) => void) {
    this.#clock = clock;
    this.#go = go;
  }

  /** Whether `item` has to wait; it is sent on later then, in its turn. */
  holds(item: T): boolean {
    if (++this.#since < ASK_AFTER) return false;
    if (!this.#asked) {
      this.#asked = true;
      this.#clock.after(0, () => this.#breathe());
    }
    if (this.#since < HOLD_AFTER && this.#held.length === 0) return false;
    this.#held.push(item);
    return true;
  }

  #breathe(): void {
    this.#since = 0;
    this.#asked = false;
    const held = this.#held;
    this.#held = [];
    for (const item of held) this.#go(item);
  }
}
