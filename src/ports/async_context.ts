/**
 * The runtime's async context: a value that follows code through its awaits, callbacks and
 * timers. A node uses it to know to which turn of which resource the running code belongs.
 */
export interface AsyncContext {
  /**
   * Runs `run`, and returns its result or throws its error. In it, and in all asynchronous work
   * that it starts, {@link current} MUST return `value` until that work enters a context of its
   * own. The caller's own context MUST be the same before and after.
   */
  run<T>(value: object, run: () => T): T;
  /** The value of the innermost context; undefined outside of any. */
  current(): object | undefined;
}
