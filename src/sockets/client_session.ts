/**
 * One client socket, at the node that holds it.
 *
 * Takes the socket's frames and the events of its resource. Sends messages and calls to the owner
 * in order, and events and results of calls to the client, but nothing before `hello`. A client
 * that reads too slowly, or writes too fast, is closed. Messages that came before the socket closed
 * are still delivered.
 *
 * Source: `docs/design.md`, Client sockets.
 */
import { AtlasError, type ErrorCode, isAtlasError } from "../errors.ts";
import {
  MAX_REPLAY_EVENTS,
  MAX_SOCKET_BUFFER_BYTES,
  MAX_SOCKET_CALLS,
  MAX_SOCKET_MESSAGES,
  SOCKET_PING_MS,
} from "../limits.ts";
import { Expiring } from "../model/expiring.ts";
import type { DegradedVerdict } from "../model/ownership.ts";
import {
  type ClientFrame,
  clientFrame,
  type Codec,
  type FrameError,
  frameError,
  idOf,
  type ServerFrame,
} from "../model/socket_frames.ts";
import type { Socket, SocketHandlers } from "../ports/runtime.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import type { EncodedEvent, EventRun } from "./encoded_event.ts";

export type CallFrame = Extract<ClientFrame, { t: "call" }>;
type Reply = Extract<ServerFrame, { t: "reply" }>;
type Outcome = CallAnswer | { readonly error: FrameError };

/**
 * The size of the messages that one request sends to the owner, in bytes; a single larger message
 * is sent alone.
 */
const MESSAGE_BYTES_AT_ONCE = 262_144;

/** A call's result; `verdict` if its resource's node can't reach the store. */
export interface CallAnswer {
  readonly result: unknown;
  readonly verdict?: DegradedVerdict | undefined;
}

/** What the sessions of one resource share. */
export interface SessionHost {
  readonly deadlines: Pick<TimerWheel, "add" | "remove">;
  readonly stats: { cutSockets: number };
  /** Monotonic ms. */
  now(): number;
  /**
   * Makes a call for the client; the call has already waited for the given time. Rejects with an
   * AtlasError.
   */
  call(
    session: ClientSession,
    frame: CallFrame,
    waitedMs: number,
    signal: AbortSignal,
  ): Promise<CallAnswer>;
  /**
   * Delivers messages, and waits while no owner can be reached. Resolves to the number that was
   * delivered.
   */
  deliverMessages(
    session: ClientSession,
    messages: readonly unknown[],
    from: number,
  ): Promise<number>;
  /** Its socket is closed; bytes of messages may still wait to be delivered. */
  closed(session: ClientSession): void;
  /** It has ended: its socket is closed, and none of its messages waits any more. */
  ended(session: ClientSession): void;
}

/** What a client asks for. */
export interface SessionOptions {
  readonly id: string;
  /**
   * The secret with which the client resumes the connection; undefined: the client can't resume it.
   */
  readonly resume?: string | undefined;
  readonly codec: Codec;
  /**
   * The number of the last event that its client received; null: the client asks for no earlier
   * events.
   */
  readonly after: number | null;
  /** The id of its client's former connection; null: none. */
  readonly former: string | null;
  /** The client's region, if that isn't this node's. */
  readonly callerRegion?: string | undefined;
}

/** A frame that waits, its size, and the time when it came. */
interface Waiting {
  readonly frame: ClientFrame | Reply;
  readonly size: number;
  readonly since: number;
}

/** Never written to. */
const NONE: Waiting[] = [];

/**
 * A session. A node may hold tens of thousands that are idle, so that what an idle one doesn't need
 * is made when it is first used.
 */
export class ClientSession extends Expiring implements SocketHandlers {
  readonly id: string;
  readonly former: string | null;
  readonly callerRegion: string | undefined;
  /** Whether it was joined to an owner before. */
  resumed = false;
  /** Whether an owner may know it. */
  isKnown = false;
  /** The number of the last event that it received or that was for other connections. */
  position: number | null;
  /** The epoch of the owner that gave that number; null: no owner did. */
  epoch: number | null = null;
  /** When a frame was last sent to its client, monotonic ms. */
  sentAt: number;
  /** Whether the socket is closed. */
  isClosed = false;
  readonly #host: SessionHost;
  readonly #socket: Socket;
  readonly #codec: Codec;
  readonly #resume: string | undefined;
  /** Aborts the calls of a client whose socket is closed. */
  #abort: AbortController | null = null;
  /** Events that came while it is being joined. */
  #buffered: EncodedEvent[] | null = [];
  /** The number up to which some of these events are lost. */
  #lost = 0;
  /**
   * Frames that wait for the first hello or for the delivery of earlier messages, and answers to
   * frames that were refused before hello.
   */
  #waiting: Waiting[] = NONE;
  #waitingSize = 0;
  #isDelivering = false;
  /** The number of messages that were delivered or dropped. */
  #delivered = 0;
  #isLeaving = false;
  #calls = 0;
  #isOver = false;

  constructor(host: SessionHost, options: SessionOptions, socket: Socket) {
    super();
    this.#host = host;
    this.#socket = socket;
    this.#codec = options.codec;
    this.#resume = options.resume;
    this.id = options.id;
    this.former = options.former;
    this.callerRegion = options.callerRegion;
    this.position = options.after;
    this.sentAt = host.now();
    host.deadlines.add(this, this.sentAt + SOCKET_PING_MS);
  }

  open(): void {}

  message(_socket: Socket, data: string | Uint8Array): void {
    this.received(data);
  }

  /** Whether it has ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Bytes of frames that wait. */
  get waitingBytes(): number {
    return this.#waitingSize;
  }

  /** It will be joined again. Events that come meanwhile are buffered. */
  rejoin(): void {
    this.#buffered = [];
    this.#lost = 0;
  }

  /**
   * It was joined: sends `hello`, then the events since. `lost`: the number up to which events are
   * lost for it; null: no event is lost.
   */
  joined(epoch: number, last: number, lost: number | null, past: readonly EncodedEvent[]): void {
    const passed = this.#buffered ?? [];
    const gap = lost !== null || this.#lost > last;
    const from = gap ? Math.max(lost ?? 0, this.#lost) : last;
    this.#buffered = null;
    this.resumed = true;
    this.#hello(epoch, from, gap);
    if (gap || this.position === null) this.position = from;
    this.epoch = epoch;
    for (const event of past) this.send(event);
    if (this.position < last) this.#skip(last);
    for (const event of passed) this.send(event);
    if (this.#isLeaving) this.#send({ t: "leave" });
    this.#pump();
  }

  /** Some events up to `seq` are lost, because this node was too slow. */
  missed(epoch: number, seq: number): void {
    if (this.#buffered) this.#lost = seq;
    if (this.#buffered || (this.position ?? 0) >= seq) return;
    this.position = seq;
    this.epoch = epoch;
    this.#hello(epoch, seq, true);
  }

  /** Delivers an event. */
  send(event: EncodedEvent): void {
    if (this.isClosed) return;
    if (event.to !== null && event.to !== this.id && event.to !== this.former) return;
    if (this.#buffered) {
      this.#buffered.push(event);
      if (this.#buffered.length > MAX_REPLAY_EVENTS) this.#cut("it took too long to join");
      return;
    }
    const position = this.position ?? 0;
    if (event.seq <= position) return;
    if (event.seq > position + 1) this.#skip(event.seq - 1);
    this.position = event.seq;
    this.epoch = Math.max(this.epoch ?? 0, event.epoch);
    this.#write(event.as(this.#codec));
  }

  /** Delivers events. */
  sendRun(run: EventRun): void {
    const { first, last, epoch, events } = run;
    const isNext = this.#buffered === null && run.to === null && first === (this.position ?? 0) + 1;
    if (!isNext || !this.#socket.sendAll) {
      for (const event of events) this.send(event);
      return;
    }
    if (this.isClosed) return;
    this.position = last;
    this.epoch = Math.max(this.epoch ?? 0, epoch);
    this.sentAt = this.#host.now();
    this.#socket.sendAll(run.as(this.#codec));
    this.#checkBuffered();
  }

  /** Handles a frame of the client. */
  received(data: string | Uint8Array): void {
    if (this.isClosed) return;
    let value: unknown;
    try {
      value = this.#codec.decode(data);
      this.#take(clientFrame(value), data.length);
    } catch (error) {
      const id = idOf(value);
      if (id === null) this.reject(error);
      else this.#refuseCall(id, error, data.length);
    }
  }

  /** Closes it because of an error. */
  reject(thrown: unknown): void {
    const { code, message } = frameError(thrown);
    this.end(closeCodeOf(code), `${code}: ${message}`);
  }

  /** Closes it, and drops its waiting frames. */
  end(code: number, reason: string): void {
    this.#drop(this.#waiting.length);
    this.closeAfterDelivery(code, reason);
    this.giveUp();
  }

  /** Closes its socket; messages that came before that are still delivered. */
  closeAfterDelivery(code: number, reason: string): void {
    if (this.isClosed) return;
    // Some sockets report synchronously that they are closed.
    this.#socket.close(code, reason);
    this.close();
  }

  /** The socket is closed. Messages that it sent before are delivered, then the session ends. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#host.deadlines.remove(this);
    this.#abort?.abort();
    // The client no longer waits for answers.
    this.#waiting = this.#waiting.filter(({ frame }) => frame.t === "message");
    this.#waitingSize = this.#waiting.reduce((sum, { size }) => sum + size, 0);
    this.#host.closed(this);
    this.#finish();
  }

  /** Drops the waiting frames of a closed socket. */
  giveUp(): void {
    if (!this.isClosed || this.#isOver) return;
    this.#isOver = true;
    this.#drop(this.#waiting.length);
    this.#host.ended(this);
  }

  /** Sends `ping` if nothing else was sent for a while. */
  override expire(): void {
    if (this.isClosed) return;
    const now = this.#host.now();
    if (now - this.sentAt >= SOCKET_PING_MS) this.ping();
    if (this.isClosed) return;
    const due = this.sentAt + SOCKET_PING_MS;
    // Before hello nothing is sent.
    this.#host.deadlines.add(this, due > now ? due : now + SOCKET_PING_MS / 3);
  }

  override onWheelClosed(): void {}

  /** Sends `ping`, once hello was sent. */
  ping(): void {
    if (this.resumed) this.#send({ t: "ping" });
  }

  /**
   * Asks the client to close and to connect to another node. Sent after hello, because hello is
   * always the first frame.
   */
  leave(): void {
    this.#isLeaving = true;
    if (this.resumed && !this.#buffered) this.#send({ t: "leave" });
  }

  #finish(): void {
    if (this.isClosed && !this.#isDelivering && this.#waiting.length === 0) this.giveUp();
  }

  #take(frame: ClientFrame, size: number): void {
    if (frame.t === "call") {
      if (this.#calls >= MAX_SOCKET_CALLS) {
        const message = `${MAX_SOCKET_CALLS} calls of this socket are in flight already`;
        return this.#refuseCall(frame.id, new AtlasError("overloaded", message), size);
      }
      this.#calls++;
    }
    this.#await(frame, size);
  }

  /** Answers a call that was refused, once hello was sent. */
  #refuseCall(id: number | string, error: unknown, size: number): void {
    const reply: Reply = { t: "reply", id, error: frameError(error) };
    if (this.resumed) this.#send(reply);
    else this.#await(reply, size);
  }

  #await(frame: ClientFrame | Reply, size: number): void {
    this.#waitingSize += size;
    const isTooMuch = this.#waitingSize > MAX_SOCKET_BUFFER_BYTES ||
      this.#waiting.length >= MAX_SOCKET_MESSAGES + MAX_SOCKET_CALLS;
    if (isTooMuch) return this.#cut("too many of its messages are waiting");
    if (this.#waiting === NONE) this.#waiting = [];
    this.#waiting.push({ frame, size, since: this.#host.now() });
    this.#pump();
  }

  /**
   * Sends the waiting frames to the owner: calls at once, messages once earlier messages were
   * delivered.
   */
  #pump(): void {
    while (this.resumed && !this.#isDelivering && !this.#isOver) {
      const first = this.#waiting[0];
      if (!first) return;
      const { frame, since } = first;
      if (frame.t === "message") {
        void this.#deliverMessages();
        return;
      }
      this.#drop(1);
      if (frame.t === "call") void this.#call(frame, this.#host.now() - since);
      else this.#send(frame);
    }
  }

  #drop(count: number): void {
    for (const { size } of this.#waiting.splice(0, count)) this.#waitingSize -= size;
    if (this.#waiting.length === 0) this.#waiting = NONE;
  }

  async #deliverMessages(): Promise<void> {
    this.#isDelivering = true;
    const messages: unknown[] = [];
    let bytes = 0;
    for (const { frame, size } of this.#waiting) {
      bytes += size;
      if (frame.t !== "message" || (messages.length > 0 && bytes > MESSAGE_BYTES_AT_ONCE)) break;
      messages.push(frame.data);
    }
    const delivered = await this.#host.deliverMessages(this, messages, this.#delivered + 1);
    this.#delivered += delivered;
    this.#drop(delivered);
    this.#isDelivering = false;
    this.#pump();
    this.#finish();
  }

  async #call(frame: CallFrame, waitedMs: number): Promise<void> {
    let outcome: Outcome;
    const { signal } = this.#abort ??= this.#newAbort();
    try {
      const { result, verdict } = await this.#host.call(this, frame, waitedMs, signal);
      outcome = { result: result ?? null, ...verdict !== undefined && { verdict } };
    } catch (error) {
      outcome = { error: frameError(error) };
    }
    this.#calls--;
    this.#send({ t: "reply", id: frame.id, ...outcome });
  }

  #newAbort(): AbortController {
    const abort = new AbortController();
    // A call that was read before the close may begin after it.
    if (this.isClosed) abort.abort();
    return abort;
  }

  #hello(epoch: number, seq: number, gap: boolean): void {
    const resume = this.#resume;
    const secret = resume !== undefined && { resume };
    this.#send({ t: "hello", connection: this.id, epoch, seq, gap, ...secret });
  }

  #skip(seq: number): void {
    this.position = seq;
    this.#send({ t: "skip", seq });
  }

  #send(frame: ServerFrame): void {
    try {
      this.#write(this.#codec.encode(frame));
    } catch (error) {
      if (!isAtlasError(error) || frame.t !== "reply") return this.reject(error);
      this.#send({ t: "reply", id: frame.id, error: frameError(error) });
    }
  }

  #write(data: string | Uint8Array): void {
    if (this.isClosed) return;
    this.sentAt = this.#host.now();
    this.#socket.send(data);
    this.#checkBuffered();
  }

  #checkBuffered(): void {
    if (this.#socket.buffered() > MAX_SOCKET_BUFFER_BYTES) this.#cut("it reads too slowly");
  }

  #cut(why: string): void {
    if (this.isClosed) return;
    this.#host.stats.cutSockets++;
    this.end(LATER, why);
  }
}

/** The resource closed the connection. */
export const CLOSED = 1000;
/** The node is draining or closing: connect to another. */
export const RESTART = 1012;
/** The client was too slow, or sent too much at once: try again later. */
export const LATER = 1013;

/** The first application code. An error's code is 4000 plus its HTTP status. */
const OF_ERROR: { readonly [code in ErrorCode]?: number } = {
  bad_request: 4400,
  invalid_rrp: 4400,
  unauthorized: 4401,
  forbidden: 4403,
  not_found: 4404,
  payload_too_large: 4413,
  app: 4500,
};

/** The close code for an error. */
export function closeCodeOf(code: string): number {
  return Object.hasOwn(OF_ERROR, code) ? OF_ERROR[code as ErrorCode] ?? LATER : LATER;
}
