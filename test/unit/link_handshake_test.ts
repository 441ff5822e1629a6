/**
 * Covers adapters/transport/link_handshake.ts: what a handshake's first frame holds, and which are
 * refused.
 */
import { describe, expect, it } from "vitest";
import { linkAddress } from "../../adapters/transport/link_address.ts";
import { MAX_ADDRESS } from "../../src/limits.ts";
import {
  answerProof,
  checkWelcome,
  decodeHello,
  encodeChallenge,
  encodeHello,
  encodeProof,
  importKeys,
  MAX_HANDSHAKE_BYTES,
  otherVersion,
  sign,
} from "../../adapters/transport/link_handshake.ts";
import type { LinkIdentity } from "../../src/ports/transport.ts";

const who = (node: string): LinkIdentity => ({ region: "here", node, incarnation: `${node}-1` });
const ANN = who("ann");
const BOB = who("bob");
const ADDRESS = linkAddress("https://bob.example/x");

describe("a hello", () => {
  it("names the dialler, the node it wants, and the address dialled", () => {
    expect(decodeHello(encodeHello(ANN, BOB, ADDRESS))).toEqual({
      self: ANN,
      wanted: BOB,
      address: "wss://bob.example/x/atlas/link",
    });
  });

  it("fits a frame with the longest names and the longest address", () => {
    const long: LinkIdentity = {
      region: "r".repeat(64),
      node: "n".repeat(64),
      incarnation: "i".repeat(64),
    };
    const tail = "/atlas/link";
    const address = `ws://h/${"x".repeat(MAX_ADDRESS - "ws://h/".length - tail.length)}${tail}`;
    expect(linkAddress(address)).toHaveLength(MAX_ADDRESS);
    const frame = encodeHello(long, long, address);
    expect(frame.length).toBeLessThanOrEqual(MAX_HANDSHAKE_BYTES);
    expect(decodeHello(frame)).toMatchObject({ address });
    expect(() => linkAddress(`http://h/${"x".repeat(MAX_ADDRESS)}`)).toThrow("longer than 1024");
  });

  it.each([
    ["none", ""],
    ["too long", "x".repeat(MAX_ADDRESS + 1)],
    ["not ASCII", "ws://ü/atlas/link"],
    ["with a line end", "ws://h/atlas/link\n"],
    ["with a space", "ws://h/ atlas/link"],
  ])("is refused with an address that is %s", (_what, address) => {
    expect(decodeHello(encodeHello(ANN, BOB, address))).toBeNull();
  });

  it("is refused if anything is cut off or added", () => {
    const frame = encodeHello(ANN, BOB, ADDRESS);
    for (let length = 0; length < frame.length; length++) {
      expect(decodeHello(frame.subarray(0, length))).toBeNull();
    }
    expect(decodeHello(Uint8Array.of(...frame, 0, 0))).toBeNull();
  });
});

describe("a signature", () => {
  it("covers the address, so that one replaced on the way proves nothing", async () => {
    const keys = await importKeys(["s".repeat(32)]);
    const hello = encodeHello(ANN, BOB, "ws://10.0.0.9/atlas/link");
    const challenge = encodeChallenge(BOB);
    const proof = encodeProof(await sign(keys, hello, challenge));
    const seen = await sign(keys, hello, challenge);
    const welcome = answerProof(proof, seen) as Uint8Array;
    expect(checkWelcome(welcome, seen)).toBe(true);

    const text = new TextDecoder("latin1").decode(hello).replace("10.0.0.9", "10.0.0.1");
    const changed = Uint8Array.from(text, (char) => char.charCodeAt(0));
    expect(decodeHello(changed)).toMatchObject({ address: "ws://10.0.0.1/atlas/link" });
    expect(answerProof(proof, await sign(keys, changed, challenge))).toBeNull();
  });
});

describe("the version of another protocol", () => {
  const tagged = (tag: string): Uint8Array =>
    Uint8Array.of(0, tag.length, ...new TextEncoder().encode(tag), 0, 1, 7);
  it.each([
    ["atlas-link/1 hello", "atlas-link/1"],
    ["atlas-link/4 challenge", "atlas-link/4"],
    ["atlas-link/3 hello", null],
    ["atlas-link/ hello", null],
    ["atlas-link/1", null],
    ["GET / HTTP/1.1", null],
    [`atlas-link/1 ${"h".repeat(64)}`, null],
  ])("is read from a frame that begins with %j", (tag, version) => {
    expect(otherVersion(tagged(tag))).toBe(version);
  });

  it("is not read from other bytes", () => {
    for (const frame of [[], [0], [0, 9, 1], [255, 255, 1], [0, 2, 255, 255]]) {
      expect(otherVersion(Uint8Array.from(frame))).toBeNull();
    }
  });
});
