/**
 * Schedules lease renewals: one each heartbeat, more often while this node suspects a member, and
 * soon after a renewal that failed, so that an outage of the store that is shorter than the lease
 * ends no lease. A renewal that is still unanswered is not repeated before the next heartbeat.
 */
import type { Clock, Timer } from "../ports/clock.ts";

/** How much faster heartbeats come while a member is suspected. */
const SUSPICION_SPEEDUP = 4;
/** The first pause after a failure, in ms; each further one is twice as long. */
const RETRY_MS = 50;
/** The longest pause, in ms, and as a fraction of a heartbeat. */
const MAX_RETRY_MS = 250;
const RETRIES_PER_BEAT = 8;

export class Heartbeats {
  readonly #clock: Clock;
  readonly #heartbeatMs: number;
  readonly #renew: () => void;
  #timer: Timer | null = null;
  #retry: Timer | null = null;
  #isRunning = false;
  #failures = 0;
  #loggedAt = -Infinity;

  /** @param renew sends a renewal; its result is reported by `succeeded` or `failed`. */
  constructor(clock: Clock, heartbeatMs: number, renew: () => void) {
    this.#clock = clock;
    this.#heartbeatMs = heartbeatMs;
    this.#renew = renew;
  }

  stop(): void {
    this.#isRunning = false;
    this.#timer?.cancel();
    this.#retry?.cancel();
    this.#timer = this.#retry = null;
    this.#failures = 0;
  }

  /** Sends the next renewal in one heartbeat from now, or sooner while a member is suspected. */
  schedule(isSuspicious: boolean): void {
    this.#isRunning = true;
    this.#timer?.cancel();
    const pause = isSuspicious ? this.#heartbeatMs / SUSPICION_SPEEDUP : this.#heartbeatMs;
    this.#timer = this.#clock.after(pause, this.#renew);
  }

  /** A renewal was answered. */
  succeeded(): void {
    this.#failures = 0;
    this.#retry?.cancel();
    this.#retry = null;
  }

  /** A renewal failed and is sent again soon. Answers whether to log that: once a heartbeat. */
  failed(): boolean {
    const now = this.#clock.now();
    const isNews = this.#failures === 0 || now - this.#loggedAt >= this.#heartbeatMs;
    if (isNews) this.#loggedAt = now;
    const most = Math.min(MAX_RETRY_MS, this.#heartbeatMs / RETRIES_PER_BEAT);
    const pause = Math.min(most, RETRY_MS * 2 ** Math.min(this.#failures++, 8));
    if (this.#isRunning && this.#retry === null) {
      this.#retry = this.#clock.after(pause, () => {
        this.#retry = null;
        this.#renew();
      });
    }
    return isNews;
  }
}
