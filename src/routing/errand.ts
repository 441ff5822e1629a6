/** A call on a link: who asked whom, and where the answer goes. */
import type { Failure, Reply } from "../model/envelope.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Session, Waiter } from "./links.ts";
import type { Outgoing } from "./outgoing.ts";

/** Who hears how errands end. */
export interface Errands {
  /** A link brought a call's answer. */
  replied(call: Outgoing, reply: Reply, session: Session, asked: Ownership | null): void;
  /** A link brought a call's failure. */
  refused(call: Outgoing, failure: Failure, session: Session, asked: Ownership | null): void;
  /** The link that carried a call broke; `isUnread`: the peer has surely not read it. */
  lost(call: Outgoing, reason: string, isUnread: boolean): void;
}

export class Errand implements Waiter {
  readonly relay: boolean;
  readonly call: Outgoing;
  readonly #errands: Errands;
  readonly #asked: Ownership | null;

  /** @param asked who was believed to own the key; null where whoever is asked may take it. */
  constructor(errands: Errands, call: Outgoing, asked: Ownership | null, relay: boolean) {
    this.#errands = errands;
    this.call = call;
    this.#asked = asked;
    this.relay = relay;
  }

  replied(reply: Reply, session: Session): void {
    this.#errands.replied(this.call, reply, session, this.#asked);
  }

  failed(failure: Failure, session: Session): void {
    this.#errands.refused(this.call, failure, session, this.#asked);
  }

  lost(reason: string, isUnread: boolean): void {
    this.#errands.lost(this.call, reason, isUnread);
  }
}
