/**
 * Bounds how many requests begin in one turn of the event loop. A server that finds further requests
 * in the bytes it has already read would otherwise serve all of them before anything else runs.
 */
import { MAX_BEGUN_AT_ONCE } from "../../src/limits.ts";

export class TurnShare {
  readonly #waiting: (() => void)[] = [];
  /** Requests begun in this turn of the event loop, roughly. */
  #begun = 0;
  #isAsked = false;

  /** Null where a request may begin now; else what resolves once it may. */
  take(): Promise<void> | null {
    if (this.#begun < MAX_BEGUN_AT_ONCE) this.#begun++;
    // Awaited once in so many requests, since once in each turn would cost more.
    else if (!this.#isAsked) this.#ask(1);
    else return new Promise((go) => this.#waiting.push(go));
    return null;
  }

  #ask(begun: number): void {
    this.#begun = begun;
    this.#isAsked = true;
    setImmediate(this.#next);
  }

  /** The event loop's next turn. */
  readonly #next = (): void => {
    const due = this.#waiting.splice(0, MAX_BEGUN_AT_ONCE);
    this.#isAsked = false;
    if (due.length > 0) this.#ask(due.length);
    else this.#begun = 0;
    for (const go of due) go();
  };
}
