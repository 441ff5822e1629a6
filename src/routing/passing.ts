/**
 * Calls of a key that are being passed on: a column on a side road, which those behind
 * don't overtake on the main road.
 *
 * Takes which calls leave over which link and which have landed; says over which link the
 * next one goes. Once a straight link is known, the next ones are held till the column
 * has arrived.
 *
 * Source: design §4 (FIFO per caller).
 */
import { AtlasError } from "../errors.ts";
import { MAX_MAILBOX } from "../limits.ts";
import type { Session } from "./links.ts";
import { type Outgoing, sweep } from "./outgoing.ts";

interface Column {
  readonly session: Session;
  count: number;
  readonly held: Outgoing[];
}

export class Passing {
  readonly #columns = new Map<string, Column>();

  /** Whether no call at all is being passed on. */
  get isEmpty(): boolean {
    return this.#columns.size === 0;
  }

  /** Whether a straight link has to wait for calls of its key; `call` is held then. */
  holds(call: Outgoing): boolean {
    const column = this.#columns.get(call.key);
    // One that a call on its way waits for would wait for itself.
    if (!column || call.chain.some((link) => link.startsWith(`${call.key} `))) return false;
    if (column.held.length >= MAX_MAILBOX) sweep(column.held);
    if (column.held.length < MAX_MAILBOX) column.held.push(call);
    else {
      const message = `${MAX_MAILBOX} calls wait for others to ${call.key} to arrive already`;
      call.reject(new AtlasError("overloaded", message));
    }
    return true;
  }

  /** The link over which calls of a key are being passed on, where it takes more. */
  over(key: string): Session | null {
    const session = this.#columns.get(key)?.session;
    return session?.takes ? session : null;
  }

  /** A call of a key left over a link. */
  departed(key: string, session: Session): void {
    const column = this.#columns.get(key);
    if (column?.session === session) column.count++;
    else this.#columns.set(key, { session, count: 1, held: column?.held ?? [] });
  }

  /** It was answered, or given up. Gives the calls that may go now, in their order. */
  landed(key: string, session: Session): readonly Outgoing[] {
    const column = this.#columns.get(key);
    if (column?.session !== session || --column.count > 0) return [];
    this.#columns.delete(key);
    return column.held;
  }
}
