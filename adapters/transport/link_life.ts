/**
 * All sockets and links of one incarnation of a node; they are closed together when that
 * incarnation ends. Takes accepted sockets and addresses to dial; gives authenticated links.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import { meaningOf } from "../../src/model/out_of_reach.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Runtime, Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import { ANYONE, type Link, type LinkIdentity } from "../../src/ports/transport.ts";
import type { LinkRefusals } from "./link_refusals.ts";
import { AcceptingSession, DiallingSession, HANDSHAKE_MS, type Session } from "./link_sessions.ts";
import type { LinkSlots } from "./link_slots.ts";
import { WebSocketLink } from "./websocket_link.ts";

/** RFC 6455 §7.4.1 and IANA's registry: going away; try again later. */
const GOING_AWAY = 1_001;
const TRY_LATER = 1_013;

export interface LinkLifeOptions {
  readonly self: LinkIdentity;
  readonly keys: readonly CryptoKey[];
  readonly accept: (link: Link) => void;
  readonly runtime: Pick<Runtime, "dial">;
  readonly clock: Clock;
  /**
   * Counts sockets of all incarnations of the node: sockets of a former incarnation may still be
   * open.
   */
  readonly slots: LinkSlots;
  readonly refusals: LinkRefusals;
  /** Whether peers may dial this node at an address, given in normal form. */
  readonly isOwn: (address: string) => boolean;
}

export class LinkLife {
  readonly #options: LinkLifeOptions;
  readonly #accepting: Set<Session> = new Set();
  readonly #dialling: Set<Session> = new Set();
  readonly #accepted: Set<WebSocketLink> = new Set();
  readonly #dialled: Set<WebSocketLink> = new Set();
  #ended = false;

  constructor(options: LinkLifeOptions) {
    this.#options = options;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The handlers for an accepted socket that is open. */
  accept({ remote }: Socket): SocketHandlers {
    const { slots, refusals } = this.#options;
    const slot = slots.take(remote, (why) => session.drop(why));
    if (typeof slot === "string") return refuseSocket(slot);
    const session: Session = new AcceptingSession({
      ...this.#options,
      refusal: ({ incarnation }) => slots.linkRefusal(incarnation),
      closed: () => slots.closed(slot),
      proven: (socket, peer) => {
        this.#accepting.delete(session);
        slots.linked(slot, peer.incarnation);
        const link = this.#link(socket, peer, this.#accepted);
        this.#handOver(link);
        return link;
      },
      failed: (failure) => {
        this.#accepting.delete(session);
        if (!this.#ended) refusals.log(failure);
      },
    });
    this.#accepting.add(session);
    return session;
  }

  /** Dials a checked address and proves both ends. */
  dial(url: string, { region, node, incarnation }: LinkIdentity): Promise<Link> {
    return new Promise((resolve, reject) => {
      /** The runtime's reason for a failed connection; it names hosts. */
      let dialError: string | null = null;
      const session: Session = new DiallingSession(
        {
          ...this.#options,
          proven: (socket, peer) => {
            this.#dialling.delete(session);
            const link = this.#link(socket, peer, this.#dialled);
            resolve(link);
            return link;
          },
          failed: ({ code, why }) => {
            this.#dialling.delete(session);
            // For a dial to any node at an address, the caller adds the address to the error.
            const isNamed = node !== ANYONE;
            const message = isNamed ? `${node} gave no link: ${why}` : why;
            const reason = dialError ?? why;
            const detail = isNamed ? `${node} at ${url} gave no link: ${reason}` : reason;
            reject(new AtlasError(code, message, { detail }));
          },
        },
        { region, node, incarnation },
        url,
      );
      this.#dialling.add(session);
      const limits = { maxFrameBytes: MAX_FRAME_BYTES, timeoutMs: HANDSHAKE_MS };
      this.#options.runtime.dial(url, session, limits).catch((error) => {
        dialError = messageOf(error).replace(`can't dial ${url}: `, "");
        session.abort(GOING_AWAY, meaningOf(dialError) ?? "it can't be reached");
      });
    });
  }

  /** Closes all sockets and links; handshakes in progress give no link. */
  end(reason: string): void {
    this.#ended = true;
    for (const session of [...this.#accepting, ...this.#dialling]) {
      session.giveUp(GOING_AWAY, reason);
    }
    for (const link of [...this.#accepted, ...this.#dialled]) link.close(reason);
  }

  #link(socket: Socket, peer: LinkIdentity, links: Set<WebSocketLink>): WebSocketLink {
    const link = new WebSocketLink(socket, peer, this.#options.clock, () => links.delete(link));
    links.add(link);
    return link;
  }

  #handOver(link: WebSocketLink): void {
    try {
      this.#options.accept(link);
    } catch (error) {
      link.close(`the link was not taken: ${messageOf(error)}`);
    }
  }
}

/** Handlers for a socket that gets no link. */
export function refuseSocket(why: string): SocketHandlers {
  return {
    open: (socket) => socket.close(TRY_LATER, why),
    message() {},
    close() {},
  };
}
