/**
 * A timer wheel: many deadlines on one timer of the clock, with constant-time insertion and
 * removal.
 *
 * Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 2 over
 * slots: a heap finds the next slot, and entries are added to and removed from it in constant time.
 */
import { Expiring, type Slot } from "../model/expiring.ts";
import type { Clock, Timer } from "../ports/clock.ts";

/** The width of a slot, in ms: nothing expires early, and at most this much late. */
const WIDTH_MS = 8;

export class TimerWheel {
  readonly #clock: Clock;
  readonly #slots = new Map<number, Slot>();
  /** The numbers of all slots, as a binary heap: the first is the least. */
  readonly #heap: number[] = [];
  #timer: Timer | null = null;
  #timerSlot = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds `entry`, to expire at monotonic time `at`, in ms. It must not be in the wheel. */
  add(entry: Expiring, at: number): void {
    const number = Math.ceil(at / WIDTH_MS);
    const slot = this.#slots.get(number) ?? this.#open(number);
    const { first } = slot;
    entry.slot = slot;
    entry.after = first;
    if (first) first.before = entry;
    slot.first = entry;
  }

  /** Removes `entry`; does nothing if it isn't in the wheel. */
  remove(entry: Expiring): void {
    const { before, after, slot } = entry;
    if (!slot) return;
    if (after) after.before = before;
    if (before) before.after = after;
    else slot.first = after;
    entry.slot = entry.before = entry.after = null;
  }

  /** Aborts all entries now, and cancels the timer finally. */
  close(): void {
    this.#timer?.cancel();
    this.#timerSlot = -Infinity;
    for (const slot of this.#slots.values()) this.#clear(slot, (entry) => entry.onWheelClosed());
  }

  #open(number: number): Slot {
    const slot = { number, first: null };
    this.#slots.set(number, slot);
    push(this.#heap, number);
    if (number < this.#timerSlot) this.#schedule(number);
    return slot;
  }

  #schedule(number: number): void {
    this.#timer?.cancel();
    this.#timerSlot = number;
    const wait = Math.max(0, number * WIDTH_MS - this.#clock.now());
    this.#timer = this.#clock.after(wait, () => this.#turn());
  }

  /** Expires what is due, and removes empty slots before the next one that isn't due. */
  #turn(): void {
    const present = this.#clock.now() / WIDTH_MS;
    // Slots that are added meanwhile need no timer of their own.
    this.#timerSlot = -Infinity;
    let next = Infinity;
    for (;;) {
      const [number] = this.#heap;
      if (number === undefined) break;
      const slot = this.#slots.get(number) as Slot;
      if (slot.first && number > present) {
        next = number;
        break;
      }
      this.#clear(slot, (entry) => entry.expire());
      pop(this.#heap);
      this.#slots.delete(number);
    }
    this.#timer = null;
    this.#timerSlot = Infinity;
    if (next < Infinity) this.#schedule(next);
  }

  #clear(slot: Slot, end: (entry: Expiring) => void): void {
    while (slot.first) {
      const entry = slot.first;
      this.remove(entry);
      end(entry);
    }
  }
}

function push(heap: number[], number: number): void {
  let at = heap.length;
  heap.push(number);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as number;
    if (above <= number) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = number;
}

function pop(heap: number[]): void {
  const last = heap.pop() as number;
  const { length } = heap;
  if (length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= length) break;
    if (child + 1 < length && (heap[child + 1] as number) < (heap[child] as number)) child++;
    const below = heap[child] as number;
    if (below >= last) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
}
