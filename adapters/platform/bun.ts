/**
 * The port `Runtime` on Bun: `Bun.serve` for requests and sockets, the global WebSocket to dial.
 * Nothing of Bun leaves this file.
 */
import { AtlasError } from "../../src/errors.ts";
import { HEAD_MS, KEEP_ALIVE_MS, MAX_BEGUN_AT_ONCE } from "../../src/limits.ts";
import type {
  DialOptions,
  FrameBatch,
  PlainAnswer,
  Runtime,
  ServeOptions,
  Server,
  Socket,
  SocketHandlers,
} from "../../src/ports/runtime.ts";
import { FetchedRequest, isUnread } from "../http_wire/fetched_request.ts";
import { type Due, inNextTurn } from "../http_wire/request_life.ts";
import { type FrameHandlers, type FrameQueue, FrameTurns } from "./frame_turns.ts";
import { GuardedSocket } from "./guarded_socket.ts";
import { Heartbeats } from "./heartbeat.ts";
import { serveFailure } from "./serve_failure.ts";

/** Largest request body taken, in bytes; the HTTP app's own limit is lower. */
const MAX_REQUEST_BYTES = 67_108_864;
/** Bytes that may wait on one socket before Bun drops frames; then the socket is closed. */
const MAX_BACKPRESSURE_BYTES = 67_108_864;
/** The longest timeout that Bun accepts, in s. */
const MAX_SECONDS = 255;

/** The parts of Bun's own types that are used here. */
interface BunSocket {
  readonly data: ServedSocket;
  binaryType: "uint8array";
  readonly remoteAddress: string;
  sendBinary(data: Uint8Array): number;
  sendText(data: string): number;
  /** Writes what `run` sends to the connection at once. */
  cork(run: () => void): void;
  getBufferedAmount(): number;
  ping(): number;
  close(code: number, reason: string): void;
  terminate(): void;
}

interface BunServer {
  readonly port: number;
  upgrade(request: Request, options: { data: ServedSocket; headers?: HeadersInit }): boolean;
  timeout(request: Request, seconds: number): void;
  requestIP(request: Request): { readonly address: string } | null;
  stop(closeActive: boolean): Promise<void>;
}

interface Bun {
  readonly version: string;
  serve(options: Record<string, unknown>): BunServer;
}

function bun(): Bun {
  const found = (globalThis as { Bun?: Bun }).Bun;
  if (!found) throw new AtlasError("bad_request", "this is not Bun");
  return found;
}

/** Bun ≥ 1.4. */
export const runtime: Runtime = {
  name: "bun",
  get version(): string {
    return bun().version;
  },
  serve,
  dial,
};

async function serve(options: ServeOptions): Promise<Server> {
  const sockets = new Sockets();
  let server = listen(options, options.port, sockets);
  const { port } = server;
  const former: BunServer[] = [];
  return {
    port,
    async relisten() {
      // Stops listening at once; open connections continue.
      void server.stop(false);
      former.push(server);
      server = listen(options, port, sockets);
    },
    async close() {
      await Promise.all([server, ...former].map((it) => it.stop(true)));
      sockets.close();
    },
  };
}

function listen(options: ServeOptions, port: number, sockets: Sockets): BunServer {
  const keepAliveSeconds = secondsOf(options.times?.keepAliveMs ?? KEEP_ALIVE_MS);
  const turns = new TurnShare();
  try {
    return bun().serve({
      hostname: options.host,
      port,
      development: false,
      // Otherwise Bun lets a second process bind the same port.
      reusePort: false,
      // Arriving bytes don't extend this time, so a head that comes one byte at a time is also
      // late.
      idleTimeout: secondsOf(options.times?.headMs ?? HEAD_MS),
      maxRequestBodySize: MAX_REQUEST_BYTES,
      // Bun handles pipelined requests of a connection as soon as an answer is written, within the
      // same turn; if an answer isn't ready by then, it closes the connection.
      fetch: (request: Request, server: BunServer) => {
        const run = () => answer(options, request, server, keepAliveSeconds, sockets);
        const turn = turns.take();
        return turn === null ? run() : turn.then(run);
      },
      error: () => new Response("internal error", { status: 500 }),
      websocket: socketHandlers(options.maxFrameBytes),
    });
  } catch (cause) {
    throw serveFailure(options.host, port, cause);
  }
}

function secondsOf(ms: number): number {
  return Math.min(MAX_SECONDS, Math.ceil(ms / 1_000));
}

function answer(
  options: ServeOptions,
  request: Request,
  server: BunServer,
  keepAliveSeconds: number,
  sockets: Sockets,
): Response | undefined | Promise<Response | undefined> {
  const idle = new IdleTime(request, server, keepAliveSeconds);
  const finish = (answer: PlainAnswer) => {
    idle.answered();
    const response = responseOf(answer);
    if (isUnread(request)) response.headers.set("connection", "close");
    return response;
  };
  const plain = options.answer?.(new FetchedRequest(request)) ?? null;
  if (plain === null) return fetched(options, request, server, idle, sockets);
  return plain instanceof Promise ? plain.then(finish) : finish(plain);
}

/**
 * The time that the connection of a request may be idle. Bun applies it to the connection from then
 * on, during the answer and after it. A call may take longer, because its own deadline bounds it; so
 * no time applies to a request that isn't answered by the event loop's next turn. Most are by then,
 * and setting the time once instead of twice saves 0.7 µs.
 */
class IdleTime implements Due {
  readonly #request: Request;
  readonly #server: BunServer;
  readonly #seconds: number;
  #isAnswered = false;
  #isStopped = false;

  constructor(request: Request, server: BunServer, seconds: number) {
    this.#request = request;
    this.#server = server;
    this.#seconds = seconds;
    server.timeout(request, seconds);
    inNextTurn(this);
  }

  due(): void {
    if (!this.#isAnswered) this.stop();
  }

  /** No such time applies from now on. To be called before the connection becomes a socket, too. */
  stop(): void {
    this.#isStopped = true;
    this.#server.timeout(this.#request, 0);
  }

  /** The answer is ready. */
  answered(): void {
    this.#isAnswered = true;
    if (this.#isStopped) this.#server.timeout(this.#request, this.#seconds);
  }

  /** The request became a socket, which has no such time. */
  upgraded(): void {
    this.#isAnswered = true;
  }
}

/** The headers of the last plain answer. */
let lastHeaders: PlainAnswer["headers"] = {};
/** What was made of them; null until a second answer has the same ones. */
let madeHeaders: Headers | null = null;

/** A Response copies made headers in half the time that it takes to read a record of them. */
function responseOf({ status, headers, body }: PlainAnswer): Response {
  if (headers === lastHeaders) {
    madeHeaders ??= new Headers(headers);
    return new Response(body, { status, headers: madeHeaders });
  }
  lastHeaders = headers;
  madeHeaders = null;
  return new Response(body, { status, headers });
}

/** The answer of a request that has no plain one. */
function fetched(
  options: ServeOptions,
  request: Request,
  server: BunServer,
  idle: IdleTime,
  sockets: Sockets,
): Response | undefined | Promise<Response | undefined> {
  let upgraded = false;
  const from = {
    get remote() {
      return server.requestIP(request)?.address;
    },
  };
  const response = options.fetch(withHost(request), (handlers, how = {}) => {
    const { protocol, maxFrameBytes = options.maxFrameBytes, idleMs } = how;
    idle.stop();
    upgraded = server.upgrade(request, {
      data: new ServedSocket(sockets, handlers, maxFrameBytes, idleMs),
      headers: protocol === undefined ? undefined : { "Sec-WebSocket-Protocol": protocol },
    });
    if (upgraded) idle.upgraded();
    return upgraded ? new Response(null) : new Response("expected a WebSocket", { status: 426 });
  }, from);
  // Bun wants no response for a request that became a socket.
  const finish = (response: Response) => {
    if (upgraded) return undefined;
    idle.answered();
    if (isUnread(request)) response.headers.set("connection", "close");
    return response;
  };
  return response instanceof Promise ? response.then(finish) : finish(response);
}

/** For a request without a host, as HTTP/1.0 may send it, Bun gives only a path as the URL. */
function withHost(request: Request): Request {
  const { url } = request;
  return url.startsWith("/") ? new Request(`http://localhost${url}`, request) : request;
}

/** RFC 6455's registry: try again later. */
const TRY_LATER = 1013;

/** The open sockets of a server, and what they share. */
class Sockets {
  readonly heartbeats: Heartbeats = new Heartbeats();
  readonly turns: FrameTurns = new FrameTurns({
    now: () => performance.now(),
    later: (run) => void setImmediate(run),
  });
  readonly live: Set<ServedSocket> = new Set();

  close(): void {
    for (const socket of [...this.live]) socket.cut();
    this.heartbeats.close();
  }
}

/** The serving end of a socket. */
class ServedSocket extends GuardedSocket implements FrameHandlers {
  readonly #sockets: Sockets;
  #ws: BunSocket | null = null;
  #idleMs: number | undefined;
  /** Made once a frame of a client has to be held. */
  #frames: FrameQueue | null = null;
  #isGone = false;

  constructor(
    sockets: Sockets,
    handlers: SocketHandlers,
    maxFrameBytes: number,
    idleMs: number | undefined,
  ) {
    super(handlers, maxFrameBytes);
    this.#sockets = sockets;
    this.#idleMs = idleMs;
  }

  get remote(): string | undefined {
    return this.#ws?.remoteAddress;
  }

  attach(ws: BunSocket): void {
    const { live, heartbeats } = this.#sockets;
    this.#ws = ws;
    live.add(this);
    // Only a client's socket has an idle time; a link between nodes has none.
    if (this.#idleMs !== undefined) this.startHeartbeat(heartbeats, this.#idleMs);
    this.opened();
  }

  came(data: string | Uint8Array): void {
    this.heard();
    const { turns } = this.#sockets;
    if (this.#idleMs === undefined || !this.isOpen) return this.received(data);
    if (this.#frames === null && turns.mayPass(data.length)) return this.received(data);
    this.#frames ??= turns.queue(this);
    this.#frames.push(data);
  }

  message(data: string | Uint8Array): void {
    this.received(data);
  }

  full(): void {
    this.close(TRY_LATER, "too many of its messages are waiting");
  }

  detach(code: number, reason: string): void {
    const frames = this.#frames;
    this.#isGone = true;
    this.stopHeartbeat();
    this.#sockets.live.delete(this);
    if (!this.isOpen) frames?.drop();
    if (frames) frames.end(() => this.ended(code, reason));
    else this.ended(code, reason);
  }

  // Bun answers 0 for a dropped frame, -1 for a frame that waits.
  protected override write(data: string | Uint8Array): boolean {
    const ws = this.#ws;
    // The socket's last frames are still handled; the client reads no answers.
    if (ws === null || this.#isGone) return true;
    const sent = typeof data === "string" ? ws.sendText(data) : ws.sendBinary(data);
    return sent !== 0 || data.length === 0;
  }

  protected override writeAll(batch: FrameBatch): boolean {
    const ws = this.#ws;
    if (ws === null || this.#isGone || batch.frames.length === 1) return super.writeAll(batch);
    let isTaken = true;
    ws.cork(() => void (isTaken = super.writeAll(batch)));
    return isTaken;
  }

  protected override waiting(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }

  protected override sendClose(code: number, reason: string): void {
    this.#ws?.close(code, reason);
  }

  protected override terminate(): void {
    this.#ws?.terminate();
  }

  protected override ping(): void {
    this.#ws?.ping();
  }
}

function socketHandlers(maxFrameBytes: number): object {
  return {
    maxPayloadLength: maxFrameBytes,
    backpressureLimit: MAX_BACKPRESSURE_BYTES,
    idleTimeout: 0,
    perMessageDeflate: false,
    open(ws: BunSocket) {
      // Not a Buffer: its own methods answer slower, and slice() shares its bytes.
      ws.binaryType = "uint8array";
      ws.data.attach(ws);
    },
    message: (ws: BunSocket, data: string | Uint8Array) => ws.data.came(data),
    ping: (ws: BunSocket) => ws.data.heard(),
    pong: (ws: BunSocket) => ws.data.heard(),
    close: (ws: BunSocket, code: number, reason: string) => ws.data.detach(code, reason),
  };
}

/** What Bun's WebSocket has beyond the standard one. */
type BunWebSocket = WebSocket & { terminate(): void };

function dial(url: string, handlers: SocketHandlers, options: DialOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const Client = WebSocket as unknown as new (url: string, options: object) => BunWebSocket;
    const ws = new Client(url, { perMessageDeflate: false });
    ws.binaryType = "arraybuffer";
    const socket = new DialledSocket(ws, handlers, options.maxFrameBytes);
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new AtlasError("unavailable", `can't dial ${url}: ${why}`));
    };
    const timer = setTimeout(() => {
      socket.close(1000, "");
      fail(`no answer within ${options.timeoutMs} ms`);
    }, options.timeoutMs);
    ws.onopen = () => {
      clearTimeout(timer);
      socket.opened();
      resolve(socket);
    };
    ws.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      socket.received(typeof data === "string" ? data : new Uint8Array(data));
    };
    ws.onclose = ({ code, reason }) => {
      socket.ended(code, reason);
      fail(reason || "it closed while connecting");
    };
  });
}

/** The dialling end of a socket. */
class DialledSocket extends GuardedSocket {
  readonly #ws: BunWebSocket;

  constructor(ws: BunWebSocket, handlers: SocketHandlers, maxFrameBytes: number) {
    super(handlers, maxFrameBytes);
    this.#ws = ws;
  }

  get remote(): undefined {
    return undefined;
  }

  protected override write(data: string | Uint8Array): boolean {
    this.#ws.send(data as string | Uint8Array<ArrayBuffer>);
    return true;
  }

  protected override waiting(): number {
    return this.#ws.bufferedAmount;
  }

  protected override sendClose(code: number, reason: string): void {
    this.#ws.close(code, reason);
  }

  protected override terminate(): void {
    this.#ws.terminate();
  }

  protected override ping(): void {}
}

/**
 * Bounds how many requests begin in one turn of the event loop. Otherwise the server would serve
 * all requests in the bytes that it has already read before anything else runs.
 */
export class TurnShare {
  readonly #waiting: (() => void)[] = [];
  /** Requests begun in this turn of the event loop, roughly. */
  #begun = 0;
  #isAsked = false;

  /** Null if a request may begin now; else a promise that resolves once it may. */
  take(): Promise<void> | null {
    if (this.#begun < MAX_BEGUN_AT_ONCE) this.#begun++;
    // Awaited once in this many requests, because once in each turn would cost more.
    else if (!this.#isAsked) this.#ask(1);
    else return new Promise((go) => this.#waiting.push(go));
    return null;
  }

  #ask(begun: number): void {
    this.#begun = begun;
    this.#isAsked = true;
    setImmediate(this.#next);
  }

  /** The event loop's next turn. */
  readonly #next = (): void => {
    const due = this.#waiting.splice(0, MAX_BEGUN_AT_ONCE);
    this.#isAsked = false;
    if (due.length > 0) this.#ask(due.length);
    else this.#begun = 0;
    for (const go of due) go();
  };
}
