/**
 * The queue of one key's calls while its owner is being resolved, for all of them at once.
 *
 * Takes calls, and the errors that the search has met; gives the calls that are still waited
 * for, in the order in which they were made, and each that times out the reason.
 */
import { AtlasError } from "../errors.ts";
import { MAX_MAILBOX } from "../limits.ts";
import type { Session } from "../links/links.ts";
import { EVENTS } from "../model/internal_methods.ts";
import { type Outgoing, PendingRequest, sweep } from "./outgoing.ts";

export class PendingCallQueue {
  readonly #calls: Outgoing[] = [];
  #lastError: AtlasError | null = null;

  /** Takes a call in, in its turn; false where too many wait already. */
  takes(call: Outgoing): boolean {
    const calls = this.#calls;
    if (calls.length >= MAX_MAILBOX) sweep(calls);
    if (calls.length >= MAX_MAILBOX) return false;
    let at = calls.length;
    while (at > 0 && (calls[at - 1] as Outgoing).number > call.number) at--;
    calls.splice(at, 0, call);
    // The next attempt may come after its time: what the last one met with keeps it waiting.
    call.trouble ??= this.#lastError;
    return true;
  }

  /** The calls that somebody still waits for, in their turn. */
  waiting(): readonly Outgoing[] {
    sweep(this.#calls);
    return this.#calls;
  }

  /** An attempt to find the owner has failed; another one follows. */
  fail(error: AtlasError): void {
    this.#lastError = error;
    for (const call of this.#calls) call.trouble ??= error;
  }
}

interface KeyBacklog {
  /** Over which link its last call left, and whether that is to pass it on. */
  session: Session;
  relay: boolean;
  /** Its calls that have not landed, over whichever link they left. */
  count: number;
  held: PendingCallQueue;
}

const NOBODY: readonly Outgoing[] = [];

export class CallOrder {
  readonly #backlogs = new Map<string, KeyBacklog>();

  /** Whether a call can be overtaken by none, and overtakes none. */
  leaves(call: Outgoing): boolean {
    // Questions for events wait beside the mailbox, for long.
    return this.#backlogs.size === 0 || call.method === EVENTS;
  }

  /**
   * Whether a call has to wait for others of its key, and is held now.
   *
   * @param isStraight whether there is a straight link that it could take.
   */
  holds(call: Outgoing, isStraight: boolean): boolean {
    const column = this.#backlogs.get(call.key);
    if (!column || !(isStraight || column.session.isUnresponsive)) return false;
    // One that a call on its way waits for would wait for itself.
    if (call.chain.some((link) => link.startsWith(`${call.key} `))) return false;
    if (!column.held.takes(call)) {
      const message = `${MAX_MAILBOX} calls wait for others to ${call.key} to arrive already`;
      call.reject(new AtlasError("overloaded", message));
    } else if (column.session.isUnresponsive) {
      const message = `nothing comes from ${column.session.name}, which has calls to ${call.key}`;
      call.trouble ??= new AtlasError("unavailable", message);
    }
    return true;
  }

  /** The link over which calls of a key are being passed on, where it takes more. */
  over(key: string): Session | null {
    const column = this.#backlogs.get(key);
    const isOpen = column?.relay && column.session.takes && !column.session.isUnresponsive;
    return isOpen ? column.session : null;
  }

  /** A call left over a link, to be passed on, or over a silent one. */
  departed(call: Outgoing, session: Session, relay: boolean): void {
    if (call.method === EVENTS) return;
    const column = this.#backlogs.get(call.key);
    if (!column) {
      this.#backlogs.set(call.key, { session, relay, count: 1, held: new PendingCallQueue() });
    } else {
      column.session = session;
      column.relay = relay;
      if (!call.isOrdered) column.count++;
    }
    call.isOrdered = true;
  }

  /** A call was answered, or given up. Gives those that may go now, in their order. */
  arrived(call: Outgoing): readonly Outgoing[] {
    if (!call.isOrdered) return NOBODY;
    call.isOrdered = false;
    const column = this.#backlogs.get(call.key);
    if (!column || --column.count > 0) return NOBODY;
    this.#backlogs.delete(call.key);
    return column.held.waiting();
  }

  /** Nothing comes over a link any more: what comes after the calls on it is not to pass them. */
  stuck(session: Session): void {
    for (const call of callsOn(session)) {
      this.departed(call, session, call.carrier?.relay === true);
    }
  }

  /**
   * Something comes over it again. Gives those that may go now.
   *
   * @param isStraight whether it is the straight link to its peer, as it was.
   */
  release(session: Session, isStraight: boolean): readonly Outgoing[] {
    const freed: Outgoing[] = [];
    for (const call of callsOn(session)) {
      // What comes next follows it on the same link.
      if (isStraight && !call.carrier?.relay) {
        for (const next of this.arrived(call)) freed.push(next);
      }
    }
    for (const column of this.#backlogs.values()) {
      if (column.session !== session) continue;
      for (const call of column.held.waiting()) freed.push(call);
      column.held = new PendingCallQueue();
    }
    return freed;
  }
}

/** The calls that a link carries. */
function callsOn(session: Session): Outgoing[] {
  return [...session.waiters].flatMap((waiter) =>
    waiter instanceof PendingRequest && !waiter.call.done ? waiter.call : []
  );
}
