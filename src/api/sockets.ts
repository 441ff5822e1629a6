/** Options and counters of client sockets. */

import type { Codec } from "../model/socket_frames.ts";

/** The id of a connection, and the secret that proves its ownership. */
export interface ConnectionIdentity {
  /** A UUID; MUST never repeat among all nodes that share a store. */
  readonly id: string;
  /**
   * Sent to its client alone. A caller that passes this connection as `former` MUST have verified
   * the secret.
   */
  readonly resume: string;
}

/** How a client socket is connected. */
export interface ConnectionOptions {
  /** Encodes and decodes its frames. */
  readonly codec: Codec;
  /** The number of the last event that its client has received. */
  readonly after?: number | undefined;
  /** Default: a random id, and no secret to resume it by. */
  readonly identity?: ConnectionIdentity | undefined;
  /** The id of its former connection, whose events it gets, too. The caller has verified it. */
  readonly former?: string | undefined;
  /** The client's region, if that isn't this node's. */
  readonly callerRegion?: string | undefined;
}

export interface SocketStats {
  /** Client sockets that are open here. */
  sockets: number;
  /** Events that were sent to them. */
  socketEvents: number;
  /** Client sockets that were closed because they read too slowly, or wrote too fast. */
  cutSockets: number;
  /**
   * Closed client sockets whose last messages were dropped: too many waited, or no owner could be
   * reached.
   */
  unheardSockets: number;
}
