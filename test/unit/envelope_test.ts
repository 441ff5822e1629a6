/**
 * Covers src/model/envelope.ts: messages on a link. What one end encodes the other decodes
 * unchanged, and malformed messages are refused.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AtlasError } from "../../src/errors.ts";
import type { Body } from "../../src/model/body.ts";
import { bodyOf, decodeMessage, type Message, tupleOf } from "../../src/model/envelope.ts";

/** A message after a link, whose codecs are exact for tuples. */
function decoded(it: Message): Message {
  return decodeMessage(JSON.parse(JSON.stringify(tupleOf(it))), bodyOf(it));
}

const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const text = fc.string();
const body = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string());
const path = fc.record({
  via: fc.array(text),
  region: fc.option(text),
  trace: fc.option(text),
});
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    kind: fc.constant("request" as const),
    id: count,
    key: text,
    method: text,
    body,
    timeoutMs: count,
    epoch: count,
    idempotencyKey: fc.option(text),
    chain: fc.array(text),
    callPath: fc.option(path),
    relay: fc.constant(false),
  }),
  fc.record({
    kind: fc.constant("request" as const),
    id: count,
    key: text,
    method: text,
    body,
    timeoutMs: count,
    epoch: count,
    idempotencyKey: fc.option(text),
    chain: fc.array(text),
    callPath: path.filter(({ via }) => via.length > 0),
    relay: fc.constant(true),
  }),
  fc.record({
    kind: fc.constant("reply" as const),
    id: count,
    epoch: count,
    rrp: text,
    passed: fc.option(fc.record({ incarnation: text, path: fc.array(text) })),
    mark: fc.option(fc.constantFrom("suspect" as const, "contested" as const)),
    body,
  }),
  fc.record({
    kind: fc.constant("failure" as const),
    id: count,
    error: fc.tuple(text, text, fc.boolean(), fc.boolean()),
    owner: fc.option(fc.tuple(text, text, count)),
  }),
  fc.record({
    kind: fc.constant("failure" as const),
    id: count,
    error: fc.tuple(text, text, fc.boolean(), fc.boolean()),
    owner: fc.option(fc.tuple(text, text, count)),
    path: fc.array(text),
  }),
  fc.record({ kind: fc.constant("cancel" as const), id: count }),
  fc.record({ kind: fc.constant("goodbye" as const), id: fc.constant(0 as const) }),
  fc.record({ kind: fc.constant("ping" as const), id: count }),
);

test("a decoded message equals the encoded one", () => {
  fc.assert(fc.property(message, (it) => {
    expect(decoded(it)).toEqual(it);
  }));
});

test("a deadline with a fraction of a millisecond is rounded up on the wire", () => {
  const sent = decoded({
    kind: "request",
    id: 1,
    key: "t/x",
    method: "m",
    body: new Uint8Array([0x90]),
    timeoutMs: 0.2,
    epoch: 0,
    idempotencyKey: null,
    chain: [],
    callPath: null,
    relay: false,
  });
  expect(sent).toMatchObject({ timeoutMs: 1 });
});

const REQUEST = [0, 1, "t/x", "m", 100, 0, null, []];
const REPLY = [1, 1, 5, "rrp:a/b/c/d"];
const FAILURE = [2, 1, ["app", "m", false, true], null];

function withField(tuple: unknown[], at: number, value: unknown): unknown[] {
  return tuple.map((item, i) => i === at ? value : item);
}

const MALFORMED: Record<string, unknown> = {
  "no tuple": { kind: "cancel", id: 1 },
  nil: null,
  "an empty tuple": [],
  "an unknown kind": [9, 1],
  "a kind as text": ["0", 1],
  "an id that is missing": [3],
  "a negative id": [3, -1],
  "a fraction as id": [3, 1.5],
  "an id over 2^53": [3, 2 ** 60],
  "a bigint as id": [3, 2n ** 60n],
  "a reply without an epoch": [1, 1],
  "a relayed reply without an incarnation": [7, 1, 5, "rrp:a/b/c/d"],
  "a reply whose epoch is text": withField(REPLY, 2, "5"),
  "a reply whose RRP is a number": withField(REPLY, 3, 5),
  "a failure without an error": [2, 1, null, null],
  "a failure whose error is short": withField(FAILURE, 2, ["app", "m", false]),
  "a failure whose error's flags are numbers": withField(FAILURE, 2, ["app", "m", 0, 1]),
  "a failure without an owner": [2, 1, ["app", "m", false, false]],
  "a failure whose owner is short": withField(FAILURE, 3, ["rrp", "inc"]),
  "a failure whose owner's epoch is negative": withField(FAILURE, 3, ["rrp", "inc", -1]),
  "a failure whose path is text": [...FAILURE, "us/a"],
  "a failure whose path is of numbers": [...FAILURE, [1]],
  "a request's key as a number": withField(REQUEST, 2, 1),
  "a request's method as nil": withField(REQUEST, 3, null),
  "a request's deadline as NaN": withField(REQUEST, 4, NaN),
  "a request's epoch as Infinity": withField(REQUEST, 5, Infinity),
  "a request's epoch as negative": withField(REQUEST, 5, -1),
  "a request's idempotency key as a number": withField(REQUEST, 6, 7),
  "a request's chain as text": withField(REQUEST, 7, "t/x"),
  "a request's chain of numbers": withField(REQUEST, 7, [1]),
  "a request cut short": REQUEST.slice(0, 5),
  "a request's path as text": [...REQUEST, "us/a"],
  "a request's path of numbers": [...REQUEST, [[1], null, null]],
  "a request's region as a number": [...REQUEST, [["us/a"], 1, null]],
  "a request's trace as a number": [...REQUEST, [["us/a"], null, 1]],
  "a request to pass on without a path": [6, ...REQUEST.slice(1)],
  "a request to pass on with an empty path": [6, ...REQUEST.slice(1), [[], null, null]],
  "a relayed reply without an owner": [7, ...REPLY.slice(1)],
  "a relayed reply whose path is text": [7, ...REPLY.slice(1), "inc", "us/a"],
};

describe("a malformed message", () => {
  for (const [name, tuple] of Object.entries(MALFORMED)) {
    test(`is refused: ${name}`, () => {
      expect(codeOf(tuple)).toBe("bad_request");
    });
  }

  test("is refused: a failure, a cancel or a goodbye with a body", () => {
    for (const tuple of [FAILURE, [3, 1], [4, 0]]) {
      expect(codeOf(tuple, "[]")).toBe("bad_request");
      expect(codeOf(tuple, Uint8Array.of(0x90))).toBe("bad_request");
    }
  });

  test("is refused: an unknown verdict", () => {
    expect(codeOf([1, 1, 1, "", "confirmed"])).toBe("bad_request");
    expect(codeOf([7, 1, 1, "", "a", [], 7])).toBe("bad_request");
  });

  test("is distinguished from the well-formed ones", () => {
    for (const tuple of [REQUEST, REPLY, FAILURE, [3, 1], [8, 1]]) {
      expect(codeOf(tuple)).toBe("");
    }
  });
});

describe("decoding throws nothing but bad_request", () => {
  const item = fc.anything({ maxDepth: 3, withDate: true, withMap: true, withBigInt: true });
  const codes = ["", "bad_request"];

  test("for any value", () => {
    fc.assert(fc.property(item, (value) => {
      expect(codes).toContain(codeOf(value));
    }));
  });

  test("for a message with some items changed, dropped or added", () => {
    const change = fc.record({
      at: fc.nat(),
      drop: fc.integer({ min: 0, max: 3 }),
      add: fc.array(item, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(message, fc.array(change, { minLength: 1, maxLength: 4 }), (it, changes) => {
        const tuple = tupleOf(it);
        for (const { at, drop, add } of changes) {
          tuple.splice(at % (tuple.length + 1), drop, ...add);
        }
        expect(codes).toContain(codeOf(tuple, bodyOf(it)));
      }),
      { numRuns: 2_000 },
    );
  });
});

function codeOf(tuple: unknown, body: Body = ""): string {
  try {
    decodeMessage(tuple, body);
    return "";
  } catch (error) {
    if (error instanceof AtlasError) return error.code;
    throw error;
  }
}

test("a request without an idempotency key, a chain and a path has no items for them", () => {
  const tuple = tupleOf({
    kind: "request",
    id: 1,
    key: "t/x",
    method: "m",
    body: "",
    timeoutMs: 100,
    epoch: 0,
    idempotencyKey: null,
    chain: [],
    callPath: null,
    relay: false,
  });
  expect(tuple).toEqual(REQUEST.slice(0, 6));
  expect(decodeMessage(tuple, "")).toEqual(decodeMessage(REQUEST, ""));
});
