/**
 * The port for links between nodes, each end of which knows the other's identity.
 *
 * The core sends messages, each a tuple and a body; they arrive whole, in order and at most once per
 * link. The core never sees codecs, frames, sockets or secrets.
 *
 * Source: `docs/design.md`, Links and messages.
 */

import type { Body } from "../model/body.ts";

/** The identity of one end of a link. */
export interface LinkIdentity {
  readonly region: string;
  readonly node: string;
  /** The node's incarnation; a restarted node is another peer. */
  readonly incarnation: string;
}

/** As region, node and incarnation of a peer: any node that answers there. */
export const ANYONE = "*";

/** A peer to dial: its expected identity, or {@link ANYONE}, and its address. */
export interface Peer extends LinkIdentity {
  readonly address: string;
}

export interface Transport {
  /** Where peers dial this end, as published in membership. Valid once it is open. */
  readonly address: string;

  /**
   * Takes the identity `self` from now on, and passes each link that a peer opens to `accept`. A
   * second call begins a new incarnation: it MUST close all links of the former one first.
   */
  open(self: LinkIdentity, accept: (link: Link) => void): Promise<void>;

  /**
   * Opens a link to `peer`. MUST NOT resolve before both ends have proven their identity; rejects
   * with `unavailable` if nobody answers in time, another node does, or the address may not be
   * dialled, and with `unauthorized` if the secrets differ. The link's peer is the node that
   * answered, also for {@link ANYONE}.
   */
  dial(peer: Peer): Promise<Link>;

  /** Closes all links and stops accepting. A closed transport stays closed. */
  close(): Promise<void>;
}

export interface Link {
  /** The proven identity of the other end. */
  readonly peer: LinkIdentity;

  /**
   * Sets both handlers of this end; called exactly once, before anything is sent. Messages that
   * came earlier MUST be kept until then. A `body` of bytes is only valid during the call. `close`
   * runs exactly once, also if this end closed; with `isUnread` only if the peer has certainly read
   * nothing of the link.
   */
  start(handlers: LinkHandlers): void;

  /**
   * Queues one message: a tuple of null, booleans, numbers, strings and arrays of these, and its
   * body. The messages of a tick are sent together. Returns false, and sends nothing, if the link is
   * closed or more than `MAX_LINK_BUFFER_BYTES` wait already. Throws `payload_too_large` if the
   * message can't fit a frame. Bytes are copied before it returns; the tuple MUST NOT be changed
   * afterwards.
   */
  send(tuple: readonly unknown[], body: Body): boolean;

  /** Closes the link; messages queued before MAY still arrive. */
  close(reason: string): void;
}

export interface LinkHandlers {
  /** `tuple` is a decoded value of any type: the reader checks it. */
  message(tuple: unknown, body: Body): void;
  close(reason: string, isUnread?: boolean): void;
  /**
   * About the number of requests in flight over the link, in both directions: a hint for how to
   * divide messages into frames.
   */
  inFlight?(): number;
}
