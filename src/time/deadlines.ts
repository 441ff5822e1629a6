/**
 * Deadlines by the thousand on one timer: a wheel of pigeonholes, one for each few
 * milliseconds; whoever finishes in time takes its card out again.
 *
 * Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987),
 * scheme 4, with the empty pigeonholes left out.
 */
import type { Clock, Timer } from "../ports/clock.ts";

/** The width of a pigeonhole, in ms: nothing expires early, and at most this much late. */
const WIDTH_MS = 8;

/** What can expire. The fields belong to the wheel. */
export abstract class Expiring {
  slot = -1;
  before: Expiring | null = null;
  after: Expiring | null = null;
  /** Runs once its time has passed, unless it was removed before. */
  abstract expire(): void;
}

export class Deadlines {
  readonly #clock: Clock;
  readonly #slots = new Map<number, Expiring>();
  #timer: Timer | null = null;
  #timerSlot = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has `card` expire at monotonic time `at`, ms. It must not be in the wheel. */
  add(card: Expiring, at: number): void {
    const slot = Math.ceil(at / WIDTH_MS);
    const first = this.#slots.get(slot) ?? null;
    card.slot = slot;
    card.after = first;
    if (first) first.before = card;
    this.#slots.set(slot, card);
    if (slot < this.#timerSlot) this.#schedule(slot);
  }

  /** Takes `card` out; does nothing where it isn't in. */
  remove(card: Expiring): void {
    if (card.slot < 0) return;
    const { before, after, slot } = card;
    if (after) after.before = before;
    if (before) before.after = after;
    else if (after) this.#slots.set(slot, after);
    else this.#slots.delete(slot);
    card.slot = -1;
    card.before = card.after = null;
  }

  /** Lets go of the timer; what is in the wheel never expires. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerSlot = -Infinity;
  }

  #schedule(slot: number): void {
    this.#timer?.cancel();
    this.#timerSlot = slot;
    const wait = Math.max(0, slot * WIDTH_MS - this.#clock.now());
    this.#timer = this.#clock.after(wait, () => this.#turn());
  }

  #turn(): void {
    const present = this.#clock.now() / WIDTH_MS;
    this.#timerSlot = Infinity;
    let next = Infinity;
    for (const slot of [...this.#slots.keys()]) {
      if (slot > present) next = Math.min(next, slot);
      else {
        for (let card = this.#slots.get(slot); card; card = this.#slots.get(slot)) {
          this.remove(card);
          card.expire();
        }
      }
    }
    if (next < this.#timerSlot) this.#schedule(next);
  }
}
