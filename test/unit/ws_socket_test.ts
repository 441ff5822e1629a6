/** Covers adapters/platform/ws_socket.ts: the bytes of frames, as a client reads them. */
import { expect, it } from "vitest";
import { encodeFrames } from "../../adapters/platform/ws_socket.ts";

/** The messages in bytes, read by the rules of RFC 6455 §5.2. */
function read(bytes: Buffer): (string | Uint8Array)[] {
  const messages: (string | Uint8Array)[] = [];
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at] as number;
    let length = bytes[at + 1] as number;
    at += 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at);
      at += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at));
      at += 8;
    }
    const data = bytes.subarray(at, at += length);
    messages.push(first === 0x81 ? data.toString() : new Uint8Array(data));
    expect([0x81, 0x82]).toContain(first);
  }
  return messages;
}

it("frames of each length are read as they were, text as text and bytes as bytes", () => {
  const frames = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000].flatMap((length) => [
    "x".repeat(length),
    new Uint8Array(length).fill(length),
  ]);
  expect(read(encodeFrames([...frames, "grüße €"]))).toEqual([...frames, "grüße €"]);
});

it("bytes are copied", () => {
  const data = Uint8Array.of(1, 2, 3);
  const bytes = encodeFrames([data]);
  data.fill(9);
  expect(read(bytes)).toEqual([Uint8Array.of(1, 2, 3)]);
});

it("half a surrogate pair becomes the replacement character", () => {
  expect(read(encodeFrames(["a\ud800b", "next"]))).toEqual(["a\ufffdb", "next"]);
});
