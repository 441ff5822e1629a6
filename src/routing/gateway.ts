/**
 * One gateway of another region, as this node knows it: its link, how far it is, and
 * whether it works.
 */
import type { Timer } from "../ports/clock.ts";
import type { Session } from "./links.ts";

/** The weight of the latest measurement in the running mean. */
const WEIGHT = 0.3;

export class Gateway {
  readonly region: string;
  readonly address: string;
  /** The link to it, which may have ended. */
  session: Session | null = null;
  /** The dial under way. */
  opening: Promise<void> | null = null;
  /** When it is asked next. */
  timer: Timer | null = null;
  /** The running mean of its round trips, in ms; until the first, how long the dial took. */
  latencyMs: number = Infinity;
  /** Failures since it last worked. */
  failures = 0;
  /** Until when it is asked after the others, on the monotonic clock. */
  shunnedUntil = 0;
  /** What was wrong with it last. */
  trouble: unknown = "it is being dialled";
  #retryAt = 0;
  #isMeasured = false;

  constructor(region: string, address: string) {
    this.region = region;
    this.address = address;
  }

  /** Whether there is a link to it over which somebody speaks. */
  get isThere(): boolean {
    return this.session?.takes === true && !this.session.isSilent;
  }

  /** Whether calls may be sent through it now. */
  get isFit(): boolean {
    return this.isThere && this.failures === 0;
  }

  /** Why no calls are sent through it: a text, or an error with a detail for logs. */
  get why(): unknown {
    return this.session?.takes && this.session.isSilent ? "nothing comes from it" : this.trouble;
  }

  /** Whether it may be dialled now. */
  isDue(now: number): boolean {
    return !this.isThere && (this.failures === 0 || this.#retryAt <= now);
  }

  /** A link to it was opened, after so many ms. */
  opened(session: Session, ms: number): void {
    this.session = session;
    this.failures = 0;
    this.latencyMs = ms;
    this.#isMeasured = false;
  }

  /** It gave a sign of life, after so many ms. */
  answered(ms: number): void {
    this.failures = 0;
    this.latencyMs = this.#isMeasured ? this.latencyMs * (1 - WEIGHT) + ms * WEIGHT : ms;
    this.#isMeasured = true;
  }

  /** It could not be reached, or did not answer; it is tried again at `retryAt`. */
  failed(trouble: unknown, retryAt: number): void {
    this.failures++;
    this.trouble = trouble;
    this.#retryAt = retryAt;
  }
}
