/**
 * One link over an authenticated socket, with keepalives that detect a dead peer. Takes messages
 * from the core and frames from the socket; gives frames and messages. See the port's `Link` for its
 * guarantees.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_FRAME_BYTES, MAX_LINK_BUFFER_BYTES } from "../../src/limits.ts";
import type { Body } from "../../src/model/body.ts";
import { pack } from "../../src/model/value.ts";
import type { Clock, Timer } from "../../src/ports/clock.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import type { Link, LinkHandlers, LinkIdentity } from "../../src/ports/transport.ts";
import {
  bytesOf,
  FrameBuffer,
  framedSize,
  frameOf,
  MOST_MESSAGES,
  readFrame,
  readTextFrame,
  TextBuffer,
  textSize,
} from "./link_frames.ts";

/** How often an idle end sends a keepalive, in ms. */
export const KEEPALIVE_MS = 15_000;
/** Keepalives that may be missed before the peer counts as dead. */
const MISSED = 3;

/**
 * The dialler gave the handshake up. It never had the link, and read nothing that this end sent
 * over it.
 */
export const UNREAD = 4_410;
/** Close codes of links (RFC 6455 §7.4.2, for private use). */
const NORMAL = 1_000;
const MALFORMED = 4_400;
const SILENT = 4_408;
const BROKEN = 4_500;

/** An empty frame. */
const KEEPALIVE: Uint8Array = new Uint8Array(0);
/** The fewest messages after which a text frame is sent before its tick is over. */
const FEWEST_MESSAGES = 32;
/**
 * Into how many text frames the requests in flight are divided if the limits allow it, so that the
 * peer works on one while this end works on another. Fewer, larger frames cost less.
 */
const FRAMES_IN_FLIGHT = 4;

export class WebSocketLink implements Link {
  readonly peer: LinkIdentity;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #onEnd: (link: WebSocketLink) => void;
  /** At most one of the two buffers holds messages, so that their order is kept. */
  readonly #bytes: FrameBuffer = new FrameBuffer();
  readonly #text: TextBuffer = new TextBuffer();
  #handlers: LinkHandlers | null = null;
  /** Frames that came before {@link start}. */
  #early: (string | Uint8Array)[] = [];
  #earlyBytes = 0;
  /**
   * The number of unsent bytes: the socket's number when last asked, plus the bytes added since.
   */
  #waiting = 0;
  #isFlushing = false;
  /** Whether more than one message was added in this tick. */
  #isBusy = false;
  /** The most requests in flight that were seen since the last flush. */
  #inFlight = 0;
  /** The number of messages after which a text frame is sent before the tick is over. */
  #share = FEWEST_MESSAGES;
  #ended: string | null = null;
  #isUnread = false;
  /** Whether this end closed the link: later frames are dropped. */
  #isClosed = false;
  #isIdle = true;
  #silence = 0;
  #timer: Timer;

  /** `onEnd` runs once, when the link is closed by either end. */
  constructor(
    socket: Socket,
    peer: LinkIdentity,
    clock: Clock,
    onEnd: (link: WebSocketLink) => void,
  ) {
    this.#socket = socket;
    this.peer = peer;
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#timer = clock.after(KEEPALIVE_MS, this.#beat);
  }

  start(handlers: LinkHandlers): void {
    if (this.#handlers) throw new AtlasError("bad_request", "a link is started only once");
    this.#handlers = handlers;
    const early = this.#early;
    this.#early = [];
    for (const frame of early) {
      if (!this.#isClosed) this.#deliver(frame, handlers);
    }
    if (this.#ended !== null) this.#reportEnd(this.#ended);
  }

  send(tuple: readonly unknown[], body: Body): boolean {
    if (this.#ended !== null) return false;
    if (this.#waiting > MAX_LINK_BUFFER_BYTES && this.#measure() > MAX_LINK_BUFFER_BYTES) {
      return false;
    }
    const size = textSize(tuple, body);
    if (size === null) return this.#sendBytes(pack(tuple), bytesOf(body));
    if (this.#bytes.length > 0) this.#transmit(this.#bytes.take());
    this.#waiting += size;
    this.#text.add(tuple, body as string, size);
    if (this.#text.count >= this.#share || this.#text.isFull) this.#transmit(this.#text.take());
    this.#flushSoon();
    return this.#ended === null;
  }

  #sendBytes(head: Uint8Array, body: Uint8Array): boolean {
    const length = head.length + body.length;
    const size = framedSize(length);
    if (size > MAX_FRAME_BYTES) {
      throw new AtlasError(
        "payload_too_large",
        `a message of ${length} bytes is more than a frame of ${MAX_FRAME_BYTES} holds`,
      );
    }
    if (this.#text.count > 0) this.#transmit(this.#text.take());
    this.#waiting += size;
    if (!this.#bytes.add(head, body)) {
      this.#transmit(this.#bytes.take());
      // Too large for the buffer: it is sent alone, after what was queued before it.
      if (!this.#bytes.add(head, body)) this.#transmit(frameOf(head, body));
    }
    this.#flushSoon();
    return this.#ended === null;
  }

  close(reason: string): void {
    this.#finish(NORMAL, reason);
  }

  /** A frame came from the socket. */
  received(frame: string | Uint8Array): void {
    if (this.#ended !== null) return;
    this.#silence = 0;
    if (this.#handlers) this.#deliver(frame, this.#handlers);
    else this.#bufferEarly(frame);
  }

  /** The socket is closed. */
  lost(code: number, reason: string): void {
    if (this.#ended === null) this.#isUnread = code === UNREAD;
    this.#end(reason || `the connection was lost (${code})`);
  }

  #bufferEarly(frame: string | Uint8Array): void {
    this.#earlyBytes += frame.length;
    if (this.#earlyBytes > MAX_LINK_BUFFER_BYTES) {
      this.#finish(BROKEN, "too much came before the link was started");
    } else if (frame.length > 0) {
      this.#early.push(typeof frame === "string" ? frame : new Uint8Array(frame));
    }
  }

  #deliver(frame: string | Uint8Array, handlers: LinkHandlers): void {
    let isHandling = false;
    const take = (tuple: unknown, body: Body): boolean => {
      isHandling = true;
      handlers.message(tuple, body);
      isHandling = false;
      return !this.#isClosed;
    };
    try {
      if (typeof frame === "string") readTextFrame(frame, take);
      else readFrame(frame, take);
      // The requests of this frame are not answered yet.
      this.#inFlight = Math.max(this.#inFlight, handlers.inFlight?.() ?? 0);
    } catch (error) {
      if (isHandling) this.#finish(BROKEN, `a message could not be handled: ${messageOf(error)}`);
      else this.#finish(MALFORMED, messageOf(error));
    }
  }

  /**
   * Sends what is queued. A message that is still the only one after the running job is sent at
   * once. If there are several, more are likely to follow within a few promise callbacks, so the
   * rest is sent when the tick is over. Replies of uneven depth, 512 in flight on Bun: 190,000 a
   * second with a flush in every microtask, 2,700,000 with this.
   */
  #flushSoon(): void {
    if (this.#isFlushing) {
      this.#isBusy = true;
      return;
    }
    this.#isFlushing = true;
    queueMicrotask(this.#flushOrWait);
  }

  readonly #flushOrWait = (): void => {
    if (this.#isBusy) setImmediate(this.#flush);
    else this.#flush();
  };

  readonly #flush = (): void => {
    this.#isFlushing = false;
    this.#isBusy = false;
    this.#sendRest();
    const inFlight = Math.max(this.#inFlight, this.#handlers?.inFlight?.() ?? 0);
    const share = Math.ceil(inFlight / FRAMES_IN_FLIGHT);
    this.#share = Math.min(MOST_MESSAGES, Math.max(FEWEST_MESSAGES, share));
    this.#inFlight = 0;
  };

  #sendRest(): void {
    if (this.#text.count > 0) this.#transmit(this.#text.take());
    else if (this.#bytes.length > 0) this.#transmit(this.#bytes.take());
  }

  #transmit(frame: string | Uint8Array): void {
    this.#isIdle = false;
    this.#socket.send(frame);
    this.#measure();
  }

  #measure(): number {
    return this.#waiting = this.#socket.buffered() + this.#bytes.length + this.#text.size;
  }

  readonly #beat = (): void => {
    if (this.#ended !== null) return;
    if (++this.#silence > MISSED) {
      this.#finish(SILENT, `nothing came for ${MISSED * KEEPALIVE_MS / 1_000} s`);
      return;
    }
    if (this.#isIdle) this.#socket.send(KEEPALIVE);
    this.#isIdle = true;
    this.#timer = this.#clock.after(KEEPALIVE_MS, this.#beat);
  };

  /** This end closes. */
  #finish(code: number, reason: string): void {
    this.#isClosed = true;
    if (this.#ended !== null) return;
    this.#sendRest();
    this.#end(reason);
    this.#socket.close(code, reason);
  }

  #end(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#timer.cancel();
    this.#onEnd(this);
    if (this.#handlers) this.#reportEnd(reason);
  }

  /** Never runs within the call that closed the link, to avoid reentrancy. */
  #reportEnd(reason: string): void {
    const handlers = this.#handlers;
    queueMicrotask(() => handlers?.close(reason, this.#isUnread));
  }
}
