/**
 * Requests that wait for answers, by number: those of a link, of a module channel and of its buyer.
 *
 * Takes waiters, each under a number of its own, and gives each one back once. Numbers rise one by
 * one, and most requests are answered soon, so most waiters are in a ring, by the last bits of their
 * numbers. With a Map instead, a call cost its caller's node a quarter more. A waiter whose place is
 * taken by another one is in a Map.
 */

/** The sizes of the ring, powers of two: it grows with the number of waiters. */
const FIRST_PLACES = 32;
const MOST_PLACES = 4_096;

export class Waiters<T> {
  #places = FIRST_PLACES;
  #ring: (T | undefined)[] = [];
  /** The number of the waiter at each place; 0: the place is free. */
  #numbers: Float64Array = new Float64Array(FIRST_PLACES);
  readonly #others = new Map<number, T>();
  /** The number of waiters in the ring. */
  #inRing = 0;

  get size(): number {
    return this.#inRing + this.#others.size;
  }

  /** Adds a waiter under a number that no other waiter has. */
  add(number: number, waiter: T): void {
    if (this.#inRing >= this.#places / 2 && this.#places < MOST_PLACES) this.#grow();
    this.#put(number, waiter);
  }

  /** The waiter with this number; undefined if there is none. */
  get(number: number): T | undefined {
    const place = number % this.#places;
    if (this.#numbers[place] !== number || number === 0) return this.#others.get(number);
    return this.#ring[place];
  }

  /** Removes a waiter and gives it; undefined if none has the number. */
  take(number: number): T | undefined {
    const place = number % this.#places;
    if (this.#numbers[place] !== number || number === 0) return this.#takeOther(number);
    const waiter = this.#ring[place];
    this.#numbers[place] = 0;
    this.#ring[place] = undefined;
    this.#inRing--;
    return waiter;
  }

  /** All waiters with their numbers, in the order of these. */
  all(): (readonly [number: number, waiter: T])[] {
    const all: (readonly [number, T])[] = [...this.#others];
    this.#numbers.forEach((number, place) => {
      if (number !== 0) all.push([number, this.#ring[place] as T]);
    });
    return all.sort(([a], [b]) => a - b);
  }

  /** Removes all waiters and gives them, in the order of their numbers. */
  takeAll(): T[] {
    const all = this.all();
    this.#ring = [];
    this.#numbers.fill(0);
    this.#others.clear();
    this.#inRing = 0;
    return all.map(([, waiter]) => waiter);
  }

  #put(number: number, waiter: T): void {
    const place = number % this.#places;
    if (this.#numbers[place] !== 0 || number === 0) return void this.#others.set(number, waiter);
    this.#numbers[place] = number;
    this.#ring[place] = waiter;
    this.#inRing++;
  }

  #takeOther(number: number): T | undefined {
    const waiter = this.#others.get(number);
    this.#others.delete(number);
    return waiter;
  }

  #grow(): void {
    const all = this.all();
    this.#places *= 2;
    this.#ring = [];
    this.#numbers = new Float64Array(this.#places);
    this.#others.clear();
    this.#inRing = 0;
    for (const [number, waiter] of all) this.#put(number, waiter);
  }
}
