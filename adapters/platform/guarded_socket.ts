/**
 * Makes a runtime's WebSocket behave as the port `Socket` requires. Runtimes differ in whether and
 * when a WebSocket reports its close; some deliver messages after it, some accept frames of any
 * size.
 *
 * Here `close` runs once for each opened socket, nothing is delivered after it, and no frame over
 * the limit is passed on.
 */
import type { FrameBatch, Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import { BeatingSocket } from "./heartbeat.ts";

/** How long a peer may take to answer a close frame before the connection is dropped, in ms. */
const CLOSE_GRACE_MS = 1_000;

/** RFC 6455 §7.4: too big; an internal error; no close frame was seen. */
const TOO_BIG = 1009;
const INTERNAL = 1011;
const ABNORMAL = 1006;

/** The states of a socket. */
const NEW = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** How this end closes a socket. */
interface Closing {
  code: number;
  reason: string;
  readonly grace: ReturnType<typeof setTimeout>;
}

/**
 * A runtime's socket as the port requires it. A subclass passes on what is sent, and calls
 * `opened`, `received` and `ended`.
 *
 * A node may hold tens of thousands of them, so it holds no closures, and nothing of the request
 * that it came from.
 */
export abstract class GuardedSocket extends BeatingSocket implements Socket {
  #handlers: SocketHandlers;
  readonly #maxFrameBytes: number;
  #state: number = NEW;
  #closing: Closing | null = null;

  constructor(handlers: SocketHandlers, maxFrameBytes: number) {
    super();
    this.#handlers = handlers;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** The address of the peer that dialled this end. */
  abstract get remote(): string | undefined;
  /** Passes a frame on. False: it was dropped. */
  protected abstract write(data: string | Uint8Array): boolean;
  /** Passes frames on, whose bytes don't change later. False: one was dropped. */
  protected writeAll({ frames }: FrameBatch): boolean {
    for (const data of frames) {
      if (!this.write(data)) return false;
    }
    return true;
  }
  protected abstract waiting(): number;
  protected abstract sendClose(code: number, reason: string): void;
  /** Drops the connection without a close frame. */
  protected abstract terminate(): void;

  /** Whether frames are passed on. */
  get isOpen(): boolean {
    return this.#state === OPEN;
  }

  /** The connection is open. */
  opened(): void {
    if (this.#state !== NEW) return;
    this.#state = OPEN;
    try {
      this.#handlers = this.#handlers.open(this) ?? this.#handlers;
    } catch {
      this.close(INTERNAL, "the handler of this socket threw");
    }
  }

  /** A frame came. */
  received(data: string | Uint8Array): void {
    if (this.#state !== OPEN) return;
    // A string has at most as many code units as bytes, so it is cheap to refuse first.
    const size = data.length > this.#maxFrameBytes || typeof data !== "string"
      ? data.length
      : utf8Length(data, this.#maxFrameBytes);
    if (size > this.#maxFrameBytes) {
      this.close(TOO_BIG, `a frame is over ${this.#maxFrameBytes} bytes`);
      return;
    }
    try {
      this.#handlers.message(this, data);
    } catch {
      this.close(INTERNAL, "the handler of this socket threw");
    }
  }

  /**
   * The peer broke the protocol; the runtime's socket is closing, and its connection is dropped
   * after the grace time.
   */
  failed(): void {
    this.#closing ??= this.#within(ABNORMAL, "");
  }

  /** The connection has ended; later calls do nothing. */
  ended(code: number, reason: string): void {
    if (this.#state === CLOSED) return;
    const wasOpened = this.#state !== NEW;
    const closing = this.#state === CLOSING ? this.#closing : null;
    this.#state = CLOSED;
    this.stopHeartbeat();
    clearTimeout(this.#closing?.grace);
    if (!wasOpened) return;
    try {
      this.#handlers.close(this, closing?.code ?? code, closing?.reason ?? reason);
    } catch {
      // The socket's owner knows that it is closed, so the failure needs no report.
    }
  }

  send(data: string | Uint8Array): void {
    if (this.#state !== OPEN || this.write(data)) return;
    this.#lostFrame();
  }

  sendAll(batch: FrameBatch): void {
    if (this.#state !== OPEN || this.writeAll(batch)) return;
    this.#lostFrame();
  }

  buffered(): number {
    return this.#state === OPEN || this.#state === CLOSING ? this.waiting() : 0;
  }

  close(code: number, reason: string): void {
    if (this.#state === CLOSED || this.#state === CLOSING) return;
    if (this.#state === NEW) {
      this.#state = CLOSED;
      this.terminate();
      return;
    }
    this.#state = CLOSING;
    const closing = this.#closing ??= this.#within(code, "");
    closing.code = code;
    closing.reason = fit(reason);
    try {
      this.sendClose(code, closing.reason);
    } catch {
      this.cut();
    }
  }

  /** Ends it at once, and notifies its owner. */
  cut(): void {
    if (this.#state === CLOSED) return;
    try {
      this.terminate();
    } finally {
      this.ended(ABNORMAL, "");
    }
  }

  /** A frame is missing now, so later ones must not be delivered. */
  #lostFrame(): void {
    this.close(INTERNAL, "the peer reads too slowly");
  }

  #within(code: number, reason: string): Closing {
    return { code, reason, grace: setTimeout(() => this.cut(), CLOSE_GRACE_MS) };
  }
}

/** The UTF-8 length of a text, exact only if it may pass `limit`. */
function utf8Length(text: string, limit: number): number {
  if (text.length * 3 <= limit) return text.length;
  return new TextEncoder().encode(text).length;
}

/** A reason as a close frame can hold it: at most 123 bytes (RFC 6455 §5.5). */
function fit(reason: string): string {
  return reason.replace(/[^\x20-\x7e]/g, "?").slice(0, 123);
}
