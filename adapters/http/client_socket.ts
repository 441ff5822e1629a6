/**
 * The client's end of a socket: a radio that finds its station again by itself.
 *
 * Takes the URLs of nodes and a resource's name; gives its events in order, each once, over
 * lost connections and at whichever node, and says where some are missing. Browser-safe: only
 * WebSocket, timers and what the requester uses.
 */
import {
  AtlasError,
  isAtlasError,
  MAX_MESSAGE,
  messageOf,
  toAtlasError,
} from "../../src/errors.ts";
import type { ServerFrame } from "../../src/door/frames.ts";
import { encodeValue, unpack } from "../../src/model/value.ts";
import { isNoUpgrade, statusOf } from "./errors.ts";
import { RESUME_PROTOCOL, TOKEN_PROTOCOL } from "./protocols.ts";
import { MSGPACK_PROTOCOL } from "./socket_codec.ts";

/** An event as a client hears it. */
export interface SocketEvent<T = unknown> {
  /** Its number: one more than that of the event before, unless that was for somebody else. */
  readonly seq: number;
  /** Of the resource's owner that sent it. */
  readonly epoch: number;
  readonly data: T;
  /** Whether events before it, that this client hasn't had, are lost. */
  readonly gap: boolean;
}

/** Said when the socket is joined, and again each time it is joined anew. */
export interface SocketHello {
  /** The connection's id, as the resource knows it. */
  readonly connection: string;
  readonly epoch: number;
  /** The number of the last event. */
  readonly seq: number;
  /** Whether events that this client hasn't had are lost. */
  readonly gap: boolean;
}

/** Why a socket is over: a code of RFC 6455, or 4000 and an HTTP status. */
export interface SocketClose {
  readonly code: number;
  readonly reason: string;
}

export interface SocketOptions<T = unknown> {
  /** Begins after this event; those since then come first, as far as they are kept. */
  after?: number;
  onEvent?: (event: SocketEvent<T>) => void;
  onHello?: (hello: SocketHello) => void;
  /** Runs once, when it is over for good. */
  onClose?: (close: SocketClose) => void;
  /** Closes it. */
  signal?: AbortSignal;
}

/**
 * A socket that stays connected to one resource, and connects anew where it must. Iterating
 * over it gives the events that come from then on, until it is closed.
 */
export interface ClientSocket<T = unknown> extends AsyncIterable<SocketEvent<T>> {
  /** The id of the connection; null before the first hello. */
  readonly connection: string | null;
  /** The number of the last event it has had; null before the first hello. */
  readonly seq: number | null;
  /**
   * Has the resource's `onMessage` run with `data`. Kept until it is connected; what was sent
   * as a connection broke may be lost.
   *
   * @throws AtlasError `bad_request` where `data` can't be encoded or it is closed,
   * `overloaded` where 1,024 wait.
   */
  send(data: unknown): void;
  /** Calls a method over the socket, after what was sent before. Rejects with an AtlasError. */
  call(method: string, ...args: unknown[]): Promise<unknown>;
  close(): void;
  /** Resolves when it is over for good. */
  readonly closed: Promise<SocketClose>;
}

/** What a socket is made of. */
export interface SocketParts {
  /** Base URLs of nodes. */
  readonly urls: readonly string[];
  readonly token: string | undefined;
  /** `<type>/<id>`, percent-encoded. */
  readonly key: string;
  /** Asks for the same without a socket; rejects with why it can't be had. */
  readonly probe: () => Promise<unknown>;
}

type Frame = ServerFrame | { t: "event"; seq: number; epoch: number; data: unknown };

const MAX_KEPT = 1_024;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** RFC 6455, §7.4.1: what came is not of the form that was agreed on. */
const INVALID = 1007;
/** Going on makes no sense after these; own codes are of errors that no retry mends. */
const FINAL = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010]);

/** Opens a socket, and goes on opening it. */
export function openSocket<T>(parts: SocketParts, options: SocketOptions<T>): ClientSocket<T> {
  return new Radio(parts, options);
}

class Radio<T> implements ClientSocket<T> {
  readonly closed: Promise<SocketClose>;
  readonly #parts: SocketParts;
  readonly #options: SocketOptions<T>;
  readonly #calls = new Map<number, (frame: { result?: unknown; error?: AtlasError }) => void>();
  /** Frames that wait for a connection. */
  #kept: Uint8Array<ArrayBuffer>[] = [];
  readonly #listeners = new Set<(event: SocketEvent<T> | null) => void>();
  #socket: WebSocket | null = null;
  #isJoined = false;
  #door = 0;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connection: string | null = null;
  /** Proves that the connection is this client's; undefined where its node told none. */
  #resume: string | undefined;
  #seq: number | null;
  #gap = false;
  #ids = 0;
  #isOver = false;
  #over!: (close: SocketClose) => void;

  constructor(parts: SocketParts, options: SocketOptions<T>) {
    this.#parts = parts;
    this.#options = options;
    this.#seq = options.after ?? null;
    this.closed = new Promise((resolve) => (this.#over = resolve));
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
    // Not at once: whoever opens it has had no time to listen.
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
    this.#write(encodeFrame({ t: "message", data }));
  }

  async call(method: string, ...args: unknown[]): Promise<unknown> {
    const id = ++this.#ids;
    const frame = encodeFrame({ t: "call", id, method, args });
    const answer = new Promise((resolve, reject) =>
      this.#calls.set(id, ({ result, error }) => error ? reject(error) : resolve(result))
    );
    try {
      this.#write(frame);
    } catch (error) {
      this.#calls.delete(id);
      throw error;
    }
    return await answer;
  }

  close(): void {
    this.#end({ code: 1000, reason: "" });
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

  #write(frame: Uint8Array<ArrayBuffer>): void {
    if (this.#isOver) throw new AtlasError("bad_request", "the socket is closed");
    if (this.#isJoined && this.#socket?.readyState === WebSocket.OPEN) {
      return this.#socket.send(frame);
    }
    if (this.#kept.length >= MAX_KEPT) {
      throw new AtlasError("overloaded", `${MAX_KEPT} frames wait for a connection already`);
    }
    this.#kept.push(frame);
  }

  #open(): void {
    if (this.#isOver) return;
    const { urls, key, token } = this.#parts;
    const url = new URL(`${urls[this.#door]}/v1/connect/${key}`.replace(/^http/, "ws"));
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
    let wasOpen = false;
    socket.onopen = () => (wasOpen = true);
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#socket !== socket) return;
      const frame = readFrame(data);
      if (frame instanceof AtlasError) {
        this.#end({ code: INVALID, reason: `the node sent no frame: ${frame.message}` });
      } else this.#hear(frame);
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      if (this.#socket === socket) void this.#lost({ code, reason }, wasOpen);
    };
  }

  #hear(frame: Frame): void {
    switch (frame.t) {
      case "hello": {
        this.#attempt = 0;
        this.#connection = frame.connection;
        this.#resume = frame.resume;
        if (this.#seq === null || frame.gap) this.#seq = frame.seq;
        this.#gap ||= frame.gap;
        this.#isJoined = true;
        const { connection, epoch, seq, gap } = frame;
        this.#options.onHello?.({ connection, epoch, seq, gap });
        for (const kept of this.#kept.splice(0)) this.#socket?.send(kept);
        return;
      }
      case "skip":
        this.#seq = Math.max(this.#seq ?? 0, frame.seq);
        return;
      case "event": {
        // Nothing is heard twice, whatever a node says.
        if (frame.seq <= (this.#seq ?? 0)) return;
        this.#seq = frame.seq;
        const { seq, epoch, data } = frame;
        const event = { seq, epoch, data: data as T, gap: this.#gap };
        this.#gap = false;
        this.#options.onEvent?.(event);
        for (const listener of this.#listeners) listener(event);
        return;
      }
      case "reply": {
        const settle = this.#calls.get(frame.id as number);
        this.#calls.delete(frame.id as number);
        if (!("error" in frame)) return settle?.({ result: frame.result });
        const { code, message, retryable, maybeExecuted } = frame.error;
        const error = new AtlasError(code as AtlasError["code"], message.slice(0, MAX_MESSAGE), {
          retryable: retryable === true,
          maybeExecuted: maybeExecuted === true,
        });
        settle?.({ error });
      }
    }
  }

  /** The connection broke, or was never made: another door is tried, unless that is of no use. */
  async #lost(close: SocketClose, wasOpen: boolean): Promise<void> {
    this.#socket = null;
    if (this.#isJoined) this.#failCalls("the connection broke");
    this.#isJoined = false;
    const { code } = close;
    if (FINAL.has(code) || (code >= 4_000 && code < 5_000)) return this.#end(close);
    // A socket isn't told why it was refused; other requests are.
    const why = wasOpen ? null : await this.#reason();
    if (why) return this.#end(why);
    this.#door = (this.#door + 1) % this.#parts.urls.length;
    const round = Math.floor(this.#attempt++ / this.#parts.urls.length);
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** round);
    if (!this.#isOver) {
      // Spread wide: all clients of a node that stops come at once.
      this.#timer = setTimeout(() => this.#open(), pause * 2 * Math.random());
    }
  }

  async #reason(): Promise<SocketClose | null> {
    try {
      await this.#parts.probe();
    } catch (error) {
      if (!isAtlasError(error) || error.retryable || isNoUpgrade(error)) return null;
      return { code: 4_000 + statusOf(error), reason: `${error.code}: ${messageOf(error)}` };
    }
    return null;
  }

  #failCalls(why: string): void {
    const error = new AtlasError("unavailable", why, { maybeExecuted: true });
    for (const settle of this.#calls.values()) settle({ error });
    this.#calls.clear();
    // Whoever waits for their answers has just been told that there is none.
    this.#kept = [];
  }

  #end(close: SocketClose): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#failCalls(close.reason || "the socket was closed");
    this.#over(close);
    this.#options.onClose?.(close);
    for (const listener of this.#listeners) listener(null);
  }
}

/** What a node says; an error where it is no frame. A kind of frame not known here is one. */
function readFrame(data: unknown): Frame | AtlasError {
  try {
    if (!(data instanceof ArrayBuffer)) throw new AtlasError("bad_request", "it is no bytes");
    const value = unpack(new Uint8Array(data));
    if (isFrame(value)) return value;
    throw new AtlasError("bad_request", "a field is missing, or of the wrong type");
  } catch (error) {
    return toAtlasError(error);
  }
}

function isFrame(value: unknown): value is Frame {
  if (typeof value !== "object" || value === null) return false;
  const frame = value as { readonly [name: string]: unknown };
  switch (frame["t"]) {
    case "hello":
      return typeof frame["connection"] === "string" && isCount(frame["epoch"]) &&
        isCount(frame["seq"]) && typeof frame["gap"] === "boolean";
    case "skip":
      return isCount(frame["seq"]);
    case "event":
      return isCount(frame["seq"]) && isCount(frame["epoch"]);
    case "reply": {
      if (!("error" in frame)) return true;
      const error = frame["error"] as { code?: unknown; message?: unknown } | null | undefined;
      return typeof error?.code === "string" && typeof error.message === "string";
    }
    default:
      return typeof frame["t"] === "string";
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function encodeFrame(frame: object): Uint8Array<ArrayBuffer> {
  return encodeValue(frame, "the frame") as Uint8Array<ArrayBuffer>;
}

/** Percent-encoded, so that only characters of a subprotocol are left (RFC 9110 §5.6.2). */
function encodeToken(token: string): string {
  return encodeURIComponent(token).replace(/[()]/g, (it) => `%${it.charCodeAt(0).toString(16)}`);
}
