/**
 * The peer of the wire bench: messages of one size over a bare WebSocket, all of a tick in one
 * frame, without lengths, limits or handshake.
 */
import type { Socket, SocketHandlers } from "../src/ports/runtime.ts";

/** Bytes of one message. */
export const MESSAGE_BYTES = 100;
const BAG_BYTES = 65_536;

/** Queues messages and sends all of a tick as one frame. */
export class RawBatch {
  readonly #socket: Socket;
  readonly #bytes: Uint8Array = new Uint8Array(BAG_BYTES);
  #length = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  send(message: Uint8Array): void {
    if (this.#length === 0) queueMicrotask(this.#flush);
    else if (this.#length + message.length > BAG_BYTES) {
      this.#flush();
      queueMicrotask(this.#flush);
    }
    this.#bytes.set(message, this.#length);
    this.#length += message.length;
  }

  readonly #flush = (): void => {
    if (this.#length > 0) this.#socket.send(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
  };
}

/** Passes on each message of a frame, as a view. */
export function eachRaw(frame: Uint8Array, take: (message: Uint8Array) => void): void {
  for (let at = 0; at < frame.length; at += MESSAGE_BYTES) {
    take(frame.subarray(at, at + MESSAGE_BYTES));
  }
}

/** Echoes what it receives. */
export function batchingEcho(): SocketHandlers {
  let batch: RawBatch;
  return {
    open: (socket) => void (batch = new RawBatch(socket)),
    message: (_socket, frame) => eachRaw(frame as Uint8Array, (message) => batch.send(message)),
    close: () => {},
  };
}
