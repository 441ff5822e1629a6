/**
 * Monitors links to other regions for peers that stopped responding, and all links for members that
 * the registry has declared dead.
 *
 * Takes which sessions owe answers, and which have received something; probes those that are
 * overdue, and reports which become unresponsive and which respond again. That a link is open
 * proves little: a network that drops packets closes none, and TCP retries for minutes. An
 * unresponsive link stays open, because its peer may only be busy: calls take another route if
 * there is one.
 *
 * Source: RFC 9293 §3.8.3, for how long TCP retries; `docs/design.md`, Regions and moves.
 */
import { SILENCE_MS } from "../limits.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { LinkIdentity } from "../ports/transport.ts";
import type { Links, LinkWatch, Session, Waiter } from "./links.ts";

/** Rounds until a link counts as unresponsive; the first comes early. */
const ROUNDS = 5;
/** The round in which the first ping is sent, and the number of rounds between pings. */
const PROBE_MS = 3;
const PROBE_AGAIN_MS = 20;

/** Any answer counts, so these handlers do nothing. */
const PROBER: Waiter = { relay: true, replied() {}, failed() {}, lost() {} };

export interface LinkMonitorParts {
  readonly clock: Clock;
  /** This node's region: within it there is no other route, and no link is monitored. */
  readonly region: string;
  /** Whether calls to a peer could take another route. */
  readonly hasOtherRoute: (peer: LinkIdentity) => boolean;
  readonly onUnresponsive: (session: Session) => void;
  /** An unresponsive peer responds again. */
  readonly onResponsive: (session: Session) => void;
}

export class LinkMonitor implements LinkWatch {
  readonly #parts: LinkMonitorParts;
  readonly #sessions = new Set<Session>();
  #timer: Timer | null = null;

  constructor(parts: LinkMonitorParts) {
    this.#parts = parts;
  }

  owes(session: Session): void {
    session.isWatched = true;
    if (session.peer.region === this.#parts.region) return;
    this.#sessions.add(session);
    if (!this.#timer) this.#schedule();
  }

  received(session: Session): void {
    session.missedProbes = 0;
    if (!session.isUnresponsive) return;
    session.isUnresponsive = false;
    this.#parts.onResponsive(session);
  }

  closed(session: Session): void {
    this.#sessions.delete(session);
    if (this.#sessions.size > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #schedule(): void {
    this.#timer = this.#parts.clock.after(SILENCE_MS / ROUNDS, () => {
      this.#timer = null;
      for (const session of this.#sessions) this.#probe(session);
      if (this.#sessions.size > 0) this.#schedule();
    });
  }

  /**
   * Counts rounds instead of time: if this node was stalled, peers may have sent something
   * meanwhile.
   */
  #probe(session: Session): void {
    const { hasOtherRoute, onUnresponsive } = this.#parts;
    if (!session.isOwing || !session.acceptsRequests) {
      session.isWatched = false;
      this.#sessions.delete(session);
    } else if (session.missedProbes + 1 < PROBE_MS || hasOtherRoute(session.peer)) {
      session.missedProbes++;
      if (session.missedProbes % PROBE_AGAIN_MS === PROBE_MS) session.ping(PROBER);
      if (session.missedProbes !== ROUNDS + 1) return;
      session.isUnresponsive = true;
      onUnresponsive(session);
    }
  }
}

/** How long a dead member may take to answer a ping before its link is closed, in ms. */
const DEAD_PING_TIMEOUT_MS = 1_000;
const DEAD = "the member is dead";

/**
 * Links to members that the registry has declared dead. Calls don't wait for their answers, and a
 * link whose peer doesn't respond is closed. A link whose peer responds stays open: a node that
 * can't reach the registry is also declared dead, and still calls resources of other nodes.
 */
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
    const timer = this.#clock.after(DEAD_PING_TIMEOUT_MS, () => session.close(DEAD));
    const responded = (): void => timer.cancel();
    // Sent as if to be passed on, so that a goodbye of the peer is no response.
    if (!session.ping({ relay: true, replied: responded, failed: responded, lost: responded })) {
      timer.cancel();
      session.close(DEAD);
    }
  }
}
