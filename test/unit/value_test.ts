/**
 * Covers src/model/value.ts and src/model/message_pack.ts: every allowed kind of value is decoded
 * as it was encoded, as bytes and as text; everything else is refused by its path; bytes from
 * outside do no harm.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AtlasError } from "../../src/errors.ts";
import { MAX_VALUE_DEPTH } from "../../src/limits.ts";
import { MAX_NESTING } from "../../src/model/message_pack.ts";
import { encodeValue, pack, textToValue, unpack, valueToText } from "../../src/model/value.ts";

const KINDS: Record<string, unknown> = {
  null: null,
  undefined: undefined,
  true: true,
  "a large integer": 2 ** 53 - 1,
  "a number over 2^53": 2 ** 60,
  "a fraction": -1.5,
  NaN: NaN,
  Infinity: -Infinity,
  "a bigint of 64 bits": 2n ** 63n - 1n,
  "a negative bigint": -(2n ** 63n),
  text: "żółw 🐢",
  "long text": "ä".repeat(70_000),
  "text that looks encoded": "~AA==",
  "a date": new Date(1_700_000_000_123),
  "a date before 1970": new Date(-1),
  "the last date": new Date(8.64e15),
  bytes: new Uint8Array([0, 1, 255]),
  "many bytes": new Uint8Array(70_000).fill(0x91),
  "an array": [1, [2, [3]], undefined],
  "an array with a hole": Array.from({ length: 2 }),
  "a map": new Map<unknown, unknown>([["a", 1], [{ k: 1 }, new Map([[1, 2]])], [3, [4]]]),
  "an empty map": new Map(),
  "a set": new Set([1, "a", new Set([2])]),
  "an object": { a: 1, b: { c: [new Date(0), new Map([["x", new Uint8Array([7])]])] } },
  "odd keys": { "": 1, constructor: 2, toString: 3, toJSON: 4, "a.b": 5, ["1"]: 6 },
};

describe("an allowed value is decoded as it was encoded", () => {
  for (const [name, value] of Object.entries(KINDS)) {
    test(`of the kind: ${name}`, () => {
      expect(unpack(encodeValue(value, "value"))).toStrictEqual(value);
      expect(textToValue(valueToText(value, "value"))).toStrictEqual(value);
    });
  }

  test("also in any combination", () => {
    const leaf = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.integer(),
      fc.double().map((n) => n === 0 ? 0 : n),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.date(),
      fc.uint8Array(),
      fc.bigInt({ min: 2n ** 54n, max: 2n ** 63n - 1n }),
    );
    const key = fc.string().filter((text) => text !== "__proto__");
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 5, depthSize: "small" },
        leaf,
        fc.array(tie("value"), { maxLength: 20 }),
        fc.dictionary(key, tie("value"), { maxKeys: 20, noNullPrototype: true }),
        fc.array(fc.tuple(tie("value"), tie("value"))).map((pairs) => new Map(pairs)),
        fc.array(tie("value")).map((items) => new Set(items)),
      ),
    }));
    fc.assert(
      fc.property(value, (it) => {
        expect(unpack(encodeValue(it, "value"))).toStrictEqual(it);
        expect(textToValue(valueToText(it, "value"))).toStrictEqual(it);
      }),
      { numRuns: 300 },
    );
  });

  test("but a hole becomes undefined, a bigint that fits a number, and -0 becomes 0", () => {
    // deno-lint-ignore no-sparse-arrays
    expect(textToValue(valueToText([, 1], "value"))).toEqual([undefined, 1]);
    expect(unpack(encodeValue(5n, "value"))).toBe(5);
    expect(textToValue(valueToText(-0, "value"))).toBe(0);
  });

  test("and bytes become a plain Uint8Array of their own", () => {
    const frame = pack([new Uint8Array([1, 2, 3])]);
    const [bytes] = unpack(frame) as [Uint8Array];
    frame.fill(0);
    expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype);
    expect([...bytes]).toEqual([1, 2, 3]);
  });
});

class Point {
  x = 1;
}

function circle(): unknown {
  const list: unknown[] = [];
  list.push(list);
  return list;
}

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let i = 1; i < depth; i++) value = [value];
  return value;
}

const REFUSED: Record<string, [value: unknown, message: RegExp]> = {
  "a function": [() => 1, /^result can't be encoded: it is a function/],
  "a symbol in an object": [{ a: { b: Symbol("s") } }, /^result\.a\.b .* a symbol/],
  "a class instance in an array": [[0, new Point()], /^result\[1\] .* a Point/],
  "an error": [new Error("e"), /a Error/],
  "a pattern": [/x/, /a RegExp/],
  "a promise": [Promise.resolve(), /a Promise/],
  "a generator": [
    (async function* () {
      yield 1;
    })(),
    /a AsyncGenerator/,
  ],
  "a typed array other than bytes": [new Float64Array(1), /a Float64Array/],
  "a bigint over 64 bits": [2n ** 63n, /over 64 bits/],
  "a circle": [circle(), /circular/],
  "a circle through a map": [
    (() => {
      const map = new Map();
      return map.set("self", map);
    })(),
    /\.get\(self\).*circular/,
  ],
  "a value nested too deep": [nested(MAX_VALUE_DEPTH + 1), /more than 64 deep/],
  "a function in a map whose key can't be printed": [
    new Map([[Object.create(null), () => 1]]),
    /\.get\(…\) .* a function/,
  ],
  "a function as a map's key": [new Map([[() => 1, 1]]), /\.keys\(\) .* a function/],
  "a function in a set": [new Set([() => 1]), /\.values\(\) .* a function/],
  "a key named __proto__": [JSON.parse('{"a":{"__proto__":1}}'), /^result\.a .*__proto__/],
};

describe("a value's size", () => {
  for (const [name, value] of Object.entries(KINDS)) {
    test(`is counted in bytes: ${name}`, () => {
      const { length } = encodeValue(value, "result");
      expect(encodeValue(value, "result", length).length).toBe(length);
      expect(() => encodeValue(value, "result", length - 1)).toThrow(
        expect.objectContaining({ code: "payload_too_large" }),
      );
    });
  }

  test("that is far over the limit is refused before anything is encoded", () => {
    const large = [
      "x".repeat(2_000),
      new Uint8Array(2_000),
      Array.from({ length: 2_000 }, () => null),
      new Map([["a", { b: new Set(["x".repeat(2_000)]) }]]),
    ];
    for (const value of large) {
      expect(() => encodeValue(value, "result", 1_000))
        .toThrow(/^result takes at least 20\d\d bytes, more than 1000$/);
    }
  });
});

describe("a value that can't be encoded", () => {
  for (const [name, [value, message]] of Object.entries(REFUSED)) {
    test(`is refused with its path: ${name}`, () => {
      for (const encode of [encodeValue, valueToText]) {
        expect(() => encode(value, "result")).toThrow(message);
        expect(codeOf(() => encode(value, "result"))).toBe("bad_request");
      }
    });
  }

  test("is distinguished from one at the limit of depth", () => {
    const deep = nested(MAX_VALUE_DEPTH);
    expect(unpack(encodeValue(deep, "value"))).toEqual(deep);
    let maps: unknown = 1;
    for (let i = 0; i < MAX_VALUE_DEPTH; i++) maps = new Map([[1, maps]]);
    expect(unpack(encodeValue(maps, "value"))).toEqual(maps);
  });

  test("is refused with a path that is cut and escaped", () => {
    const key = "\u0007" + "k".repeat(100_000);
    for (const value of [{ [key]: { a: () => 1 } }, new Map([[key, () => 1]])]) {
      expect(() => encodeValue(value, "result")).toThrow(
        /^result\.(?:get\()?\\u0007k{20,40}….{0,99}$/,
      );
    }
    let deep: unknown = () => 1;
    for (let i = 0; i < 60; i++) deep = { [key]: deep };
    expect(() => encodeValue(deep, "result")).toThrow(/^result.{200,300} can't be encoded/);
  });
});

const TIMES = 10_000;
/** Each level's opening bytes, repeated around a nil. */
const DEEP: Record<string, number[]> = {
  "fixed arrays": [0x91],
  "arrays of 16 bits": [0xdc, 0, 1],
  "arrays of 32 bits": [0xdd, 0, 0, 0, 1],
  maps: [0x81, 0xa1, 0x61],
  "maps of 16 bits": [0xde, 0, 1, 0xa0],
  "maps of 32 bits": [0xdf, 0, 0, 0, 1, 0xa0],
  "maps in their keys": [0x81],
  sets: [0xd4, 0x73, 0, 0x91],
  "sets with a payload of one byte": [0xc7, 1, 0x73, 0xdb, 0x91],
  "sets with none": [0xc7, 0, 0x73, 0x91],
  "sets of sixteen bytes": [0xd8, 0x73, ...new Array(16).fill(0xdd), 0x91],
  "Atlas's maps": [0xd4, 0x4d, 0, 0x92, 1],
  "errors, which are not in use": [0xd4, 0x65, 0, 0x91],
  "references, which are not in use": [0xd6, 0x69, 0, 0, 0, 1, 0x91],
  "records, which are not in use": [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61],
};

describe(`values nested ${TIMES} deep`, () => {
  for (const [name, level] of Object.entries(DEEP)) {
    test(`are refused as ${name}`, () => {
      const bytes = new Uint8Array([...repeat(level, TIMES), 0xc0]);
      expect(codeOf(() => unpack(bytes))).toBe("bad_request");
    });
  }
});

describe("bytes from outside", () => {
  test("are decoded up to the limit of nesting", () => {
    const bytes = new Uint8Array([...repeat([0x91], MAX_NESTING), 0xc0]);
    expect(unpack(bytes)).toBeInstanceOf(Array);
    expect(codeOf(() => unpack(new Uint8Array([0x91, ...bytes])))).toBe("bad_request");
  });

  test("are refused if they hold an extension that Atlas doesn't write", () => {
    const foreign: Record<string, number[]> = {
      pattern: [0xd4, 0x78, 0, 0x92, 0xa1, 0x61, 0xa0],
      error: [0xd4, 0x65, 0, 0x92, 0xa5, 0x45, 0x72, 0x72, 0x6f, 0x72, 0xa1, 0x61],
      record: [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1],
      "record with a high byte": [0xd5, 0x72, 0x40, 0, 0x91, 0xa1, 0x61, 1],
      pointer: [0xd6, 0x70, 0, 0, 0, 1],
      "bundled strings": [0xd6, 0x62, 0, 0, 0, 4],
      "an array of floats": [0xc7, 9, 0x74, 8, 0, 0, 0, 0, 0, 0, 0, 0],
      "the byte that is no format": [0xc1],
    };
    for (const bytes of Object.values(foreign)) {
      expect(codeOf(() => unpack(new Uint8Array(bytes)))).toBe("bad_request");
    }
  });

  test("are refused if a Map or a Set is not made of a list", () => {
    const map = [0xd4, 0x4d, 0];
    const set = [0xd4, 0x73, 0];
    for (
      const bytes of [[...map, 0], [...map, 0xa1, 0x61], [...map, 0x91, 1], [...set, 0xa1, 0x61]]
    ) {
      expect(codeOf(() => unpack(new Uint8Array(bytes)))).toBe("bad_request");
    }
    expect(unpack(new Uint8Array([...map, 0x92, 1, 2]))).toEqual(new Map([[1, 2]]));
    expect(unpack(new Uint8Array([...set, 0x91, 1]))).toEqual(new Set([1]));
  });

  test("are refused if a count is larger than what follows", () => {
    for (
      const bytes of [
        [],
        [0xdd, 0xff, 0xff, 0xff, 0xff],
        [0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0],
        [0xdb, 0xff, 0xff, 0xff, 0xff],
        [0xc6, 0xff, 0xff, 0xff, 0xff, 0],
        [0xc9, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
        [0xd4],
        [0xa5, 0x61],
        [0x92, 1],
      ]
    ) expect(codeOf(() => unpack(new Uint8Array(bytes)))).toBe("bad_request");
  });

  test("are refused if they hold more than one value", () => {
    expect(codeOf(() => unpack(new Uint8Array([1, 2])))).toBe("bad_request");
    expect(codeOf(() => unpack(new Uint8Array([0x90, 0x91, 1])))).toBe("bad_request");
  });

  test("that look like labels inside dates, binary and text are decoded correctly", () => {
    const hostile = new Uint8Array(4_096).fill(0x91);
    const value = [
      hostile,
      "\u0011".repeat(300),
      // Seconds whose bytes are array labels.
      new Date(0x91919191 * 1_000),
      new Date(0x91919191 * 1_000 + 145),
      new Set([hostile]),
      -0x6e6e6e6e6e6en,
    ];
    expect(unpack(encodeValue(value, "value"))).toEqual([...value.slice(0, 5), -0x6e6e6e6e6e6e]);
  });

  test("never throw anything but bad_request", () => {
    const label = fc.constantFrom(0xc7, 0xc8, 0xd4, 0xd5, 0xd6, 0x73, 0x4d, 0x74, 0xff, 0x91, 0x81);
    const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), label);
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 200 }), (bytes) => {
        try {
          unpack(new Uint8Array(bytes));
        } catch (error) {
          expect((error as AtlasError).code).toBe("bad_request");
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

function repeat(level: number[], times: number): number[] {
  return Array.from({ length: times }, () => level).flat();
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof AtlasError) return error.code;
    throw error;
  }
  return "nothing was thrown";
}
