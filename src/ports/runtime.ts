/**
 * The port for the runtime below a node. Each adapter does only what Bun, Deno and Node do
 * differently: serving HTTP, upgrading to WebSockets, dialling them. The core itself never uses
 * it.
 */

/** A WebSocket of any runtime, either end of it. */
export interface Socket {
  /** The address that it was opened from, where this end was dialled and the runtime tells. */
  readonly remote?: string | undefined;
  /** Sends one frame: text as text, bytes as binary. Does nothing on a closed socket. */
  send(data: string | Uint8Array): void;
  /** Bytes taken by {@link send} that have not left yet. */
  buffered(): number;
  /** Ends it with a WebSocket close code (RFC 6455 §7.4). */
  close(code: number, reason: string): void;
  /** Ends it at once, without a close frame; its owner's `close` runs before this comes back. */
  cut?(): void;
}

/** What a socket's owner listens to. `message` bytes are only valid during the call. */
export interface SocketHandlers {
  open(socket: Socket): void;
  message(socket: Socket, data: string | Uint8Array): void;
  /** MUST run exactly once per opened socket, also where this end closed it. */
  close(socket: Socket, code: number, reason: string): void;
}

export interface UpgradeOptions {
  /** The subprotocol that is chosen, of those that the client offered. */
  protocol?: string | undefined;
  /** Largest frame taken, in bytes, where it isn't the server's. */
  maxFrameBytes?: number;
  /** The peer is pinged, and cut off once nothing was heard of it for about so long, in ms. */
  idleMs?: number;
}

/** Turns the request being served into a socket; the answer MUST be returned from `fetch`. */
export type Upgrade = (handlers: SocketHandlers, options?: UpgradeOptions) => Response;

/** How long a server waits for its clients, in ms. Bun rounds up to its own steps of 4 s. */
export interface ServerTimes {
  /** From a connection's start until the head of its first request is whole. */
  headMs: number;
  /** Between requests of one connection. */
  keepAliveMs: number;
  /** While a client takes nothing of its answer. */
  answerMs: number;
}

/** Where a request came from; asked only while the request is served. */
export interface RequestOrigin {
  /** The address of the connection's other end, where the runtime tells. */
  readonly remote?: string | undefined;
}

export interface ServeOptions {
  host: string;
  /** 0: any free one. */
  port: number;
  /**
   * Largest WebSocket message taken, in bytes, all its fragments together; a larger one closes
   * its socket with 1009 before it is held whole.
   */
  maxFrameBytes: number;
  /** Default: `HEAD_MS`, `KEEP_ALIVE_MS` and `ANSWER_IDLE_MS` of `src/limits.ts`. */
  times?: ServerTimes;
  /**
   * MUST NOT be called for a request of a connection before the one before it was answered and
   * its answer taken.
   */
  fetch(request: Request, upgrade: Upgrade, from?: RequestOrigin): Response | Promise<Response>;
}

export interface Server {
  /** The port bound. */
  readonly port: number;
  /**
   * Gives the listening socket up and opens another one on the same port. Sockets and requests
   * that are open MUST go on; idle connections may end. Rejects where the port can't be had.
   */
  listenAnew(): Promise<void>;
  /** Stops listening, ends what is open, and resolves when the port is free. */
  close(): Promise<void>;
}

export interface DialOptions {
  /** Largest frame taken, in bytes. */
  maxFrameBytes: number;
  /** Gives up on connecting after this long. */
  timeoutMs: number;
}

export interface Runtime {
  readonly name: "bun" | "deno" | "node";
  readonly version: string;
  /** Rejects with an Error whose message says which host and port can't be bound, and why. */
  serve(options: ServeOptions): Promise<Server>;
  /** Opens a WebSocket client, following no redirect; rejects where none answers in time. */
  dial(url: string, handlers: SocketHandlers, options: DialOptions): Promise<Socket>;
}
