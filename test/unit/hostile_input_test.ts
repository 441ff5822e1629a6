/**
 * Input that is made to be expensive: everything read from outside takes linear time, is read or
 * refused by an AtlasError, and quotes only a little of it. With quadratic time a million
 * characters would exceed a test's time limit.
 *
 * Covers src/model/internal_methods.ts.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jsonCodec, msgpackCodec } from "../../adapters/http_wire/socket_codec.ts";
import { readFrame, readTextFrame } from "../../adapters/transport/link_frames.ts";
import { accepts, checkRange, checkVersion, isRange, isVersion } from "../../src/api/module.ts";
import { AtlasError } from "../../src/errors.ts";
import { readMessage } from "../../src/lambda/bus/messages.ts";
import { decodePayload, payloadOf } from "../../src/lambda/bus/payload.ts";
import { MAX_ARGUMENTS, MAX_METHOD, MAX_VERSION } from "../../src/limits.ts";
import { argumentsOf, type Body } from "../../src/model/body.ts";
import { isTraceparent } from "../../src/model/call_path.ts";
import { decodeMessage } from "../../src/model/envelope.ts";
import { isCallable } from "../../src/model/internal_methods.ts";
import { checkArguments, quoted, shown } from "../../src/model/options.ts";
import { checkPrefix, checkToken, parseKey, parseRrp, resourceKey } from "../../src/model/rrp.ts";
import { clientFrame } from "../../src/model/socket_frames.ts";
import { encodeValue, pack, textToCount, textToValue, unpack } from "../../src/model/value.ts";

const LENGTHS = [1e3, 1e4, 1e5, 1e6];
/** What is repeated: for each kind of pattern something that almost matches it. */
const PIECES = [
  " ",
  "=",
  "/",
  ".",
  "a",
  "-",
  "0",
  "%",
  "%20",
  "\n",
  "~",
  "[",
  "{",
  '"',
  "\\u005f",
  "\u0000",
  "rrp:",
  "../",
  "a/",
  "||",
  "1.",
  ">=1 ",
  "\u202e",
  "\ud800",
  ",",
  "_",
  "[{",
  '{"":',
];

/** Readers of text, each with the kind of text that an outsider may send. */
const READERS: Record<string, (text: string) => unknown> = {
  "a pointer": parseRrp,
  "a prefix": checkPrefix,
  "a key": parseKey,
  "an id": (text) => resourceKey("t", text),
  "a token": (text) => checkToken("region", text),
  "a traceparent": isTraceparent,
  "a version": checkVersion,
  "a range": checkRange,
  "a peer's version": isVersion,
  "a peer's range": isRange,
  "a method's name": isCallable,
  "a stored value": textToValue,
  "a stored count": (text) => textToCount(text, "a count"),
  "a frame of JSON": (text) => clientFrame(jsonCodec.decode(text)),
  "a frame of MessagePack": (text) => clientFrame(msgpackCodec.decode(bytesOf(text))),
  "a value as MessagePack": (text) => unpack(bytesOf(text)),
  "a binary frame of a link": (text) => readFrame(bytesOf(text), handled),
  "a text frame of a link": (text) => readTextFrame(text, handled),
  "the tuples of a text frame": (text) => readTextFrame(`${text}\n`, handled),
  "a body of text": (text) => argumentsOf(text),
  "a payload": (text) => decodePayload(payloadOf(bytesOf(text))),
  "a quotation": quoted,
};

function handled(tuple: unknown, body: Body): boolean {
  decodeMessage(tuple, body);
  return true;
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

describe("long text", () => {
  for (const [name, read] of Object.entries(READERS)) {
    test(`is read in linear time, or refused in few words, as ${name}`, () => {
      for (const length of LENGTHS) {
        for (const piece of PIECES) {
          const text = piece.repeat(length / piece.length);
          for (const input of [text, `rrp:${text}!`, `1.0.0${text}!`, `"${text}`]) {
            const error = errorOf(() => read(input));
            if (error === null) continue;
            expect(error).toBeInstanceOf(AtlasError);
            expect(error.message.length).toBeLessThan(1_000);
            // deno-lint-ignore no-control-regex
            expect(error.message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
          }
        }
      }
    });
  }

  test("version ranges and versions of the greatest length are compared in linear time", () => {
    const version = `1.0.0-${"a.".repeat(MAX_VERSION)}`.slice(0, MAX_VERSION - 1);
    for (const piece of ["1||", ">=1 ", "^1.x ", "1 - 2||", "~>", "x.", "* "]) {
      const range = piece.repeat(MAX_VERSION).slice(0, MAX_VERSION);
      if (isRange(range) && isVersion(version)) accepts(range, version);
      expect(isRange(range + " ")).toBe(false);
    }
  });
});

describe("bytes from outside", () => {
  const label = fc.constantFrom(
    ...[0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd8, 0xdd, 0xdf, 0xdb, 0xc6],
    ...[0x72, 0x65, 0x78, 0x73, 0x4d, 0x74, 0x70, 0x62, 0x69, 0xff, 0x91, 0x81, 0xa9, 0x5f],
  );
  const bytes = fc.array(fc.oneof(fc.integer({ min: 0, max: 255 }), label), { maxLength: 300 })
    .map((list) => new Uint8Array(list));
  const DECODERS: Record<string, (bytes: Uint8Array) => unknown> = {
    values: unpack,
    arguments: argumentsOf,
    "binary frames": (it) => readFrame(it, handled),
    "text frames": (it) => readTextFrame(new TextDecoder().decode(it), handled),
    bodies: (it) => decodePayload(payloadOf(it)),
    frames: (it) => clientFrame(msgpackCodec.decode(it)),
    "messages of modules": (it) => {
      const fields = unpack(it);
      if (Array.isArray(fields)) readMessage(fields, new Uint8Array(0), "self");
    },
    "stored values": (it) => textToValue("~" + btoa(String.fromCharCode(...it))),
    JSON: (it) => jsonCodec.decode(new TextDecoder().decode(it)),
  };
  for (const [name, decode] of Object.entries(DECODERS)) {
    test(`are read as ${name} or refused by an AtlasError, and give only plain values`, () => {
      fc.assert(
        fc.property(bytes, (it) => {
          let value: unknown;
          try {
            value = decode(it);
          } catch (error) {
            expect(error).toBeInstanceOf(AtlasError);
            return;
          }
          expectPlain(value);
        }),
        { numRuns: 1_000 },
      );
    });
  }
});

describe("a call's arguments", () => {
  const many = Array.from({ length: MAX_ARGUMENTS + 1 }, () => 0);
  const message = `args has ${many.length} arguments: a call may have at most ${MAX_ARGUMENTS}`;

  test("are refused if there are too many, before anything is called with them", () => {
    for (const take of [checkArguments, (args: unknown[]) => argumentsOf(encodeValue(args, "x"))]) {
      expect(() => take(many)).toThrow(message);
      expect(errorOf(() => take(many))).toMatchObject({ code: "bad_request" });
      expect(take(many.slice(1))).toEqual(many.slice(1));
    }
    expect(() => argumentsOf(pack(Array.from({ length: 1_000_000 }, () => 0)))).toThrow(/1000000/);
  });

  test("are refused with the reason if they can't be read", () => {
    const proto = new Uint8Array([0x91, 0x81, 0xa9, ...bytesOf("__proto__"), 1]);
    expect(() => argumentsOf(proto)).toThrow(/a map has a key named __proto__/);
    expect(() => argumentsOf(new Uint8Array([1]))).toThrow(/not an array of values$/);
  });
});

test("a method's name over the limit is refused", () => {
  expect(isCallable("m".repeat(MAX_METHOD))).toBe(true);
  expect(isCallable("m".repeat(MAX_METHOD + 1))).toBe(false);
  const frame = { t: "call", id: 1, method: "m".repeat(MAX_METHOD + 1), args: [] };
  expect(() => clientFrame(frame)).toThrow(/no method "mm.*at most 128 characters/);
});

test("quotes in messages are short, and have no invisible characters", () => {
  expect(quoted("a\n\u0085\u2028\u202eb")).toBe('"a\\n\\u0085\\u2028\\u202eb"');
  expect(quoted("x".repeat(1e6))).toHaveLength(80);
  expect(shown("\u001b[31mred", 100)).toBe("\\u001b[31mred");
  expect(shown(`${"a".repeat(9)}🐢`, 11)).toBe(`${"a".repeat(9)}🐢`);
  expect(shown(`${"a".repeat(9)}🐢b`, 11)).toBe(`${"a".repeat(9)}\ufffd…`);
});

function errorOf(run: () => unknown): Error | null {
  try {
    run();
    return null;
  } catch (error) {
    return error as Error;
  }
}

/** Fails on anything that isn't a value of `src/model/value.ts`. */
function expectPlain(value: unknown): void {
  if (typeof value !== "object" || value === null) {
    expect(["function", "symbol"]).not.toContain(typeof value);
    return;
  }
  const plain = [Object, Array, Map, Set, Date, Uint8Array].map((it) => it.prototype as unknown);
  // Not toContain: it would ask a prototype for its size.
  expect(plain.includes(Object.getPrototypeOf(value))).toBe(true);
  if (value instanceof Uint8Array || value instanceof Date) return;
  const items = value instanceof Map ? [...value].flat(1) : Object.values(value);
  for (const item of value instanceof Set ? value : items) expectPlain(item);
}
