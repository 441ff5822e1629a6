/**
 * Bounds how long frames of client sockets are handled before the event loop continues, for a
 * server that delivers all the frames it has read one after the other. Frames that come after that
 * time are held in order; the sockets that have such frames take turns.
 */
import { FRAMES_TURN_MS, MAX_HELD_BYTES, MAX_SOCKET_BUFFER_BYTES } from "../../src/limits.ts";

/**
 * Frames, and bytes of them, that are handled before the next turn of the event loop is awaited.
 */
const UNTIMED_FRAMES = 16;
const UNTIMED_BYTES = 65_536;
/** The approximate memory that a held frame takes besides its content, in bytes. */
const FRAME_BYTES = 128;

type Frame = string | Uint8Array;

/** What a socket does with its frames. */
export interface FrameHandlers {
  message(data: Frame): void;
  /** The held frames are at their limit. */
  full(): void;
}

export interface FrameTurnsParts {
  /** Monotonic ms. */
  readonly now: () => number;
  /** Runs it in the event loop's next turn. */
  readonly later: (run: () => void) => void;
}

/** The frames of all client sockets of one server. */
export class FrameTurns {
  readonly #parts: FrameTurnsParts;
  /** The sockets with held frames; the first one is next. */
  readonly #waiting = new Set<FrameQueue>();
  #frames = 0;
  #bytes = 0;
  #heldBytes = 0;
  /** The time since when the event loop's next turn is awaited; null: it isn't awaited. */
  #since: number | null = null;

  constructor(parts: FrameTurnsParts) {
    this.#parts = parts;
  }

  /** Makes the queue for the frames of one more socket. */
  queue(handlers: FrameHandlers): FrameQueue {
    return new FrameQueue(this, handlers);
  }

  /** Whether a frame of this length may be handled at once. */
  mayPass(length: number): boolean {
    if (this.#since !== null) return this.#parts.now() - this.#since < FRAMES_TURN_MS;
    this.#frames++;
    this.#bytes += length;
    // Awaited once in this many frames, because once in each turn would cost more.
    if (this.#frames >= UNTIMED_FRAMES || this.#bytes >= UNTIMED_BYTES) this.#ask();
    return true;
  }

  /** Reserves room for `bytes` bytes. False: there is not enough room. */
  hold(queue: FrameQueue, bytes: number): boolean {
    if (this.#heldBytes + bytes > MAX_HELD_BYTES) return false;
    this.#heldBytes += bytes;
    this.#waiting.add(queue);
    this.#ask();
    return true;
  }

  release(queue: FrameQueue, bytes: number): void {
    this.#heldBytes -= bytes;
    if (queue.isEmpty) this.#waiting.delete(queue);
  }

  #ask(): void {
    if (this.#since !== null) return;
    this.#since = this.#parts.now();
    this.#parts.later(this.#turn);
  }

  /**
   * The event loop has continued. Handles one held frame each turn, so that the work that it starts
   * runs before the next frame.
   */
  readonly #turn = (): void => {
    this.#since = null;
    this.#frames = 0;
    this.#bytes = 0;
    const [queue] = this.#waiting;
    if (!queue) return;
    this.#ask();
    this.#waiting.delete(queue);
    this.#waiting.add(queue);
    queue.next();
  };
}

/** The frames of one socket. */
export class FrameQueue {
  readonly #turns: FrameTurns;
  readonly #handlers: FrameHandlers;
  readonly #held: Frame[] = [];
  /** The index of the first frame that was not handled yet. */
  #first = 0;
  #bytes = 0;
  #end: (() => void) | null = null;

  constructor(turns: FrameTurns, handlers: FrameHandlers) {
    this.#turns = turns;
    this.#handlers = handlers;
  }

  get isEmpty(): boolean {
    return this.#first === this.#held.length;
  }

  /** A frame came. If it is held, its bytes are copied. */
  push(data: Frame): void {
    if (this.isEmpty && this.#turns.mayPass(data.length)) return this.#handlers.message(data);
    const bytes = sizeOf(data);
    if (this.#bytes + bytes > MAX_SOCKET_BUFFER_BYTES || !this.#turns.hold(this, bytes)) {
      this.drop();
      return this.#handlers.full();
    }
    this.#bytes += bytes;
    this.#held.push(typeof data === "string" ? data : data.slice());
  }

  /** Handles the first held frame. */
  next(): void {
    const data = this.#held[this.#first];
    if (data === undefined) return;
    this.#held[this.#first++] = "";
    if (this.isEmpty) this.#clear();
    const bytes = sizeOf(data);
    this.#bytes -= bytes;
    this.#turns.release(this, bytes);
    this.#handlers.message(data);
    if (this.isEmpty) this.#ended();
  }

  /** No more frames come: runs `run` once the held frames were handled. */
  end(run: () => void): void {
    this.#end = run;
    if (this.isEmpty) this.#ended();
  }

  /** Drops the held frames. */
  drop(): void {
    const bytes = this.#bytes;
    this.#clear();
    this.#bytes = 0;
    this.#turns.release(this, bytes);
    this.#ended();
  }

  #clear(): void {
    this.#held.length = 0;
    this.#first = 0;
  }

  #ended(): void {
    const end = this.#end;
    this.#end = null;
    end?.();
  }
}

/** Bytes that a held frame takes: JavaScriptCore keeps a text in one or two bytes a code unit. */
function sizeOf(data: Frame): number {
  return (typeof data === "string" ? data.length * 2 : data.length) + FRAME_BYTES;
}
