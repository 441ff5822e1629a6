/**
 * Counts the requests in progress, and refuses further ones once the node stops.
 */

/** Open until it is closed; its `close` resolves when the last request has ended. */
export class DrainGate {
  #inside = 0;
  #isClosed = false;
  #emptied = () => {};

  /** Whether further requests are refused. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** A request begins. MUST NOT be called once it is closed. */
  enter(): void {
    this.#inside++;
  }

  /** A request ended. MUST be called once for each `enter`. */
  leave(): void {
    if (--this.#inside === 0) this.#emptied();
  }

  /** Refuses further requests. Resolves when those in progress have ended, or after `ms`. */
  async close(ms: number): Promise<void> {
    this.#isClosed = true;
    if (this.#inside === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#emptied = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
