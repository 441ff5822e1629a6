/**
 * Backoff for dials to peers that failed before. Takes the outcomes of dials; says whether the
 * next one has to wait.
 */
import type { Clock } from "../../src/ports/clock.ts";
import type { Random } from "../../src/ports/random.ts";

/** The first and the longest wait, in ms; each is drawn from its upper half. */
const FIRST_MS = 50;
const LONGEST_MS = 1_000;
/** Peers that are remembered; the one that failed longest ago is forgotten first. */
const MAX_PEERS = 1_024;

interface Failure {
  readonly until: number;
  readonly nextMs: number;
  readonly why: unknown;
}

export class DialBackoff {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #failures: Map<string, Failure> = new Map();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The last failure, if a dial still has to wait; null where it may go ahead. */
  pending(key: string): unknown {
    const failure = this.#failures.get(key);
    return failure && failure.until > this.#clock.now() ? failure.why : null;
  }

  failed(key: string, why: unknown): void {
    const ms = this.#failures.get(key)?.nextMs ?? FIRST_MS;
    this.#failures.delete(key);
    this.#failures.set(key, {
      until: this.#clock.now() + ms * (0.5 + this.#random.next() / 2),
      nextMs: Math.min(2 * ms, LONGEST_MS),
      why,
    });
    if (this.#failures.size <= MAX_PEERS) return;
    for (const oldest of this.#failures.keys()) {
      this.#failures.delete(oldest);
      break;
    }
  }

  succeeded(key: string): void {
    this.#failures.delete(key);
  }
}
