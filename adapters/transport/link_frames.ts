/**
 * Packs messages into frames, and unpacks them. There are two kinds of frames.
 *
 * A text frame is a JSON array of messages, two items each, the length of the body in characters and
 * the tuple; then a line feed, which JSON text doesn't contain; then the bodies, which are JSON
 * text. Encoding and decoding the tuples of a frame together is faster than one by one. Bodies
 * aren't decoded with them.
 *
 * A binary frame is any number of messages, each preceded by its length as a LEB128 varint, and
 * each the MessagePack of the tuple, followed by the body. It carries bodies of bytes, and large
 * messages. The byte 0xc1, which no MessagePack contains as a type, precedes a body of text. An
 * empty frame is a keepalive.
 */
import { AtlasError } from "../../src/errors.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import type { Body } from "../../src/model/body.ts";
import { MAX_JSON_TEXT, unpackFirst } from "../../src/model/value.ts";

/** The buffer's size in bytes; a full one is sent early, so that the peer can start on it. */
const BUFFER_BYTES = 65_536;
const FIRST_BUFFER_BYTES = 4_096;

/** Precedes a body of text in a binary frame. */
const TEXT_BODY = 0xc1;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A body as it is in a binary frame. */
export function bytesOf(body: Body): Uint8Array {
  if (typeof body !== "string") return body;
  if (body === "") return new Uint8Array(0);
  const text = encoder.encode(body);
  const bytes = new Uint8Array(1 + text.length);
  bytes[0] = TEXT_BODY;
  bytes.set(text, 1);
  return bytes;
}

/** The body that {@link bytesOf} gave these bytes for; bytes of MessagePack are not copied. */
function bodyOf(bytes: Uint8Array): Body {
  if (bytes[0] !== TEXT_BODY) return bytes.length > 0 ? bytes : "";
  try {
    return decoder.decode(bytes.subarray(1));
  } catch (cause) {
    throw new AtlasError("bad_request", "a body is not UTF-8", { cause });
  }
}

/** Bytes that a message of this length takes in a frame. */
export function framedSize(length: number): number {
  let size = length + 1;
  for (let rest = length >>> 7; rest > 0; rest >>>= 7) size++;
  return size;
}

/** The largest text message, in characters; larger messages go in binary frames. */
const LARGEST_TEXT_MESSAGE = 2 * MAX_JSON_TEXT;
/** The size from which a text frame is sent, in characters. */
const TEXT_FRAME = 16_384;
/** The most messages of a text frame that is sent. */
export const MOST_MESSAGES = 128;
/**
 * The limits of a text frame that is read, in characters and messages: far above what is sent,
 * because escaped characters take up to six.
 */
export const MAX_TEXT_FRAME = 262_144;
export const MAX_MESSAGES = 1_024;

/** The text messages that one link sends in this tick. */
export class TextBuffer {
  #items: unknown[] = [];
  #bodies = "";
  #size = 0;

  /** Messages in the buffer. */
  get count(): number {
    return this.#items.length >> 1;
  }

  /** About the number of characters in the buffer. */
  get size(): number {
    return this.#size;
  }

  /** Whether the buffer should be sent now. */
  get isFull(): boolean {
    return this.#size >= TEXT_FRAME;
  }

  /** Adds a message of this size, by {@link textSize}. */
  add(tuple: readonly unknown[], body: string, size: number): void {
    this.#items.push(body.length, tuple);
    this.#bodies += body;
    this.#size += size;
  }

  /** Returns the frame and empties the buffer. */
  take(): string {
    const frame = `${JSON.stringify(this.#items)}\n${this.#bodies}`;
    this.#items = [];
    this.#bodies = "";
    this.#size = 0;
    return frame;
  }
}

/**
 * About the number of characters that a message takes in a text frame; null if it has to go in a
 * binary frame.
 */
export function textSize(tuple: readonly unknown[], body: Body): number | null {
  if (typeof body !== "string") return null;
  const size = sizeOf(tuple) + body.length;
  return size <= LARGEST_TEXT_MESSAGE ? size : null;
}

/** A number takes up to 17 characters with its comma. */
const NUMBER = 17;

function sizeOf(items: readonly unknown[]): number {
  let size = 3;
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (typeof item === "string") size += item.length + 3;
    else size += Array.isArray(item) ? sizeOf(item) : NUMBER;
  }
  return size;
}

/**
 * Hands each message of a text frame to `take`, until `take` answers false.
 *
 * @throws AtlasError `bad_request` if the frame is malformed or over a limit; no message was handed
 * over then.
 */
export function readTextFrame(
  frame: string,
  take: (tuple: unknown, body: string) => boolean,
): void {
  const end = frame.indexOf("\n");
  const items = end < 0 || frame.length > MAX_TEXT_FRAME ? null : parsed(frame.slice(0, end));
  if (!items || !fits(items, frame.length - end - 1)) {
    throw new AtlasError("bad_request", "a text frame is malformed or over its limit");
  }
  let at = end + 1;
  for (let i = 0; i < items.length; i += 2) {
    const next = at + (items[i] as number);
    if (!take(items[i + 1], frame.slice(at, next))) return;
    at = next;
  }
}

function parsed(text: string): unknown[] | null {
  try {
    const items: unknown = JSON.parse(text);
    return Array.isArray(items) ? items : null;
  } catch {
    return null;
  }
}

/** Whether the lengths of the bodies are counts whose sum is `left`. */
function fits(items: readonly unknown[], left: number): boolean {
  if (items.length % 2 !== 0 || items.length > 2 * MAX_MESSAGES) return false;
  for (let i = 0; i < items.length; i += 2) {
    const length = items[i];
    if (typeof length !== "number" || !Number.isInteger(length) || length < 0) return false;
    left -= length;
  }
  return left === 0;
}

/** The binary messages that one link sends in this tick. */
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

/** A binary frame of one message, given as the MessagePack of its tuple and its body. */
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
 * Hands each message of a binary frame to `take`, its body as a view of the frame, until `take`
 * answers false.
 *
 * @throws AtlasError `bad_request` if the frame is malformed or over its limit; the messages before
 * the error were handed over.
 */
export function readFrame(
  frame: Uint8Array,
  take: (tuple: unknown, body: Body) => boolean,
): void {
  const total = frame.length;
  if (total > MAX_FRAME_BYTES) throw malformed();
  let at = 0;
  while (at < total) {
    let length = frame[at++] as number;
    if (length > 127) {
      length &= 127;
      // Lengths fit 4 bytes: 28 bits.
      for (let shift = 7;; shift += 7) {
        if (at >= total || shift > 21) throw malformed();
        const byte = frame[at++] as number;
        length |= (byte & 127) << shift;
        if (byte < 128) break;
      }
    }
    if (length > total - at) throw malformed();
    const message = frame.subarray(at, at + length);
    const { value, end } = unpackFirst(message);
    if (!take(value, bodyOf(message.subarray(end)))) return;
    at += length;
  }
}

function malformed(): AtlasError {
  return new AtlasError("bad_request", "a frame is malformed or over its limit");
}
