/**
 * Links to members that the registry has declared dead. No answer of theirs is waited for, and a
 * link over which nothing comes any more is closed. One whose peer answers stays: a node that
 * can't reach the registry is declared dead, too, and goes on calling what others own.
 */
import type { Clock } from "../ports/clock.ts";
import type { Links, Session } from "./links.ts";

/** How long a dead member may take to answer a ping before its link is closed, in ms. */
const ANSWER_WAIT_MS = 1_000;
const DEAD = "the member is dead";

export class DeadPeers {
  readonly #clock: Clock;
  readonly #links: Pick<Links, "sessions">;
  readonly #isDead: (incarnation: string) => boolean;
  readonly #seen = new WeakSet<Session>();

  constructor(
    clock: Clock,
    links: Pick<Links, "sessions">,
    isDead: (incarnation: string) => boolean,
  ) {
    this.#clock = clock;
    this.#links = links;
    this.#isDead = isDead;
  }

  /** The membership has changed. */
  look(): void {
    for (const session of this.#links.sessions) {
      if (this.#seen.has(session) || !this.#isDead(session.peer.incarnation)) continue;
      this.#seen.add(session);
      session.abandonRequests(DEAD, false);
      this.#ping(session);
    }
  }

  #ping(session: Session): void {
    const timer = this.#clock.after(ANSWER_WAIT_MS, () => session.close(DEAD));
    const heard = (): void => timer.cancel();
    // As for calls that are passed on: that the peer owns nothing is no answer.
    if (!session.ping({ relay: true, replied: heard, failed: heard, lost: heard })) {
      timer.cancel();
      session.close(DEAD);
    }
  }
}
