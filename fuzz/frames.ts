/**
 * Encodes invalid and hostile WebSocket frames and upgrade requests. A frame's declared length and
 * its content need not agree. Source: RFC 6455 §5.2.
 */
import type { Draw } from "./draw.ts";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export interface FrameOptions {
  readonly opcode: number;
  /** Default true. */
  readonly fin?: boolean;
  /** The three reserved bits, 0 to 7. Default 0. */
  readonly reserved?: number;
  /** Default true, as a client's frames must be. */
  readonly masked?: boolean;
  /** The declared length. Default: that of the payload. */
  readonly declared?: number | bigint;
  /** The bytes of the declared length. Default: as few as possible. */
  readonly lengthBytes?: 0 | 2 | 8;
}

export function frame(payload: Uint8Array | string, options: FrameOptions): Buffer {
  const { opcode, fin = true, reserved = 0, masked = true } = options;
  const body = Buffer.from(payload);
  const declared = BigInt(options.declared ?? body.length);
  const lengthBytes = options.lengthBytes ?? (declared < 126n ? 0 : declared < 65_536n ? 2 : 8);
  const short = lengthBytes === 0 ? Number(declared & 127n) : lengthBytes === 2 ? 126 : 127;
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = (fin ? 128 : 0) | (reserved << 4) | opcode;
  head[1] = (masked ? 128 : 0) | short;
  if (lengthBytes === 2) head.writeUInt16BE(Number(declared & 0xffffn), 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt.asUintN(64, declared), 2);
  if (!masked) return Buffer.concat([head, body]);
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  for (let i = 0; i < body.length; i++) body[i] = (body[i] as number) ^ (mask[i & 3] as number);
  return Buffer.concat([head, mask, body]);
}

/** A close frame. */
export function closeFrame(code: number, reason: string = ""): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code & 0xffff);
  payload.write(reason, 2);
  return frame(payload, { opcode: CLOSE });
}

/** The head of an upgrade request for a WebSocket at `path`, with these further lines. */
export function upgrade(path: string, lines: readonly string[] = []): string {
  return [
    `GET ${path} HTTP/1.1`,
    "Host: 127.0.0.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...lines,
    "",
    "",
  ].join("\r\n");
}

/** The same head with faults in its headers. */
export function oddUpgrade(draw: Draw, path: string, lines: readonly string[]): string {
  const head = [
    draw.weighted([[12, `GET ${path} HTTP/1.1`], [1, `POST ${path} HTTP/1.1`], [
      1,
      `GET ${path} HTTP/1.0`,
    ], [1, `get ${path} HTTP/1.1`]]),
    draw.pick(["Host: 127.0.0.1", "Host: 127.0.0.1:1", "host:localhost"]),
    draw.pick(["Connection: Upgrade", "Connection: keep-alive, Upgrade", "Connection: close", ""]),
    draw.pick(["Upgrade: websocket", "Upgrade: WebSocket", "Upgrade: h2c, websocket", "Upgrade:"]),
    draw.pick(
      ["13", "12", "8", "13, 13", "", "1e1", "013"].map((it) => `Sec-WebSocket-Version: ${it}`),
    ),
    `Sec-WebSocket-Key: ${
      draw.pick(["dGhlIHNhbXBsZSBub25jZQ==", "", "short", "=".repeat(24), "A".repeat(9_000)])
    }`,
    draw.pick([
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
      "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
      "Sec-WebSocket-Extensions: ,,;;==",
      `Sec-WebSocket-Extensions: ${"permessage-deflate, ".repeat(draw.whole(1, 400))}x`,
      "X-None: 1",
    ]),
    `Sec-WebSocket-Protocol: ${
      draw.pick([
        "",
        ",",
        "atlas.json,atlas.msgpack",
        "atlas.msgpack , atlas.msgpack",
        "atlas.token.%",
        "atlas.resume.",
        `atlas.json, atlas.resume.${"A".repeat(draw.whole(1, 9_000))}`,
        `atlas.token.${"%41".repeat(draw.whole(1, 3_000))}`,
        "a b",
        "x, ".repeat(draw.whole(1, 2_000)) + "y",
      ])
    }`,
    draw.pick(["Origin: http://evil.example", "Origin: null", "Origin: \0", "X-None: 2"]),
    draw.pick(["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 0", "X-No: 1"]),
    ...lines,
  ];
  return [...head.filter((line) => line !== ""), "", ""].join("\r\n");
}

/** One or a few frames with errors. */
export function oddFrames(draw: Draw): { what: string; bytes: Buffer } {
  const opcode = draw.pick([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]);
  const payload = draw.bytes(draw.length(2_000));
  const odd = (what: string, ...bytes: Buffer[]) => ({ what, bytes: Buffer.concat(bytes) });
  return draw.pick([
    () => odd("reserved bits", frame(payload, { opcode, reserved: draw.whole(1, 7) })),
    () => odd("an unknown opcode", frame(payload, { opcode: draw.pick([3, 4, 7, 11, 15]) })),
    () => odd("no mask", frame(payload, { opcode, masked: false })),
    () => odd("a long control frame", frame(draw.bytes(126), { opcode: draw.pick([8, 9, 10]) })),
    () =>
      odd("a control frame in parts", frame("x", { opcode: draw.pick([8, 9, 10]), fin: false })),
    () => odd("a continuation without a start", frame(payload, { opcode: CONTINUATION })),
    () =>
      odd(
        "a message within a message",
        frame("a", { opcode: TEXT, fin: false }),
        frame("b", { opcode: BINARY }),
      ),
    () =>
      odd(
        "a ping within a message",
        frame("[", { opcode: TEXT, fin: false }),
        frame("p", { opcode: PING }),
        frame("]", { opcode: CONTINUATION }),
      ),
    () => odd("text that is not UTF-8", frame(Buffer.from([0xc3, 0x28, 0xff]), { opcode: TEXT })),
    () =>
      odd(
        "a character cut in two",
        frame(Buffer.from([0x22, 0xe2, 0x82]), { opcode: TEXT, fin: false }),
        frame(Buffer.from([0xac, 0x22]), { opcode: CONTINUATION }),
      ),
    () => {
      const declared = draw.pick([
        0xffff,
        1n << 31n,
        1n << 32n,
        1n << 53n,
        1n << 63n,
        (1n << 64n) - 1n,
      ]);
      return odd("a length beyond the data", frame(payload, { opcode: BINARY, declared }));
    },
    () =>
      odd(
        "a length in too many bytes",
        frame("x", { opcode: TEXT, lengthBytes: draw.pick([2, 8]) }),
      ),
    () => odd("a short length", frame(payload, { opcode: TEXT, declared: payload.length >> 1 })),
    () => odd("a close of one byte", frame("x", { opcode: CLOSE })),
    () =>
      odd(
        "an invalid close code",
        closeFrame(draw.pick([0, 999, 1_004, 1_005, 1_006, 1_015, 5_000, 65_535])),
      ),
    () =>
      odd("a close reason that is not UTF-8", frame(Buffer.from([3, 232, 255]), { opcode: CLOSE })),
    () => odd("mutated bytes", draw.mutated(frame('{"t":"message","data":1}', { opcode: TEXT }))),
    () => odd("noise", draw.bytes(draw.whole(2, 400))),
  ])();
}
