/**
 * Serves the requests of one connection one after the other, so that at most one answer waits for
 * a client that pipelines requests without reading their answers (HTTP/1.1).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import process from "node:process";
import { MAX_PIPELINED, MAX_SENT_AHEAD } from "../../src/limits.ts";

/**
 * How long a client may take to complete a request that was answered before all of it had arrived,
 * in ms.
 */
const UNREAD_MS = 1_000;

/** Serves a request; `closed` of what it gives runs once the answer is sent or can't be sent. */
export type RequestListener = (
  incoming: IncomingMessage,
  outgoing: ServerResponse,
) => { closed(): void } | null;

/** How long a connection may be without progress, in ms. */
export interface IdleTimes {
  /** Between requests. */
  readonly keepAliveMs: number;
  /** While the client reads nothing of an answer. */
  readonly answerMs: number;
}

type Pair = readonly [IncomingMessage, ServerResponse];

export class ConnectionQueue {
  readonly #socket: TcpSocket;
  readonly #serve: RequestListener;
  readonly #waiting: Pair[] = [];
  /** The request that begins soon; the event loop runs {@link #begin} for it. */
  #due: Pair | null = null;
  #current: Pair | null = null;
  #served: ReturnType<RequestListener> = null;
  #paused = false;
  /** Whether a request was served since the last check. */
  #isUsed = true;
  /** When the connection was last found in use, and how many bytes it had received by then. */
  #usedAt = 0;
  #received = 0;
  /** Whether the socket's own timer runs. */
  #isTimed = false;

  constructor(socket: TcpSocket, serve: RequestListener) {
    this.#socket = socket;
    this.#serve = serve;
  }

  /**
   * A request's head is complete: serves the request once those before it are answered. It begins
   * when the parser has read the whole chunk, so that a small body is in memory by then.
   */
  add(incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (this.#socket.destroyed) return;
    if (this.#current === null && this.#due === null) {
      this.#due = [incoming, outgoing];
      process.nextTick(this.#begin);
      return;
    }
    this.#waiting.push([incoming, outgoing]);
    // The parser continues to the end of the chunk. 64 KiB may hold thousands of requests, each of
    // which takes far more memory than its bytes.
    if (this.#waiting.length > MAX_SENT_AHEAD) return this.#cut();
    if (this.#waiting.length < MAX_PIPELINED || this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  /**
   * Closes the connection if it is idle for too long. Called at intervals: timers of `node:http`
   * would be set twice for each request, which takes Deno 6 µs.
   */
  check(now: number, { keepAliveMs, answerMs }: IdleTimes): void {
    if (this.#current !== null) {
      // Progress of a long answer is known to the socket only.
      if (this.#current[1].headersSent && !this.#isTimed) this.#time(answerMs);
      return;
    }
    if (this.#isUsed || this.#due !== null) {
      this.#isUsed = false;
      this.#usedAt = now;
      this.#received = this.#socket.bytesRead;
    } else if (now - this.#usedAt >= keepAliveMs) {
      const { bytesRead } = this.#socket;
      if (bytesRead === this.#received) return void this.#socket.destroy();
      // The head of a request is arriving.
      this.#usedAt = now;
      this.#received = bytesRead;
    }
  }

  /** Sets the timer that closes a socket without progress; 0 stops it. */
  #time(ms: number): void {
    this.#isTimed = ms > 0;
    this.#socket.setTimeout(ms);
  }

  readonly #begin = (): void => {
    const due = this.#due;
    this.#due = null;
    if (this.#socket.destroyed) return void this.#waiting.splice(0);
    if (due === null) return;
    const [incoming, outgoing] = this.#current = due;
    this.#isUsed = true;
    outgoing.on("close", this.#next);
    this.#served = this.#serve(incoming, outgoing);
  };

  /** Runs when an answer has been sent to the client, or the connection has ended. */
  readonly #next = (): void => {
    const answered = this.#current?.[0];
    this.#current = null;
    this.#served?.closed();
    this.#served = null;
    if (this.#isTimed) this.#time(0);
    if (this.#socket.destroyed) return void this.#waiting.splice(0);
    if (answered?.complete === false) this.#awaitRest(answered);
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#due = next;
    if (this.#paused && this.#waiting.length < MAX_PIPELINED) {
      this.#paused = false;
      this.#socket.resume();
    }
    // Answering queued requests may take no I/O, so other connections get a turn in between.
    setImmediate(this.#begin);
  };

  #cut(): void {
    this.#waiting.splice(0);
    this.#socket.destroy();
  }

  /**
   * Reads and drops the rest of an unwanted body, for as long as a client needs to see its answer.
   */
  #awaitRest(incoming: IncomingMessage): void {
    const timer = setTimeout(() => this.#socket.destroySoon(), UNREAD_MS);
    incoming.once("close", () => clearTimeout(timer));
    incoming.resume();
  }
}
