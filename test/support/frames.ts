/**
 * Decodes the frames of one direction of a WebSocket from its bytes.
 *
 * Takes a connection's bytes from the first on; gives the payloads of its frames, unmasked.
 * Source: RFC 6455 §5.2.
 */

const EMPTY = Buffer.alloc(0);
const HEAD_END = "\r\n\r\n";

export class FrameReader {
  #rest: Buffer = EMPTY;
  /** Whether the HTTP head, which comes first, has been read. */
  #isOpen = false;

  /** The frames that these bytes complete. */
  read(bytes: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    if (!this.#isOpen) {
      const end = this.#rest.indexOf(HEAD_END);
      if (end < 0) return [];
      this.#isOpen = true;
      this.#rest = this.#rest.subarray(end + HEAD_END.length);
    }
    const payloads: Buffer[] = [];
    for (let frame = first(this.#rest); frame; frame = first(this.#rest)) {
      payloads.push(frame.payload);
      this.#rest = this.#rest.subarray(frame.end);
    }
    return payloads;
  }
}

/** The first frame; null if it is incomplete. */
function first(bytes: Buffer): { payload: Buffer; end: number } | null {
  if (bytes.length < 2) return null;
  const isMasked = ((bytes[1] as number) & 0x80) !== 0;
  const short = (bytes[1] as number) & 0x7f;
  const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
  const mask = 2 + lengthBytes;
  const start = mask + (isMasked ? 4 : 0);
  if (bytes.length < start) return null;
  const length = lengthBytes === 0
    ? short
    : lengthBytes === 2
    ? bytes.readUInt16BE(2)
    : Number(bytes.readBigUInt64BE(2));
  const end = start + length;
  if (bytes.length < end) return null;
  const payload = Buffer.from(bytes.subarray(start, end));
  if (isMasked) {
    for (let i = 0; i < length; i++) {
      payload[i] = (payload[i] as number) ^ (bytes[mask + (i & 3)] as number);
    }
  }
  return { payload, end };
}
