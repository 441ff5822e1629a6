/**
 * Yields to the event loop, so that heartbeats and link I/O are not starved.
 *
 * Calls that are answered without I/O go from promise to promise, and a loop of them keeps every
 * timer of the process waiting, the lease's renewal included. After a number of calls without a
 * timer the next ones are held until a timer has run.
 */
import type { Clock, Timer } from "../ports/clock.ts";

/** The numbers of calls after which a timer is set, and after which it is waited for. */
const ASK_AFTER = 1_024;
const HOLD_AFTER = 16_384;

export class EventLoopYield<T> {
  readonly #clock: Clock;
  readonly #go: (item: T) => void;
  #since = 0;
  #asked = false;
  #held: T[] = [];

  /** @param go sends the held items. */
  constructor(clock: Clock, go: (item: T) => void) {
    this.#clock = clock;
    this.#go = go;
  }

  /** Whether `item` has to wait; it is then sent later, in order. */
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
 * When a timer is set: this long after the last one, in ms, and after this many messages. Not
 * always, because with a pending timer each turn of Bun's event loop takes 15 µs longer.
 */
const ASK_MS = 8;
const READS_PER_LOOK = 8;
/**
 * When it is waited for: this long after, in ms, or after this many messages, because a clock may
 * stand still.
 */
const HOLD_MS = 5;
const MAX_READS = 4_096;

export class ReadLoopYield {
  readonly #clock: Clock;
  readonly #go: () => void;
  /**
   * Messages since the last yield; the time of that yield or, once a timer is set, of setting it.
   */
  #read = 0;
  #since = 0;
  #asked: Timer | null = null;
  #holds = false;

  /** @param go resumes reading. */
  constructor(clock: Clock, go: () => void) {
    this.#clock = clock;
    this.#go = go;
  }

  /** Whether reading has to pause; `go` runs later. */
  get holds(): boolean {
    return this.#holds;
  }

  /** Counts a message that was read. */
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

  /** Cancels the timer. */
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
