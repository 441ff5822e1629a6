/**
 * Yields to the event loop, so that heartbeats and link I/O are not starved.
 *
 * Calls that are answered without I/O go from promise to promise, and a loop of them keeps every
 * timer of the process waiting, the lease's renewal included. After a number of calls without a
 * timer the next ones are held until a timer has run.
 */
import type { Clock, Timer } from "../ports/clock.ts";

/** Calls after which a timer is set, and calls after which it is waited for. */
const ASK_AFTER = 1_024;
const HOLD_AFTER = 16_384;

export class EventLoopYield<T> {
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
      this.#clock.after(0, () => this.#yield());
    }
    if (this.#since < HOLD_AFTER && this.#held.length === 0) return false;
    this.#held.push(item);
    return true;
  }

  #yield(): void {
    this.#since = 0;
    this.#asked = false;
    const held = this.#held;
    this.#held = [];
    for (const item of held) this.#go(item);
  }
}

/**
 * When a timer is asked for: so long after the last one, in ms, and after so many letters. Not
 * always: while one is pending, Bun's event loop takes 15 µs longer to turn.
 */
const ASK_MS = 8;
const READS_PER_LOOK = 8;
/** When it is waited for: so long after, in ms, or after so many letters, as clocks may stand. */
const HOLD_MS = 5;
const MAX_READS = 4_096;

export class ReadLoopYield {
  readonly #clock: Clock;
  readonly #go: () => void;
  /** Letters since the last breath; when that was, or, once a timer is asked for, that. */
  #read = 0;
  #since = 0;
  #asked: Timer | null = null;
  #holds = false;

  /** @param go reads on. */
  constructor(clock: Clock, go: () => void) {
    this.#clock = clock;
    this.#go = go;
  }

  /** Whether nothing is to be read now: `go` runs later. */
  get holds(): boolean {
    return this.#holds;
  }

  /** A letter is read. */
  spend(): void {
    if (++this.#read < READS_PER_LOOK) return;
    const now = this.#clock.now();
    const most = this.#asked ? HOLD_MS : ASK_MS;
    if (now - this.#since < most && this.#read < MAX_READS) return;
    if (this.#asked) {
      this.#holds = true;
    } else {
      this.#since = now;
      this.#asked = this.#clock.after(0, () => this.#taken());
    }
  }

  /** Lets go of the timer. */
  stop(): void {
    this.#asked?.cancel();
  }

  #taken(): void {
    this.#asked = null;
    this.#read = 0;
    this.#since = this.#clock.now();
    if (!this.#holds) return;
    this.#holds = false;
    this.#go();
  }
}
