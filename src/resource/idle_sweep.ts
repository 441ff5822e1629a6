/**
 * Visits all resources of a node again and again, a share of them each time, so that no visit
 * takes long. Takes the resources and a function to run on each; counts the rounds, by which
 * idleness is measured.
 */
import type { Clock, Timer } from "../ports/clock.ts";

/** Resources that are visited each time. */
const SWEEP_SHARE = 20_000;

interface IdleSweepParts<T> {
  readonly clock: Clock;
  /** The time between two rounds, in ms. */
  readonly everyMs: number;
  readonly all: () => IterableIterator<T>;
  readonly look: (one: T) => void;
}

export class IdleSweep<T> {
  /** Rounds so far. */
  count = 0;
  readonly #parts: IdleSweepParts<T>;
  #timer: Timer | null = null;
  #at: IterableIterator<T> | null = null;

  constructor(parts: IdleSweepParts<T>) {
    this.#parts = parts;
  }

  /** Starts a round now, and repeats. */
  start(): void {
    this.stop();
    this.#sweep();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Whether a resource last used in a given round has been idle for longer than `ms`. */
  isOver(usedAt: number, ms: number): boolean {
    return (this.count - usedAt) * this.#parts.everyMs > ms;
  }

  #sweep(): void {
    const { clock, everyMs, all, look } = this.#parts;
    this.count++;
    this.#at ??= all();
    for (let looked = 0; looked < SWEEP_SHARE; looked++) {
      const { value, done } = this.#at.next();
      if (done) {
        this.#at = null;
        break;
      }
      look(value);
    }
    this.#timer = clock.after(everyMs, () => this.#sweep());
  }
}
