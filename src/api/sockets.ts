/** Options and counters of client sockets. */

import type { Codec } from "../model/socket_frames.ts";
import type { ConnectionIdentity } from "../sockets/socket_server.ts";

/** How a client's socket is to be connected. */
export interface ConnectionOptions {
  /** How its frames are written. */
  readonly codec: Codec;
  /** The number of the last event that its client has had. */
  readonly after?: number | undefined;
  /** Default: a random id, and no secret to resume it by. */
  readonly identity?: ConnectionIdentity | undefined;
  /** The id that its connection had before: events for that one come, too. Proven by the caller. */
  readonly former?: string | undefined;
  /** The region that its calls are made for, where that isn't this node's. */
  readonly callerRegion?: string | undefined;
}

export interface SocketStats {
  /** Client sockets that are open here. */
  sockets: number;
  /** Events that were sent to them. */
  socketEvents: number;
  /** Those that were cut because they read too slowly, or wrote too fast. */
  cutSockets: number;
  /** Closed ones of which messages were given up: too many waited, or nobody could hear them. */
  unheardSockets: number;
}
