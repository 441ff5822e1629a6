/**
 * The lease of this incarnation: the time until which it may act as an owner, on its own monotonic
 * clock.
 *
 * The time counts from when a renewal was sent, not from when it was answered. It also lapses if
 * the wall clock and the monotonic clock have moved apart, as when a machine was suspended. A lapse
 * is final: a late answer never revives it. Takes the send time of each confirmed renewal; gives
 * `holds()`, which is checked immediately before each commit and reply, after the last await.
 *
 * Source: `docs/design.md`, Membership and leases; Gray and Cheriton, "Leases" (SOSP 1989).
 */
import type { LeaseProfile, LeaseTimes } from "../api/options.ts";
import { AtlasError } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";

/** The largest rate by which a node's monotonic clock may run fast or slow, as a ratio. */
const CLOCK_RATE_ERROR = 0.001;

/**
 * The longest time that can pass while the wall clock gives the same reading and is not set, in ms;
 * with a margin, because the port allows at most 1.
 */
const WALL_STEP_MS = 2;

const PROFILES: Record<LeaseProfile, LeaseTimes> = {
  fast: { heartbeatMs: 1_000, leaseMs: 3_000 },
  standard: { heartbeatMs: 2_000, leaseMs: 6_000 },
  frugal: { heartbeatMs: 10_000, leaseMs: 30_000 },
};

/** The protocol's times, all in ms. */
export interface Timing extends LeaseTimes {
  /**
   * The longest stall that is allowed between a check of the lease and the effect that it guards.
   */
  readonly stallMs: number;
  /** How long a challenger must see a heartbeat unchanged before it may mark the member dead. */
  readonly takeoverMs: number;
}

/**
 * The times of a lease profile.
 *
 * `takeoverMs` is `W = L(1+ρ)/(1−ρ) + δ(1+ρ)`: by then the slowest owner's clock has passed L,
 * even by the fastest challenger's clock.
 *
 * @throws AtlasError `bad_request` if a lease is shorter than two heartbeats.
 */
export function timing(lease: LeaseProfile | LeaseTimes = "standard"): Timing {
  const times = typeof lease === "string" ? PROFILES[lease] : lease;
  if (!times || !(times.heartbeatMs >= 10) || !(times.leaseMs >= 2 * times.heartbeatMs)) {
    throw new AtlasError(
      "bad_request",
      `lease is ${JSON.stringify(lease)}; it must be fast, standard, frugal, or ` +
        "{ heartbeatMs ≥ 10, leaseMs ≥ 2 × heartbeatMs }",
    );
  }
  const { heartbeatMs, leaseMs } = times;
  const stallMs = leaseMs / 12;
  const rate = CLOCK_RATE_ERROR;
  const takeoverMs = leaseMs * (1 + rate) / (1 - rate) + stallMs * (1 + rate);
  return { heartbeatMs, leaseMs, stallMs, takeoverMs };
}

/** The moment a renewal was sent, on both clocks. */
export interface SendTime {
  readonly now: number;
  readonly wall: number;
}

export class Lease {
  readonly #clock: Clock;
  readonly #timing: Timing;
  readonly #onLapse: () => void;
  /** Monotonic time until which it holds. */
  #until = 0;
  /** Wall minus monotonic clock when the last confirmed renewal was sent. */
  #offset = 0;
  /** The wall-clock reading at which the lease was last found to hold; NaN: check both clocks. */
  #checked = NaN;
  #checkedAt = 0;
  #state: "new" | "held" | "lapsed" = "new";

  /** @param onLapse runs once, when the lapse is noticed. */
  constructor(clock: Clock, timing: Timing, onLapse: () => void) {
    this.#clock = clock;
    this.#timing = timing;
    this.#onLapse = onLapse;
  }

  /** The send time to be handed to {@link confirm} if the renewal succeeds. */
  sendTime(): SendTime {
    return { now: this.#clock.now(), wall: this.#clock.wall() };
  }

  /**
   * A renewal (or the registration) sent at `sent` was confirmed. Returns whether the lease holds.
   * A reply that comes after the lapse changes nothing.
   */
  confirm(sent: SendTime): boolean {
    if (this.#state === "lapsed") return false;
    if (this.#state === "held" && !this.holds()) return false;
    const offset = sent.wall - sent.now;
    const until = sent.now + this.#timing.leaseMs;
    if (this.#state === "new" || until > this.#until) {
      this.#until = until;
      this.#offset = offset;
      this.#checked = NaN;
    }
    this.#state = "held";
    return this.holds();
  }

  /**
   * Whether this incarnation may act as an owner at this instant.
   *
   * Both clocks are compared once in each millisecond of the wall clock. A check that reads the
   * same millisecond again gets the same result.
   */
  holds(): boolean {
    if (this.#state !== "held") return false;
    const wall = this.#clock.wall();
    if (wall === this.#checked) return true;
    const now = this.#clock.now();
    if (now < this.#until) {
      const deviation = wall - now - this.#offset;
      if (deviation <= this.#timing.stallMs && deviation >= -this.#timing.stallMs) {
        this.#checked = now + WALL_STEP_MS < this.#until ? wall : NaN;
        this.#checkedAt = now;
        return true;
      }
    }
    this.lapse();
    return false;
  }

  /**
   * The monotonic time of the last check that it held: at most 1 ms ago right after {@link holds}
   * has returned true.
   */
  get checkedAt(): number {
    return this.#checkedAt;
  }

  /** The remaining time, in ms; 0 if the lease does not hold. */
  leftMs(): number {
    return this.holds() ? this.#until - this.#clock.now() : 0;
  }

  /** Ends the lease finally: the store fenced this node, or this node fenced itself. */
  lapse(): void {
    if (this.#state === "lapsed") return;
    this.#state = "lapsed";
    this.#onLapse();
  }
}

/** One life of a node: its incarnation and the lease that goes with it. */
export interface NodeLife {
  readonly incarnation: string;
  readonly lease: Lease;
}
