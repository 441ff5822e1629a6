/**
 * Serves the requests of one connection one after the other, so that at most one answer waits for
 * a client that pipelines requests without reading their answers (HTTP/1.1).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket as TcpSocket } from "node:net";
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

export class ConnectionQueue {
  readonly #socket: TcpSocket;
  readonly #serve: RequestListener;
  readonly #waiting: [IncomingMessage, ServerResponse][] = [];
  #current: readonly [IncomingMessage, ServerResponse] | null = null;
  #served: ReturnType<RequestListener> = null;
  #paused = false;
  /** Whether the next request begins in the event loop's next turn. */
  #isDue = false;

  constructor(socket: TcpSocket, serve: RequestListener) {
    this.#socket = socket;
    this.#serve = serve;
  }

  /** A request's head is complete: serves the request once those before it are answered. */
  add(incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (this.#socket.destroyed) return;
    if (this.#current === null && !this.#isDue) return this.#start(incoming, outgoing);
    this.#waiting.push([incoming, outgoing]);
    // The parser continues to the end of the chunk. 64 KiB may hold thousands of requests, each of
    // which takes far more memory than its bytes.
    if (this.#waiting.length > MAX_SENT_AHEAD) return this.#cut();
    if (this.#waiting.length < MAX_PIPELINED || this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  /** Whether the connection waits for the app, and not the app for the connection. */
  isServing(): boolean {
    return this.#isDue || this.#current !== null && !this.#current[1].headersSent;
  }

  #start(incoming: IncomingMessage, outgoing: ServerResponse): void {
    this.#current = [incoming, outgoing];
    outgoing.on("close", this.#next);
    this.#served = this.#serve(incoming, outgoing);
  }

  /** Runs when an answer has been sent to the client, or the connection has ended. */
  readonly #next = (): void => {
    const answered = this.#current?.[0];
    this.#current = null;
    this.#served?.closed();
    this.#served = null;
    if (this.#socket.destroyed) return void this.#waiting.splice(0);
    if (answered?.complete === false) this.#awaitRest(answered);
    if (this.#waiting.length === 0) return;
    // Answering queued requests may take no I/O, so other connections get a turn in between.
    this.#isDue = true;
    setImmediate(this.#startNext);
  };

  readonly #startNext = (): void => {
    this.#isDue = false;
    if (this.#socket.destroyed) return void this.#waiting.splice(0);
    const next = this.#waiting.shift();
    if (this.#paused && this.#waiting.length < MAX_PIPELINED) {
      this.#paused = false;
      this.#socket.resume();
    }
    if (next) this.#start(...next);
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
