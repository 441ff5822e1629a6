/**
 * Sockets of the `ws` package as the port's sockets. Used if the runtime's own WebSocket is missing
 * (Node) or slow to send (Deno's client holds frames over 1 KiB back for 40 ms).
 *
 * Takes a `ws` socket, either end, or a URL to dial; gives a guarded socket.
 */
import type { Socket as TcpSocket } from "node:net";
import process from "node:process";
import { type RawData, WebSocket } from "ws";
import { AtlasError } from "../../src/errors.ts";
import { redirectTo } from "../../src/model/redirect.ts";
import type { DialOptions, FrameBatch, Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import { GuardedSocket } from "./guarded_socket.ts";
import type { Heartbeats } from "./heartbeat.ts";

/** The first byte of a whole message. */
const FINAL_TEXT = 0x81;
const FINAL_BINARY = 0x82;
/** The lengths up to which a frame's length takes 0 or 2 further bytes; a longer one takes 8. */
const SHORT = 125;
const MEDIUM = 65_535;

const decoder: TextDecoder = new TextDecoder();

/** A `ws` socket that knows its guard. */
export class GuardedWs extends WebSocket {
  guard: WsSocket | null = null;
}

/**
 * A `ws` socket of either end. Its listeners are the same functions for all sockets.
 */
export class WsSocket extends GuardedSocket {
  readonly #ws: GuardedWs;
  /** The connection of a serving end: the frames of one tick are written to it at once. */
  readonly #connection: TcpSocket | null;
  /** The open sockets of its server. */
  readonly #live: Set<WsSocket> | null;
  #isCorked = false;

  constructor(
    ws: GuardedWs,
    handlers: SocketHandlers,
    maxFrameBytes: number,
    connection: TcpSocket | null = null,
    live: Set<WsSocket> | null = null,
  ) {
    super(handlers, maxFrameBytes);
    this.#ws = ws;
    this.#connection = connection;
    this.#live = live;
    live?.add(this);
    ws.guard = this;
    ws.on("message", onMessage);
    ws.on("close", onClose);
    ws.on("error", onError);
  }

  get remote(): string | undefined {
    return this.#connection?.remoteAddress;
  }

  /** Starts the heartbeat of a client that may be silent for `idleMs`. */
  beat(heartbeats: Heartbeats, idleMs: number): void {
    this.#ws.on("ping", onSign);
    this.#ws.on("pong", onSign);
    this.startHeartbeat(heartbeats, idleMs);
  }

  protected override write(data: string | Uint8Array): boolean {
    const connection = this.#connection;
    if (connection === null) {
      // The dialling end masks, and so copies, what it sends.
      this.#ws.send(data);
      return true;
    }
    if (this.#ws.readyState !== WebSocket.OPEN) return true;
    if (!this.#isCorked) {
      this.#isCorked = true;
      connection.cork();
      process.nextTick(uncork, this);
    }
    connection.write(encodeFrames([data]));
    return true;
  }

  protected override writeAll(batch: FrameBatch): boolean {
    if (this.#connection === null) return super.writeAll(batch);
    if (this.#ws.readyState !== WebSocket.OPEN) return true;
    batch.encoded ??= encodeFrames(batch.frames);
    this.#connection.write(batch.encoded as Uint8Array);
    return true;
  }

  /** The connection has ended. */
  gone(code: number, reason: string): void {
    this.#live?.delete(this);
    this.ended(code, reason);
  }

  uncork(): void {
    this.#isCorked = false;
    this.#connection?.uncork();
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

  protected override ping(): void {
    this.#ws.ping();
  }
}

function uncork(socket: WsSocket): void {
  socket.uncork();
}

function guardOf(ws: WebSocket): WsSocket | null {
  return (ws as GuardedWs).guard;
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  const { buffer, byteOffset, byteLength } = data as Buffer;
  // A plain view: a Buffer's own methods answer slower, and slice() shares its bytes.
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  const socket = guardOf(this);
  socket?.heard();
  socket?.received(isBinary ? bytes : decoder.decode(bytes));
}

function onClose(this: WebSocket, code: number, reason: Uint8Array): void {
  guardOf(this)?.gone(code, decoder.decode(reason));
}

/** `ws` waits 30 s for the peer's close frame, and discards what comes until then. */
function onError(this: WebSocket): void {
  guardOf(this)?.failed();
}

function onSign(this: WebSocket): void {
  guardOf(this)?.heard();
}

/**
 * The bytes of frames of a serving end (RFC 6455 §5.2), one after the other: a copy. They are whole
 * messages, not masked. `ws` would encode each of them for each socket anew.
 */
export function encodeFrames(frames: readonly (string | Uint8Array)[]): Buffer {
  let size = 0;
  const lengths = frames.map((frame) => {
    const length = typeof frame === "string" ? Buffer.byteLength(frame) : frame.length;
    size += headOf(length) + length;
    return length;
  });
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  frames.forEach((frame, i) => {
    const length = lengths[i] as number;
    const isText = typeof frame === "string";
    bytes[at] = isText ? FINAL_TEXT : FINAL_BINARY;
    if (length <= SHORT) {
      bytes[at + 1] = length;
    } else if (length <= MEDIUM) {
      bytes[at + 1] = 126;
      bytes.writeUInt16BE(length, at + 2);
    } else {
      bytes[at + 1] = 127;
      bytes.writeUInt32BE(Math.floor(length / 2 ** 32), at + 2);
      bytes.writeUInt32BE(length % 2 ** 32, at + 6);
    }
    at += headOf(length);
    if (isText) bytes.write(frame, at, "utf8");
    else bytes.set(frame, at);
    at += length;
  });
  return bytes;
}

function headOf(length: number): number {
  if (length <= SHORT) return 2;
  return length <= MEDIUM ? 4 : 10;
}

/** Dials with `ws`: no redirects, no compression. See the port's `dial`. */
export function dialWs(
  url: string,
  handlers: SocketHandlers,
  options: DialOptions,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const ws = new GuardedWs(url, {
      perMessageDeflate: false,
      followRedirects: false,
      handshakeTimeout: Math.max(1, options.timeoutMs),
      maxPayload: options.maxFrameBytes,
    });
    const socket = new WsSocket(ws, handlers, options.maxFrameBytes);
    ws.on("open", () => {
      socket.opened();
      resolve(socket);
    });
    ws.on("unexpected-response", (request, { statusCode = 0, headers: { location = null } }) => {
      const redirect = redirectTo(statusCode, location, url.replace(/^ws/, "http"));
      const why = redirect === null ? `answers HTTP ${statusCode}` : `${redirect}, not followed`;
      reject(new AtlasError("unavailable", `can't dial ${url}: it ${why}`));
      request.destroy();
    });
    ws.on("error", (cause: Error) => {
      reject(new AtlasError("unavailable", `can't dial ${url}: ${cause.message}`, { cause }));
    });
    ws.on("close", () => {
      reject(new AtlasError("unavailable", `can't dial ${url}: it closed while connecting`));
    });
  });
}
