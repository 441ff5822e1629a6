/**
 * The port for the runtime below a node. Each adapter does only what Bun, Deno and Node do
 * differently: serving HTTP, upgrading to WebSockets, dialling them. The core itself never uses it.
 */

/** Frames that several sockets send, one after the other. */
export interface FrameBatch {
  readonly frames: readonly (string | Uint8Array)[];
  /** What a runtime's adapter made of them for its sockets. */
  encoded?: unknown;
}

/** Either end of a WebSocket, of any runtime. */
export interface Socket {
  /** The address that it was opened from, if this end was dialled and the runtime provides it. */
  readonly remote?: string | undefined;
  /** Sends one frame: text as text, bytes as binary. Does nothing on a closed socket. */
  send(data: string | Uint8Array): void;
  /** Sends the frames, whose bytes MUST NOT change later. */
  sendAll?(batch: FrameBatch): void;
  /** Bytes passed to {@link send} that have not been sent yet. */
  buffered(): number;
  /** Closes it with a WebSocket close code (RFC 6455 §7.4). */
  close(code: number, reason: string): void;
  /** Closes it at once, without a close frame; the `close` handler runs before this returns. */
  cut?(): void;
}

/** Handlers of a socket's events. `message` bytes are only valid during the call. */
export interface SocketHandlers {
  /**
   * May return the handlers of the socket's further events. An adapter that uses them can drop
   * these.
   */
  open(socket: Socket): SocketHandlers | void;
  message(socket: Socket, data: string | Uint8Array): void;
  /** MUST run exactly once per opened socket, also if this end closed it. */
  close(socket: Socket, code: number, reason: string): void;
}

export interface UpgradeOptions {
  /** The chosen subprotocol, one of those that the client offered. */
  protocol?: string | undefined;
  /** Largest frame accepted, in bytes. Default: the server's limit. */
  maxFrameBytes?: number;
  /**
   * The peer is pinged, and its connection closed once nothing was received for about so long, in
   * ms.
   */
  idleMs?: number;
}

/** Upgrades the request being served to a socket; the result MUST be returned from `fetch`. */
export type Upgrade = (handlers: SocketHandlers, options?: UpgradeOptions) => Response;

/**
 * How long a server waits for its clients, in ms. Bun rounds up to its own steps of 4 s. Node and Deno
 * wait up to 5 s less, because they check all connections at intervals.
 */
export interface ServerTimes {
  /** From a connection's start until the head of its first request is complete. */
  headMs: number;
  /** Between requests of one connection. */
  keepAliveMs: number;
  /** While a client reads nothing of its response. */
  answerMs: number;
}

/** The origin of a request; read only while the request is served. */
export interface RequestOrigin {
  /** The address of the connection's other end, if the runtime provides it. */
  readonly remote?: string | undefined;
}

/**
 * A request of which no `Request` was made, because making one costs more than serving a call.
 *
 * A server MUST make one only of a request whose target and headers a `Request` would have
 * unchanged.
 */
export interface PlainRequest {
  readonly method: string;
  /** The whole URL, or path and query; still percent-encoded. */
  readonly url: string;
  readonly headers: HeaderReader;
  /**
   * Aborts when the client disconnects before it has the answer. It may have only what checking and
   * listening need, so it can't be given to the platform's own functions. MUST be read before
   * {@link read} is called.
   */
  readonly signal: AbortSignal;
  /**
   * The whole body, at once if it is in memory. MUST be called once at most, and not for GET and
   * HEAD. Rejects with an AtlasError: `payload_too_large` over `maxBytes`, `timeout` after
   * `timeoutMs`, `bad_request` if the body breaks off.
   */
  read(maxBytes: number, timeoutMs: number): Uint8Array | Promise<Uint8Array>;
}

/** The part of `Headers` that reads one. */
export interface HeaderReader {
  /** Several headers of one name are joined by a comma and a space. Null: there is none. */
  get(name: string): string | null;
}

/** An answer whose whole body is in memory. */
export interface PlainAnswer {
  readonly status: number;
  /**
   * By names in small letters, without `content-length`. Answers with the same headers may have the
   * same record, and a server may keep what it made of the last one.
   */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array<ArrayBuffer>;
}

export interface ServeOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /**
   * Largest WebSocket message accepted, in bytes, all its fragments together; a larger one closes
   * its socket with 1009 before all of it is in memory.
   */
  maxFrameBytes: number;
  /** Default: `HEAD_MS`, `KEEP_ALIVE_MS` and `ANSWER_IDLE_MS` of `src/limits.ts`. */
  times?: ServerTimes;
  /**
   * Asked first, about each request that has a plain form. Null: {@link fetch} is called instead;
   * the body is unread then. Whatever it throws is answered with 500.
   */
  answer?(request: PlainRequest): PlainAnswer | Promise<PlainAnswer> | null;
  /**
   * MUST NOT be called for a request before the previous one of the same connection was answered
   * and its response sent. The same holds for {@link answer}.
   */
  fetch(request: Request, upgrade: Upgrade, from?: RequestOrigin): Response | Promise<Response>;
}

export interface Server {
  /** The port bound. */
  readonly port: number;
  /**
   * Closes the listening socket and opens another one on the same port. Open sockets and requests
   * MUST continue; idle connections may be closed. Rejects if the port can't be bound.
   */
  relisten(): Promise<void>;
  /** Stops listening, closes all connections, and resolves when the port is free. */
  close(): Promise<void>;
}

export interface DialOptions {
  /** Largest frame accepted, in bytes. */
  maxFrameBytes: number;
  /** The time allowed for connecting, in ms. */
  timeoutMs: number;
}

export interface Runtime {
  readonly name: "bun" | "deno" | "node";
  readonly version: string;
  /** Rejects with an Error whose message names the host and port that can't be bound, and why. */
  serve(options: ServeOptions): Promise<Server>;
  /** Opens a WebSocket client without following redirects; rejects if nobody answers in time. */
  dial(url: string, handlers: SocketHandlers, options: DialOptions): Promise<Socket>;
}
