/**
 * The runtime's async context: a value that follows code through its awaits, callbacks and
 * timers. A node uses it to know to which turn of which resource the running code belongs.
 */
export interface AsyncContext {
  /**
   * Runs `run` and gives what it gives, or throws what it throws. In it, and in all asynchronous
   * work that it starts, {@link current} MUST answer `value` until that work enters a context of
   * its own. What is current for the caller MUST be the same before and after.
   */
  run<T>(value: object, run: () => T): T;
  /** The value of the innermost context; undefined outside of all. */
  current(): object | undefined;
}
