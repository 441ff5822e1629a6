/**
 * Breath: reminds a reader who never looks up to let others have their turn.
 *
 * Letters that are answered without I/O go from microtask to microtask, and a market in which
 * they do keeps timers and links of the whole process waiting: heartbeats too, until the lease
 * is gone, and the answers of sellers elsewhere. So every few milliseconds a timer is asked for.
 * Where the event loop turns, it runs soon, and nobody waits for it. Where it does not run for a
 * time, or for very many letters, the reader stops until it has.
 */
import type { Clock, Timer } from "../ports/clock.ts";

/**
 * When a timer is asked for: so long after the last one, in ms, and after so many letters. Not
 * always: while one is pending, Bun's event loop takes 15 µs longer to turn.
 */
const ASK_MS = 8;
const READS_PER_LOOK = 8;
/** When it is waited for: so long after, in ms, or after so many letters, as clocks may stand. */
const HOLD_MS = 5;
const MAX_READS = 4_096;

export class Breath {
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
