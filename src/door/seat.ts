/**
 * One client socket at its door: a theatre-goer with a ticket, who is told what was said
 * from the moment of it, and passes notes to the stage.
 *
 * Takes a socket's frames, and events of its resource; sends messages and calls on, one
 * after the other as they came, and answers what is asked: nothing before hello. Whoever reads too slowly, or
 * writes too fast, is shown out: others never wait for one.
 */
import { AtlasError, isAtlasError } from "../errors.ts";
import {
  MAX_REPLAY_EVENTS,
  MAX_SOCKET_BUFFER_BYTES,
  MAX_SOCKET_CALLS,
  MAX_SOCKET_MESSAGES,
} from "../limits.ts";
import type { Socket } from "../ports/runtime.ts";
import { closeCodeOf, LATER } from "./closing.ts";
import {
  type ClientFrame,
  clientFrame,
  type Codec,
  type FrameError,
  frameError,
  idOf,
  type ServerFrame,
} from "./frames.ts";

type CallFrame = Extract<ClientFrame, { t: "call" }>;
type Reply = Extract<ServerFrame, { t: "reply" }>;
type Outcome = { readonly result: unknown } | { readonly error: FrameError };

/** Bytes of messages that are sent on at once, where there are several. */
const HEARD_AT_ONCE = 262_144;

/** An event on its way to several sockets, encoded once for each kind of them. */
export class Announcement {
  readonly seq: number;
  readonly to: string | null;
  readonly #epoch: number;
  readonly #data: Uint8Array;
  readonly #encoded = new Map<string, string | Uint8Array>();

  constructor(seq: number, epoch: number, to: string | null, data: Uint8Array) {
    this.seq = seq;
    this.to = to;
    this.#epoch = epoch;
    this.#data = data;
  }

  as(codec: Codec): string | Uint8Array {
    let encoded = this.#encoded.get(codec.name);
    if (encoded === undefined) {
      encoded = codec.event(this.seq, this.#epoch, this.#data);
      this.#encoded.set(codec.name, encoded);
    }
    return encoded;
  }
}

/** What a seat needs of those around it. */
export interface SeatParts {
  readonly id: string;
  /** What its client resumes the connection by; undefined: it can't. */
  readonly resume?: string | undefined;
  readonly codec: Codec;
  /** The number of the last event that its client has had; null: it asks for none before. */
  readonly after: number | null;
  /** The id that its client's connection had before; null: none. */
  readonly former: string | null;
  /** Monotonic ms. */
  readonly now: () => number;
  /** Makes a call for the client that has waited so long. Rejects with an AtlasError. */
  readonly call: (frame: CallFrame, waitedMs: number, signal: AbortSignal) => Promise<unknown>;
  /** Has messages heard; answers how many were, and waits where nobody can hear them now. */
  readonly hear: (seat: Seat, messages: readonly unknown[]) => Promise<number>;
  /** It is over. */
  readonly gone: (seat: Seat) => void;
  readonly stats: { cutSockets: number };
}

export class Seat {
  readonly id: string;
  readonly former: string | null;
  /** Whether it was joined to an owner before. */
  resumed = false;
  /** The number of the last event that it has had, or that wasn't for it. */
  position: number | null;
  readonly #parts: SeatParts;
  readonly #socket: Socket;
  readonly #abort = new AbortController();
  /** While it is being joined: events that passed by. */
  #passing: Announcement[] | null = [];
  /** And the number up to which some that passed by are lost. */
  #lost = 0;
  /**
   * What waits for the first hello, or for messages before it to be heard: frames, and answers
   * to those that were refused before hello; with what they took, and when they came.
   */
  readonly #waiting: {
    readonly frame: ClientFrame | Reply;
    readonly size: number;
    readonly since: number;
  }[] = [];
  #waitingSize = 0;
  #isHearing = false;
  #calls = 0;
  #isOver = false;

  constructor(parts: SeatParts, socket: Socket) {
    this.#parts = parts;
    this.#socket = socket;
    this.id = parts.id;
    this.former = parts.former;
    this.position = parts.after;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Is to be joined again: events that come meanwhile are kept aside. */
  rejoin(): void {
    this.#passing = [];
    this.#lost = 0;
  }

  /** Was joined: says so, then what was said since. */
  joined(epoch: number, last: number, missed: boolean, past: readonly Announcement[]): void {
    const seq = Math.max(last, this.#lost);
    const gap = missed || this.#lost > last;
    const passed = this.#passing ?? [];
    this.#passing = null;
    this.resumed = true;
    this.#hello(epoch, seq, gap);
    if (gap || this.position === null) this.position = seq;
    for (const event of past) this.tell(event);
    if (this.position < seq) this.#skip(seq);
    for (const event of passed) this.tell(event);
    this.#pump();
  }

  /** Some of what was said up to `seq` is lost: this seat's door was too slow. */
  missed(epoch: number, seq: number): void {
    if (this.#passing) this.#lost = seq;
    if (this.#passing || (this.position ?? 0) >= seq) return;
    this.position = seq;
    this.#hello(epoch, seq, true);
  }

  /** Something was said. */
  tell(event: Announcement): void {
    if (event.to !== null && event.to !== this.id && event.to !== this.former) return;
    if (this.#passing) {
      this.#passing.push(event);
      if (this.#passing.length > MAX_REPLAY_EVENTS) this.#cut("it took too long to connect");
      return;
    }
    const position = this.position ?? 0;
    if (event.seq <= position) return;
    if (event.seq > position + 1) this.#skip(event.seq - 1);
    this.position = event.seq;
    this.#write(event.as(this.#parts.codec));
  }

  /** A frame of the client. */
  received(data: string | Uint8Array): void {
    if (this.#isOver) return;
    let value: unknown;
    try {
      value = this.#parts.codec.decode(data);
      this.#take(clientFrame(value), data.length);
    } catch (error) {
      const id = idOf(value);
      if (id === null) this.refuse(error);
      else this.#turnDown(id, error, data.length);
    }
  }

  /** Ends it because of an error. */
  refuse(thrown: unknown): void {
    const { code, message } = frameError(thrown);
    this.end(closeCodeOf(code), `${code}: ${message}`);
  }

  /** Ends it. */
  end(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#socket.close(code, reason);
    this.over();
  }

  /** The socket is closed. */
  over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting.length = 0;
    this.#abort.abort();
    this.#parts.gone(this);
  }

  #take(frame: ClientFrame, size: number): void {
    if (frame.t === "call") {
      if (this.#calls >= MAX_SOCKET_CALLS) {
        const message = `${MAX_SOCKET_CALLS} calls of this socket are under way already`;
        return this.#turnDown(frame.id, new AtlasError("overloaded", message), size);
      }
      this.#calls++;
    }
    this.#await(frame, size);
  }

  /** Answers a call that isn't made, once hello was said. */
  #turnDown(id: number | string, error: unknown, size: number): void {
    const reply: Reply = { t: "reply", id, error: frameError(error) };
    if (this.resumed) this.#send(reply);
    else this.#await(reply, size);
  }

  #await(frame: ClientFrame | Reply, size: number): void {
    this.#waitingSize += size;
    const isTooMuch = this.#waitingSize > MAX_SOCKET_BUFFER_BYTES ||
      this.#waiting.length >= MAX_SOCKET_MESSAGES + MAX_SOCKET_CALLS;
    if (isTooMuch) return this.#cut("too many of its messages wait already");
    this.#waiting.push({ frame, size, since: this.#parts.now() });
    this.#pump();
  }

  /** Sends on what waits: calls at once, messages once those before them were heard. */
  #pump(): void {
    while (this.resumed && !this.#isHearing && !this.#isOver) {
      const first = this.#waiting[0];
      if (!first) return;
      const { frame, since } = first;
      if (frame.t === "message") {
        void this.#hear();
        return;
      }
      this.#drop(1);
      if (frame.t === "call") void this.#call(frame, this.#parts.now() - since);
      else this.#send(frame);
    }
  }

  #drop(count: number): void {
    for (const { size } of this.#waiting.splice(0, count)) this.#waitingSize -= size;
  }

  async #hear(): Promise<void> {
    this.#isHearing = true;
    const messages: unknown[] = [];
    let bytes = 0;
    for (const { frame, size } of this.#waiting) {
      bytes += size;
      if (frame.t !== "message" || (messages.length > 0 && bytes > HEARD_AT_ONCE)) break;
      messages.push(frame.data);
    }
    this.#drop(await this.#parts.hear(this, messages));
    this.#isHearing = false;
    this.#pump();
  }

  async #call(frame: CallFrame, waitedMs: number): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = { result: (await this.#parts.call(frame, waitedMs, this.#abort.signal)) ?? null };
    } catch (error) {
      outcome = { error: frameError(error) };
    }
    this.#calls--;
    this.#send({ t: "reply", id: frame.id, ...outcome });
  }

  #hello(epoch: number, seq: number, gap: boolean): void {
    const { resume } = this.#parts;
    const secret = resume !== undefined && { resume };
    this.#send({ t: "hello", connection: this.id, epoch, seq, gap, ...secret });
  }

  #skip(seq: number): void {
    this.position = seq;
    this.#send({ t: "skip", seq });
  }

  #send(frame: ServerFrame): void {
    try {
      this.#write(this.#parts.codec.encode(frame));
    } catch (error) {
      if (!isAtlasError(error) || frame.t !== "reply") return this.refuse(error);
      this.#send({ t: "reply", id: frame.id, error: frameError(error) });
    }
  }

  #write(data: string | Uint8Array): void {
    if (this.#isOver) return;
    this.#socket.send(data);
    if (this.#socket.buffered() > MAX_SOCKET_BUFFER_BYTES) this.#cut("it reads too slowly");
  }

  #cut(why: string): void {
    if (this.#isOver) return;
    this.#parts.stats.cutSockets++;
    this.end(LATER, why);
  }
}
