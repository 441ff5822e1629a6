/**
 * Packs the messages of one tick into a frame, and unpacks it.
 *
 * A frame is any number of messages, each preceded by its length as a LEB128 varint. An empty
 * frame is a keepalive.
 */
import { MAX_FRAME_BYTES } from "../../src/limits.ts";

/** The buffer's size in bytes; a full one is sent early, so that the peer can start on it. */
const BUFFER_BYTES = 65_536;
const FIRST_BUFFER_BYTES = 4_096;

/** Bytes that a message of this length takes in a frame. */
export function framedSize(length: number): number {
  let size = length + 1;
  for (let rest = length >>> 7; rest > 0; rest >>>= 7) size++;
  return size;
}

/** The messages that one link sends in this tick. */
export class FrameBuffer {
  #bytes: Uint8Array = new Uint8Array(FIRST_BUFFER_BYTES);
  #length = 0;

  /** Bytes in the buffer. */
  get length(): number {
    return this.#length;
  }

  /** Adds a copy of a message in two parts. False: the buffer has to be sent first. */
  add(head: Uint8Array, body: Uint8Array): boolean {
    const end = this.#length + framedSize(head.length + body.length);
    if (end > this.#bytes.length && !this.#grow(end)) return false;
    this.#length = write(this.#bytes, this.#length, head, body);
    return true;
  }

  /** Returns the frame, which is valid only until the next {@link add}, and empties the buffer. */
  take(): Uint8Array {
    const frame = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return frame;
  }

  #grow(needed: number): boolean {
    if (needed > BUFFER_BYTES) return false;
    const grown = new Uint8Array(Math.min(BUFFER_BYTES, 2 ** Math.ceil(Math.log2(needed))));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    return true;
  }
}

/** A frame of one message that is too large for the buffer. */
export function frameOf(head: Uint8Array, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(framedSize(head.length + body.length));
  write(frame, 0, head, body);
  return frame;
}

function write(bytes: Uint8Array, at: number, head: Uint8Array, body: Uint8Array): number {
  let rest = head.length + body.length;
  while (rest > 127) {
    bytes[at++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  bytes.set(head, at);
  bytes.set(body, at + head.length);
  return at + head.length + body.length;
}

/**
 * Hands each message of a frame to `take`, as a view of the frame, until `take` answers false.
 * Answers false if the frame is malformed or over its limit; the messages before the error were
 * handed over.
 */
export function readFrame(frame: Uint8Array, take: (message: Uint8Array) => boolean): boolean {
  const end = frame.length;
  if (end > MAX_FRAME_BYTES) return false;
  let at = 0;
  while (at < end) {
    let length = frame[at++] as number;
    if (length > 127) {
      length &= 127;
      // Lengths fit 4 bytes: 28 bits.
      for (let shift = 7;; shift += 7) {
        if (at >= end || shift > 21) return false;
        const byte = frame[at++] as number;
        length |= (byte & 127) << shift;
        if (byte < 128) break;
      }
    }
    if (length > end - at) return false;
    if (!take(frame.subarray(at, at + length))) return true;
    at += length;
  }
  return true;
}
