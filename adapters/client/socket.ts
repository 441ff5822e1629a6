/**
 * The client's end of a socket, which reconnects by itself.
 *
 * Takes the URLs of nodes and a resource's name; gives its events in order, each once, across lost
 * connections and different nodes, and marks the events before which others are missing. Leaves a
 * connection on which no frame arrives. Browser-safe: only WebSocket, timers and what the requester
 * uses.
 */
import { AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import { SOCKET_SILENCE_MS } from "../../src/limits.ts";
import { isNoUpgrade, statusOf } from "../http_wire/errors.ts";
import { MSGPACK_PROTOCOL, RESUME_PROTOCOL, TOKEN_PROTOCOL } from "../http_wire/socket_codec.ts";
import { type PendingCall, SocketCalls } from "./socket_calls.ts";
import { encodeFrame, type Frame, readFrame } from "./frames.ts";
import type {
  ClientSocket,
  SocketCallOptions,
  SocketClose,
  SocketEvent,
  SocketOptions,
} from "./socket_api.ts";

/** What a socket needs. */
export interface SocketParts {
  /** Base URLs of nodes. */
  readonly urls: readonly string[];
  readonly token: string | undefined;
  /** `<type>/<id>`, percent-encoded. */
  readonly key: string;
  /** The time limit of calls that name none, in ms. */
  readonly timeoutMs: number;
  /**
   * Sends the same request without an upgrade; rejects with the reason that a socket is refused.
   */
  readonly probe: () => Promise<unknown>;
  /** How long a connection may be without a frame before it is left, in ms. Default 30,000. */
  readonly silenceMs?: number;
}

const MAX_KEPT = 1_024;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** How long a closed socket continues to send its queued messages, in ms. */
const LINGER_MS = 2_000;
/**
 * How long the socket waits for answers of a node that asked it to leave, in ms; the node waits 2
 * s.
 */
const LEAVE_MS = 1_500;
/**
 * If a timer is later than this, the process was suspended, and frames that came meanwhile are
 * unread, in ms.
 */
const STALL_MS = 1_000;
/** Failed upgrades in a row, at each URL, while requests succeed, before the socket fails. */
const MAX_FAILED_UPGRADES = 4;
/** RFC 6455, §7.4.1: normal closure; invalid data. */
const NORMAL = 1000;
const INVALID = 1007;
/** 4000 and the status of RFC 9110, §15.5.22. */
const UPGRADE_REQUIRED = 4426;
const UPGRADES_FAIL =
  "the upgrade to a WebSocket doesn't arrive at the node, though requests do: a " +
  "proxy in between must pass on the headers Upgrade and Connection";
/** Codes after which no reconnection helps; own codes are errors that are not retryable. */
const FINAL = new Set([NORMAL, 1002, 1003, INVALID, 1008, 1009, 1010]);

/** Opens a socket that reconnects by itself. */
export function openSocket<T>(parts: SocketParts, options: SocketOptions<T>): ClientSocket<T> {
  return new ReconnectingSocket(parts, options);
}

class ReconnectingSocket<T> implements ClientSocket<T> {
  readonly closed: Promise<SocketClose>;
  readonly #parts: SocketParts;
  readonly #options: SocketOptions<T>;
  readonly #calls: SocketCalls;
  /** Messages and calls that wait for a connection. */
  #kept: (Uint8Array<ArrayBuffer> | PendingCall)[] = [];
  readonly #listeners = new Set<(event: SocketEvent<T> | null) => void>();
  #socket: WebSocket | null = null;
  #isJoined = false;
  /** Whether the node of the present connection asked to leave. */
  #isLeaving = false;
  /** Whether it was closed and now only sends its queued messages. */
  #isClosing = false;
  #url = 0;
  #attempt = 0;
  /** Attempts in a row whose upgrade failed though a request succeeded. */
  #failedUpgrades = 0;
  /** Why it isn't connected, if known. */
  #lastError: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The timer after which the present connection is left. */
  #leaveTimer: ReturnType<typeof setTimeout> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #heardAt = 0;
  #connection: string | null = null;
  /**
   * The secret that proves that the connection is this client's; undefined if its node sent none.
   */
  #resume: string | undefined;
  #seq: number | null;
  #gap = false;
  #isOver = false;
  #resolveClosed!: (close: SocketClose) => void;

  constructor(parts: SocketParts, options: SocketOptions<T>) {
    this.#parts = parts;
    this.#options = options;
    this.#calls = new SocketCalls(parts.timeoutMs);
    this.#seq = options.after ?? null;
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
    // Done later, because the caller has not added listeners yet.
    if (options.signal?.aborted) queueMicrotask(() => this.close());
    else queueMicrotask(() => this.#open());
  }

  get connection(): string | null {
    return this.#connection;
  }

  get seq(): number | null {
    return this.#seq;
  }

  send(data: unknown): void {
    this.#checkOpen();
    const frame = encodeFrame({ t: "message", data });
    if (this.#canSend) this.#socket?.send(frame);
    else this.#keep(frame);
  }

  async call(
    method: string,
    args: readonly unknown[] = [],
    options: SocketCallOptions = {},
  ): Promise<unknown> {
    this.#checkOpen();
    const send = (call: PendingCall): void => {
      const frame = call.frame();
      if (this.#canSend) this.#sendCall(call, frame);
      else this.#keep(call);
    };
    return await this.#calls.call(method, args, options, send, (call) => {
      this.#kept = this.#kept.filter((kept) => kept !== call);
      return this.#lastError;
    });
  }

  close(): void {
    if (this.#isOver || this.#isClosing) return;
    this.#isClosing = true;
    this.#calls.close("the socket was closed");
    this.#kept = this.#kept.filter((kept) => kept instanceof Uint8Array);
    const close = { code: NORMAL, reason: "" };
    if (this.#kept.length === 0) return this.#end(close);
    this.#leaveTimer = setTimeout(() => this.#end(close), LINGER_MS);
    this.#finish();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SocketEvent<T>> {
    const events: (SocketEvent<T> | null)[] = this.#isOver ? [null] : [];
    let wake = () => {};
    const listener = (event: SocketEvent<T> | null): void => {
      events.push(event);
      wake();
    };
    this.#listeners.add(listener);
    try {
      for (;;) {
        if (events.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        const event = events.shift();
        if (!event) return;
        yield event;
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }

  #checkOpen(): void {
    if (!this.#isOver && !this.#isClosing) return;
    throw new AtlasError("bad_request", "the socket is closed");
  }

  get #canSend(): boolean {
    return this.#isJoined && !this.#isLeaving && this.#socket?.readyState === WebSocket.OPEN;
  }

  #keep(what: Uint8Array<ArrayBuffer> | PendingCall): void {
    if (this.#kept.length >= MAX_KEPT) {
      throw new AtlasError("overloaded", `${MAX_KEPT} frames wait for a connection already`);
    }
    this.#kept.push(what);
  }

  #sendCall(call: PendingCall, frame: Uint8Array<ArrayBuffer>): void {
    call.isSent = call.mayHaveRun = true;
    this.#socket?.send(frame);
  }

  #sendKept(): void {
    for (const kept of this.#kept.splice(0)) {
      if (kept instanceof Uint8Array) this.#socket?.send(kept);
      else this.#sendCall(kept, kept.frame());
    }
  }

  /** Closed by its user: sends queued messages as soon as possible, even before hello, and ends. */
  #finish(): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#sendKept();
    this.#end({ code: NORMAL, reason: "" });
  }

  #open(): void {
    if (this.#isOver) return;
    const { urls, key, token } = this.#parts;
    const url = new URL(`${urls[this.#url]}/v1/connect/${key}`.replace(/^http/, "ws"));
    if (this.#seq !== null) url.searchParams.set("after", String(this.#seq));
    const protocols = [MSGPACK_PROTOCOL];
    if (this.#connection !== null && this.#resume !== undefined) {
      url.searchParams.set("connection", this.#connection);
      protocols.push(RESUME_PROTOCOL + this.#resume);
    }
    if (token !== undefined) protocols.push(TOKEN_PROTOCOL + encodeToken(token));
    const socket = new WebSocket(url, protocols);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#isLeaving = false;
    let wasOpen = false;
    this.#heardAt = performance.now();
    this.#watch(this.#silenceMs, socket, () => wasOpen);
    socket.onopen = () => {
      wasOpen = true;
      this.#failedUpgrades = 0;
      if (this.#socket === socket && this.#isClosing) this.#finish();
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#socket !== socket) return;
      this.#heardAt = performance.now();
      const frame = readFrame(data);
      if (frame instanceof AtlasError) {
        this.#end({ code: INVALID, reason: `the node sent no frame: ${frame.message}` });
      } else this.#receive(frame);
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      if (this.#socket === socket) void this.#lost({ code, reason }, wasOpen);
    };
  }

  get #silenceMs(): number {
    return this.#parts.silenceMs ?? SOCKET_SILENCE_MS;
  }

  /** Leaves a connection without a frame for too long, its upgrade included. */
  #watch(ms: number, socket: WebSocket, wasOpen: () => boolean): void {
    clearTimeout(this.#watchdog);
    const dueAt = performance.now() + ms;
    this.#watchdog = setTimeout(() => {
      if (this.#socket !== socket) return;
      const now = performance.now();
      const leftMs = this.#heardAt + this.#silenceMs - now;
      if (leftMs > 0) return this.#watch(leftMs, socket, wasOpen);
      if (now - dueAt > STALL_MS) return this.#watch(STALL_MS, socket, wasOpen);
      const reason = `nothing was heard for ${this.#silenceMs / 1_000} s`;
      void this.#leave({ code: 1006, reason }, wasOpen());
    }, ms);
  }

  /** Reconnects elsewhere, whether or not the present connection can still be closed properly. */
  async #leave(close: SocketClose, wasOpen: boolean): Promise<void> {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(NORMAL);
    await this.#lost(close, wasOpen);
  }

  #receive(frame: Frame): void {
    // The socket was closed meanwhile.
    if (this.#isClosing) return;
    switch (frame.t) {
      case "hello": {
        this.#attempt = 0;
        this.#lastError = null;
        this.#connection = frame.connection;
        this.#resume = frame.resume;
        if (this.#seq === null || frame.gap) this.#seq = frame.seq;
        this.#gap ||= frame.gap;
        this.#isJoined = true;
        // Sent before anything that the user sends in response.
        if (!this.#isLeaving) this.#sendKept();
        const { connection, epoch, seq, gap } = frame;
        return this.#options.onHello?.({ connection, epoch, seq, gap });
      }
      case "skip":
        this.#seq = Math.max(this.#seq ?? 0, frame.seq);
        return;
      case "event": {
        // No event is delivered twice, even if a node sends it twice.
        if (frame.seq <= (this.#seq ?? 0)) return;
        this.#seq = frame.seq;
        const { seq, epoch, data } = frame;
        const event = { seq, epoch, data: data as T, gap: this.#gap };
        this.#gap = false;
        this.#options.onEvent?.(event);
        for (const listener of this.#listeners) listener(event);
        return;
      }
      case "reply":
        this.#calls.replied(frame);
        if (this.#isLeaving && !this.#calls.areSent) this.#leaveDraining();
        return;
      case "leave":
        this.#isLeaving = true;
        if (!this.#calls.areSent) return this.#leaveDraining();
        clearTimeout(this.#leaveTimer);
        this.#leaveTimer = setTimeout(() => this.#leaveDraining(), LEAVE_MS);
    }
  }

  /** The node is draining, and all awaited answers have come or timed out. */
  #leaveDraining(): void {
    clearTimeout(this.#leaveTimer);
    if (!this.#isLeaving || !this.#socket) return;
    void this.#leave({ code: 1012, reason: "the node is draining" }, true);
  }

  /** The connection broke, or was never made: tries another node, unless that is useless. */
  async #lost(close: SocketClose, wasOpen: boolean): Promise<void> {
    this.#socket = null;
    clearTimeout(this.#watchdog);
    if (!this.#isClosing) clearTimeout(this.#leaveTimer);
    this.#isJoined = false;
    this.#lastError = close.reason || `the connection was closed with ${close.code}`;
    this.#kept = [...this.#calls.lost(`the connection broke: ${this.#lastError}`), ...this.#kept];
    const { code } = close;
    if (FINAL.has(code) || (code >= 4_000 && code < 5_000)) return this.#end(close);
    // A WebSocket doesn't reveal why it was refused; a plain request does.
    const why = wasOpen ? null : await this.#reason();
    if (why) return this.#end(why);
    this.#url = (this.#url + 1) % this.#parts.urls.length;
    const round = Math.floor(this.#attempt++ / this.#parts.urls.length);
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** round);
    if (!this.#isOver) {
      // The pause is spread widely, because all clients of a stopped node reconnect at once.
      this.#timer = setTimeout(() => this.#open(), pause * 2 * Math.random());
    }
  }

  async #reason(): Promise<SocketClose | null> {
    try {
      await this.#parts.probe();
    } catch (thrown) {
      if (isAtlasError(thrown) && isNoUpgrade(thrown)) {
        this.#lastError = UPGRADES_FAIL;
        const isFinal = ++this.#failedUpgrades >= MAX_FAILED_UPGRADES * this.#parts.urls.length;
        return isFinal ? { code: UPGRADE_REQUIRED, reason: UPGRADES_FAIL } : null;
      }
      this.#failedUpgrades = 0;
      this.#lastError = messageOf(thrown);
      if (!isAtlasError(thrown) || thrown.retryable) return null;
      return { code: 4_000 + statusOf(thrown), reason: `${thrown.code}: ${this.#lastError}` };
    }
    return null;
  }

  #end(close: SocketClose): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const timer of [this.#timer, this.#leaveTimer, this.#watchdog]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(NORMAL);
    this.#kept = [];
    this.#calls.close(close.reason || "the socket was closed");
    this.#resolveClosed(close);
    this.#options.onClose?.(close);
    for (const listener of this.#listeners) listener(null);
  }
}

/** Percent-encoded to the characters of a subprotocol (RFC 9110 §5.6.2). */
function encodeToken(token: string): string {
  return encodeURIComponent(token).replace(/[()]/g, (it) => `%${it.charCodeAt(0).toString(16)}`);
}
