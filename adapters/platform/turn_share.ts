/**
 * Bounds how many requests begin before the event loop goes on: a server that finds the next
 * request in what it read already would else serve all of them before anything else happens.
 */
import { MAX_BEGUN_AT_ONCE } from "../../src/limits.ts";

export class TurnShare {
  readonly #waiting: (() => void)[] = [];
  /** Begun since the event loop was last asked to tell that it goes on, or has told it. */
  #begun = 0;
  #isAsked = false;

  /** Null where a request may begin now; else what resolves once it may. */
  take(): Promise<void> | null {
    if (this.#begun < MAX_BEGUN_AT_ONCE) this.#begun++;
    // Asked once in so many requests, not once in a turn, which would cost more.
    else if (!this.#isAsked) this.#ask(1);
    else return new Promise((go) => this.#waiting.push(go));
    return null;
  }

  #ask(begun: number): void {
    this.#begun = begun;
    this.#isAsked = true;
    setImmediate(this.#next);
  }

  /** The event loop went on. */
  readonly #next = (): void => {
    const due = this.#waiting.splice(0, MAX_BEGUN_AT_ONCE);
    this.#isAsked = false;
    if (due.length > 0) this.#ask(due.length);
    else this.#begun = 0;
    for (const go of due) go();
  };
}
