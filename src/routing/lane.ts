/**
 * A lane: a queue at one counter, in which calls of one name wait while one search goes on
 * for all of them; a board beside it says why it takes so long.
 *
 * Takes calls and what the search has met with; gives the calls that are still waited for,
 * in the order in which they were made, and each of them the reason if its time runs out.
 */
import type { AtlasError } from "../errors.ts";
import { MAX_MAILBOX } from "../limits.ts";
import { type Outgoing, sweep } from "./outgoing.ts";

export class Lane {
  readonly #calls: Outgoing[] = [];
  #trouble: AtlasError | null = null;

  /** Takes a call in, in its turn; false where too many wait already. */
  takes(call: Outgoing): boolean {
    const calls = this.#calls;
    if (calls.length >= MAX_MAILBOX) sweep(calls);
    if (calls.length >= MAX_MAILBOX) return false;
    let at = calls.length;
    while (at > 0 && (calls[at - 1] as Outgoing).number > call.number) at--;
    calls.splice(at, 0, call);
    // The next attempt may come after its time: what the last one met with keeps it waiting.
    call.trouble ??= this.#trouble;
    return true;
  }

  /** The calls that somebody still waits for, in their turn. */
  waiting(): readonly Outgoing[] {
    sweep(this.#calls);
    return this.#calls;
  }

  /** An attempt to find the owner has failed; another one follows. */
  hinder(error: AtlasError): void {
    this.#trouble = error;
    for (const call of this.#calls) call.trouble ??= error;
  }
}
