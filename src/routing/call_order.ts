/**
 * The queue of one key's calls while its owner is being resolved. One search serves all of them.
 *
 * Takes calls, and the errors of the search. Gives the calls whose callers still wait, in the order
 * in which they were made; a call that times out gets the reason.
 */
import { AtlasError } from "../errors.ts";
import { MAX_MAILBOX } from "../limits.ts";
import type { Session } from "../links/links.ts";
import { EVENTS } from "../model/internal_methods.ts";
import { type Outgoing, PendingRequest, sweep } from "./outgoing.ts";

export class PendingCallQueue {
  readonly #calls: Outgoing[] = [];
  #lastError: AtlasError | null = null;

  /** Inserts a call in order; returns false if too many wait already. */
  takes(call: Outgoing): boolean {
    const calls = this.#calls;
    if (calls.length >= MAX_MAILBOX) sweep(calls);
    if (calls.length >= MAX_MAILBOX) return false;
    let at = calls.length;
    while (at > 0 && (calls[at - 1] as Outgoing).number > call.number) at--;
    calls.splice(at, 0, call);
    // The call's time may end before the next attempt. The call then fails with the last attempt's
    // error.
    call.lastError ??= this.#lastError;
    return true;
  }

  /** The calls whose callers still wait, in order. */
  waiting(): readonly Outgoing[] {
    sweep(this.#calls);
    return this.#calls;
  }

  /** An attempt to find the owner has failed; another one follows. */
  fail(error: AtlasError): void {
    this.#lastError = error;
    for (const call of this.#calls) call.lastError ??= error;
  }
}

interface KeyBacklog {
  /** The link that its last call was sent over, and whether the peer has to pass the call on. */
  session: Session;
  relay: boolean;
  /** Its unanswered calls, over any link. */
  count: number;
  held: PendingCallQueue;
}

const NOBODY: readonly Outgoing[] = [];

export class CallOrder {
  readonly #backlogs = new Map<string, KeyBacklog>();

  /** Whether a call takes part in the order. */
  leaves(call: Outgoing): boolean {
    // Polls for events don't take part: they wait for a long time, outside the mailbox.
    return this.#backlogs.size === 0 || call.method === EVENTS;
  }

  /**
   * Whether a call has to wait for others of its key, and is held now.
   *
   * @param isStraight whether there is a direct link that it could use.
   */
  holds(call: Outgoing, isStraight: boolean): boolean {
    const backlog = this.#backlogs.get(call.key);
    if (!backlog || !(isStraight || backlog.session.isUnresponsive)) return false;
    // A call that a turn of this key made would wait for its own turn.
    if (call.chain.some((link) => link.startsWith(`${call.key} `))) return false;
    if (!backlog.held.takes(call)) {
      const message = `${MAX_MAILBOX} calls to ${call.key} are waiting for earlier ones already`;
      call.reject(new AtlasError("overloaded", message));
    } else if (backlog.session.isUnresponsive) {
      const message =
        `${backlog.session.name}, which has earlier calls to ${call.key}, does not respond`;
      call.lastError ??= new AtlasError("unavailable", message);
    }
    return true;
  }

  /** The link over which calls of a key are being passed on, if it accepts more. */
  over(key: string): Session | null {
    const backlog = this.#backlogs.get(key);
    const isOpen = backlog?.relay && backlog.session.acceptsRequests &&
      !backlog.session.isUnresponsive;
    return isOpen ? backlog.session : null;
  }

  /** A call was sent over a link to be passed on, or over an unresponsive one. */
  departed(call: Outgoing, session: Session, relay: boolean): void {
    if (call.method === EVENTS) return;
    const backlog = this.#backlogs.get(call.key);
    if (!backlog) {
      this.#backlogs.set(call.key, { session, relay, count: 1, held: new PendingCallQueue() });
    } else {
      backlog.session = session;
      backlog.relay = relay;
      if (!call.isOrdered) backlog.count++;
    }
    call.isOrdered = true;
  }

  /** A call was answered or given up. Returns the calls that may be sent now, in order. */
  arrived(call: Outgoing): readonly Outgoing[] {
    if (!call.isOrdered) return NOBODY;
    call.isOrdered = false;
    const backlog = this.#backlogs.get(call.key);
    if (!backlog || --backlog.count > 0) return NOBODY;
    this.#backlogs.delete(call.key);
    return backlog.held.waiting();
  }

  /** A link is unresponsive: later calls must not overtake those on it. */
  stuck(session: Session): void {
    for (const call of callsOn(session)) {
      this.departed(call, session, call.carrier?.relay === true);
    }
  }

  /**
   * It responds again. Returns the calls that may be sent now.
   *
   * @param isStraight whether it is still the direct link to its peer.
   */
  release(session: Session, isStraight: boolean): readonly Outgoing[] {
    const freed: Outgoing[] = [];
    for (const call of callsOn(session)) {
      // Later calls follow on the same link.
      if (isStraight && !call.carrier?.relay) {
        for (const next of this.arrived(call)) freed.push(next);
      }
    }
    for (const backlog of this.#backlogs.values()) {
      if (backlog.session !== session) continue;
      for (const call of backlog.held.waiting()) freed.push(call);
      backlog.held = new PendingCallQueue();
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
