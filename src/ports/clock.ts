/**
 * The port for time.
 *
 * It has two separate clocks. Leases and deadlines use the monotonic one, which never jumps. The
 * wall clock only dates records; if it has moved ahead of the monotonic one, the machine was
 * suspended.
 */
export interface Clock {
  /** Monotonic milliseconds, with fractions. MUST never go back; its zero is arbitrary. */
  now(): number;
  /**
   * Milliseconds since the Unix epoch. MAY jump either way. Unless it jumps, equal readings MUST be
   * at most 1 ms apart.
   */
  wall(): number;
  /**
   * Runs `run` once, no sooner than `ms` milliseconds from now.
   * MUST NOT run it before this call returns, whatever `ms` is.
   */
  after(ms: number, run: () => void): Timer;
}

/** A pending {@link Clock.after}. */
export interface Timer {
  /** Cancels it; does nothing after it ran, or a second time. */
  cancel(): void;
}
