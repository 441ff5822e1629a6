/** The types of a client's socket. */

/** An event as a client receives it. */
export interface SocketEvent<T = unknown> {
  /**
   * Its number: one more than that of the event before, unless events in between were for other
   * connections.
   */
  readonly seq: number;
  /** The epoch of the resource's owner that sent it. */
  readonly epoch: number;
  readonly data: T;
  /** Whether earlier events that this client has not received are lost. */
  readonly gap: boolean;
}

/** The node's first message on each connection of the socket. */
export interface SocketHello {
  /** The connection's id, as the resource knows it. */
  readonly connection: string;
  readonly epoch: number;
  /** The number of the last event. */
  readonly seq: number;
  /** Whether events that this client has not received are lost. */
  readonly gap: boolean;
}

/** Why a socket ended: a code of RFC 6455, or 4000 plus an HTTP status. */
export interface SocketClose {
  readonly code: number;
  readonly reason: string;
}

export interface SocketOptions<T = unknown> {
  /** Starts after this event; later ones that are still kept come first. */
  after?: number;
  onEvent?: (event: SocketEvent<T>) => void;
  onHello?: (hello: SocketHello) => void;
  /** Runs once, when the socket has ended finally. */
  onClose?: (close: SocketClose) => void;
  /** Closes it. */
  signal?: AbortSignal;
}

/**
 * A socket that stays connected to one resource, and reconnects by itself. Iterating over it gives
 * the events that come after that, until it is closed.
 */
export interface ClientSocket<T = unknown> extends AsyncIterable<SocketEvent<T>> {
  /** The id of the connection; null before the first hello. */
  readonly connection: string | null;
  /** The number of the last event that it has received; null before the first hello. */
  readonly seq: number | null;
  /**
   * Makes the resource's `onMessage` run with `data`, even if `close` is called right after. The
   * message is kept until the socket is connected; a message that was sent while a connection broke
   * may be lost.
   *
   * @throws AtlasError `bad_request` if `data` can't be encoded or it is closed, `overloaded` if
   * 1,024 wait.
   */
  send(data: unknown): void;
  /**
   * Calls a method over the socket, after what was sent before. Ends within its time limit, 10 s
   * by default, connected or not.
   *
   * @throws AtlasError `bad_request` if an argument or option isn't allowed or it is closed;
   * `timeout`; `unavailable` with `maybeExecuted` if the connection broke before the answer; or the
   * error of the call itself.
   */
  call(
    method: string,
    args?: readonly unknown[],
    options?: SocketCallOptions,
  ): Promise<unknown>;
  /** Closes the socket; messages that wait are still sent, for 2 s at most. Pending calls fail. */
  close(): void;
  /** Resolves when the socket has ended finally. */
  readonly closed: Promise<SocketClose>;
}

/** How a method is called over a socket. */
export interface SocketCallOptions {
  /**
   * How long the call may take, connected or not, in ms; 1 to 300,000. Default: that of
   * `connect`, 10,000.
   */
  timeoutMs?: number;
  /**
   * The answer is kept for at least 10 minutes, so that the call has its effect once; if the
   * connection breaks, the call is sent again. 1 to 256 printable ASCII characters.
   */
  idempotencyKey?: string;
  /**
   * Runs before the call resolves if its answer is marked: the resource's node can't reach the
   * store, so the call's effect may be lost (`partition: "available"`).
   */
  onVerdict?: (verdict: "suspect" | "contested") => void;
}
