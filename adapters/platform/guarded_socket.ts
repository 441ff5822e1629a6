/**
 * Makes a runtime's WebSocket behave as the port `Socket` requires. Runtimes differ in whether and
 * when a WebSocket reports its close; some deliver messages after it, some accept frames of any
 * size.
 *
 * Here `close` runs once for each opened socket, nothing is delivered after it, and no frame over
 * the limit is passed on.
 */
import type { Socket, SocketHandlers } from "../../src/ports/runtime.ts";

/** What a guard needs of a runtime's own WebSocket. */
export interface RawSocket {
  /** False if the frame was dropped instead of taken. */
  send(data: string | Uint8Array): boolean;
  buffered(): number;
  close(code: number, reason: string): void;
  /** Drops the connection without a close frame. */
  terminate(): void;
}

/** How long a peer may take to answer a close frame before the connection is dropped, in ms. */
const CLOSE_GRACE_MS = 1_000;

/** RFC 6455 §7.4: too big; an internal error; no close frame was seen. */
const TOO_BIG = 1009;
const INTERNAL = 1011;
const ABNORMAL = 1006;

/** A runtime's socket as the port requires it. Adapters call `opened`, `received` and `ended`. */
export class GuardedSocket implements Socket {
  readonly remote: string | undefined;
  readonly #raw: RawSocket;
  readonly #handlers: SocketHandlers;
  readonly #maxFrameBytes: number;
  #state: "new" | "open" | "closing" | "closed" = "new";
  #grace: ReturnType<typeof setTimeout> | undefined;
  #code: number = ABNORMAL;
  #reason = "";

  constructor(raw: RawSocket, handlers: SocketHandlers, maxFrameBytes: number, remote?: string) {
    this.remote = remote;
    this.#raw = raw;
    this.#handlers = handlers;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Whether frames are passed on. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** The connection is open. */
  opened(): void {
    if (this.#state !== "new") return;
    this.#state = "open";
    try {
      this.#handlers.open(this);
    } catch {
      this.close(INTERNAL, "the handler of this socket threw");
    }
  }

  /** A frame came. */
  received(data: string | Uint8Array): void {
    if (this.#state !== "open") return;
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
    this.#grace ??= setTimeout(() => this.cut(), CLOSE_GRACE_MS);
  }

  /** The connection has ended; later calls do nothing. */
  ended(code: number, reason: string): void {
    if (this.#state === "closed") return;
    const wasOpened = this.#state !== "new";
    const closedHere = this.#state === "closing";
    this.#state = "closed";
    clearTimeout(this.#grace);
    if (!wasOpened) return;
    try {
      if (closedHere) this.#handlers.close(this, this.#code, this.#reason);
      else this.#handlers.close(this, code, reason);
    } catch {
      // The socket's owner knows that it is closed, so the failure needs no report.
    }
  }

  send(data: string | Uint8Array): void {
    if (this.#state !== "open") return;
    if (this.#raw.send(data)) return;
    // A frame is missing now, so later ones must not be delivered.
    this.close(INTERNAL, "the peer reads too slowly");
  }

  buffered(): number {
    return this.#state === "open" || this.#state === "closing" ? this.#raw.buffered() : 0;
  }

  close(code: number, reason: string): void {
    if (this.#state === "closed" || this.#state === "closing") return;
    if (this.#state === "new") {
      this.#state = "closed";
      this.#raw.terminate();
      return;
    }
    this.#state = "closing";
    this.#code = code;
    this.#reason = fit(reason);
    this.#grace ??= setTimeout(() => this.cut(), CLOSE_GRACE_MS);
    try {
      this.#raw.close(code, this.#reason);
    } catch {
      this.cut();
    }
  }

  /** Ends it at once, and notifies its owner. */
  cut(): void {
    if (this.#state === "closed") return;
    try {
      this.#raw.terminate();
    } finally {
      this.ended(ABNORMAL, "");
    }
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
