/**
 * Values that others may have written into a registry, or may send: text that is not Atlas's,
 * numbers chosen to share a hash, and the key `__proto__`.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_VALUE_DEPTH } from "../../src/limits.ts";
import {
  encodeValue,
  textToCount,
  textToValue,
  unpack,
  valueToText,
} from "../../src/model/value.ts";

const base64 = (...bytes: number[]) => "~" + btoa(String.fromCharCode(...bytes));
const utf8 = (text: string) => [...new TextEncoder().encode(text)];
/** Text in a store that Atlas didn't write. */
const FOREIGN_TEXT: Record<string, [text: string, why: RegExp]> = {
  "no JSON": ["{oops", /JSON/],
  nothing: ["", /JSON/],
  "JSON nested too deep": [
    "[".repeat(MAX_VALUE_DEPTH + 1) + "]".repeat(MAX_VALUE_DEPTH + 1),
    /nested more than 64 deep/,
  ],
  "JSON nested very deep": ["[".repeat(200_000) + "]".repeat(200_000), /deep|stack/i],
  "JSON with a key __proto__": ['{"a":[{"__proto__":{"admin":1}}]}', /a key named __proto__/],
  "JSON with such a key escaped": ['{"\\u005f_proto_\\u005F":1}', /a key named __proto__/],
  "JSON of 20 MB": [JSON.stringify("x".repeat(20e6)), /has 20000002 characters, more than 8388608/],
  "MessagePack that is no base64": ["~***", /base64|character|decoded/i],
  "MessagePack of no bytes": ["~", /too early/],
  "an array of 2^31 items": [base64(0xdd, 0x7f, 255, 255, 255), /too early/],
  "an array of 100,000,000 items": [base64(0xdd, 5, 0xf5, 0xe1, 0), /too early/],
  "a map of 2^32 keys": [base64(0xdf, 255, 255, 255, 255), /too early/],
  "arrays nested deep": ["~" + btoa("\x91".repeat(700_000)), /nest more than/],
  "a record": [base64(0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1), /extension type 114/],
  "an error": [
    base64(0xd4, 0x65, 0, 0x93, 0xa5, ...utf8("Error"), 0xa1, 0x78, 0xc0),
    /extension type 101/,
  ],
  "a pattern": [base64(0xd4, 0x78, 0, 0x92, 0xa6, ...utf8("(a+)+$"), 0xa0), /extension type 120/],
  "MessagePack with a key __proto__": [
    base64(0x81, 0xa9, ...utf8("__proto__"), 1),
    /a key named __proto__/,
  ],
  "more than one value": [base64(1, 2), /more than one/],
};

describe("stored text that is not Atlas's", () => {
  for (const [name, [text, why]] of Object.entries(FOREIGN_TEXT)) {
    test(`is refused as unavailable: ${name}`, () => {
      const read = () => textToValue(text, 'the value of storage key "k"');
      expect(read).toThrow(/^the value of storage key "k" can't be read, Atlas did not write it: /);
      expect(read).toThrow(why);
      try {
        read();
      } catch (error) {
        expect(error).toMatchObject({ code: "unavailable", retryable: false });
        expect((error as Error).message.length).toBeLessThan(300);
      }
    });
  }

  test("is read if it is within the limits", () => {
    const deep = "[".repeat(MAX_VALUE_DEPTH) + "]".repeat(MAX_VALUE_DEPTH);
    expect(JSON.stringify(textToValue(deep))).toBe(deep);
    expect(textToValue('"__proto__"')).toBe("__proto__");
    expect(textToValue('["\\u005f_proto__",{"constructor":1}]'))
      .toEqual(["__proto__", { constructor: 1 }]);
  });

  test("is refused as a count", () => {
    expect([textToCount(null, "n"), textToCount("17", "n")]).toEqual([0, 17]);
    for (const text of ["", "-1", "1e3", "NaN", "9".repeat(16), "1 "]) {
      expect(() => textToCount(text, "n")).toThrow(/^n can't be read, Atlas did not write it: "/);
    }
  });
});

describe("Maps and Sets of numbers that share a hash in V8", () => {
  /** \`count\` numbers whose hashes end in the same bits. */
  function chosen(count: number, hash: (i: number) => [number | bigint, number]): unknown[] {
    const found: unknown[] = [];
    for (let i = 1; found.length < count; i++) {
      const [item, bits] = hash(i);
      if ((bits & 0x3ff) === 5) found.push(item);
    }
    return found;
  }
  const bits = new DataView(new ArrayBuffer(8));
  const ofLong = (long: bigint): number => {
    let hash = BigInt.asUintN(64, ~long + (long << 18n));
    hash ^= hash >> 31n;
    hash = BigInt.asUintN(64, hash * 21n);
    hash ^= hash >> 11n;
    hash = BigInt.asUintN(64, hash + (hash << 6n));
    return Number((hash ^ (hash >> 22n)) & 0x3fffffffn);
  };
  const ofInt = (item: number): number => {
    let hash = (~item + (item << 15)) | 0;
    hash ^= hash >>> 12;
    hash = (hash + (hash << 2)) | 0;
    hash ^= hash >>> 4;
    hash = Math.imul(hash, 2_057);
    return hash ^ (hash >>> 16);
  };
  const KINDS: Record<string, unknown[]> = {
    integers: chosen(600, (i) => [i, ofInt(i)]),
    fractions: chosen(600, (i) => {
      bits.setFloat64(0, i * 1.1);
      return [i * 1.1, ofLong(bits.getBigUint64(0))];
    }),
    bigints: chosen(600, (i) => {
      const item = 2n ** 60n + BigInt(i);
      return [item, ofLong(item)];
    }),
  };

  for (const [name, items] of Object.entries(KINDS)) {
    test(`are refused: ${name}`, () => {
      const map = new Map(items.map((item) => [item, 1]));
      for (const value of [new Set(items), [map], { a: new Set([new Map([[1, map]])]) }]) {
        expect(() => unpack(encodeValue(value, "value"))).toThrow(/numbers that share one hash$/);
        expect(() => textToValue(valueToText(value, "value"))).toThrow(/share one hash$/);
      }
    });

    test(`are read as lists, and if there are few: ${name}`, () => {
      for (const value of [items, new Set(items.slice(0, 511)), new Map([[1, items]])]) {
        expect(unpack(encodeValue(value, "value"))).toEqual(value);
      }
    });
  }

  test("are distinguished from ordinary numbers, however many and regular those are", () => {
    const SERIES: ((i: number) => unknown)[] = [
      (i) => i,
      (i) => -i * 1_024,
      (i) => i / 8,
      (i) => i * 1e-9,
      (i) => i * 2 ** 33,
      (i) => 1_700_000_000_000 + i * 1_000,
      (i) => 2n ** 60n + BigInt(i),
      (i) => `${i}`,
    ];
    for (const item of SERIES) {
      for (const count of [600, 1_000, 5_000, 30_000]) {
        const value = new Set(Array.from({ length: count }, (_, i) => item(i)));
        expect((unpack(encodeValue(value, "value")) as typeof value).size).toBe(value.size);
      }
    }
  });
});

describe("a key named __proto__", () => {
  const name = utf8("__proto__");
  const FORMS = [[0xa9], [0xd9, 9], [0xda, 0, 9], [0xdb, 0, 0, 0, 9]].map((
    head,
  ) => [...head, ...name]);

  test("is refused in each encoding of a string and of a map, at any depth", () => {
    for (const key of FORMS) {
      for (
        const bytes of [
          [0x81, ...key, 1],
          [0x82, 0xa1, 0x61, 0x90, ...key, 1],
          [0x92, 1, 0x81, 0xa1, 0x61, 0x81, ...key, 0x80],
          [0xde, 0, 1, ...key, 0xc0],
          [0xdf, 0, 0, 0, 1, ...key, 0xc0],
          [0x82, 0xa1, 0x61, ...key, ...key, ...key],
          [0xd4, 0x73, 0, 0x91, 0x81, ...key, 1],
          [0x81, 0x81, ...key, 1, 2],
        ]
      ) {
        expect(() => unpack(new Uint8Array(bytes))).toThrow(/: a map has a key named __proto__$/);
      }
    }
  });

  test("is accepted as a value, as a Map's key, and as part of a longer key", () => {
    for (const key of FORMS) {
      expect(unpack(new Uint8Array([0x81, 0xa1, 0x61, ...key]))).toEqual({ a: "__proto__" });
      expect(unpack(new Uint8Array([0x92, ...key, ...key]))).toEqual(["__proto__", "__proto__"]);
    }
    const value = [
      "__proto__",
      { a: { b: "__proto__" }, __proto_: 1, x__proto__: 2, constructor: 3, prototype: 4 },
      new Map<unknown, unknown>([["__proto__", "__proto__"]]),
      new Set(["__proto__"]),
    ];
    expect(unpack(encodeValue(value, "value"))).toStrictEqual(value);
    expect(textToValue(valueToText(value, "value"))).toStrictEqual(value);
  });

  test("never gives an object a prototype of its sender's choice", () => {
    const bytes = fc.array(fc.constantFrom(0x81, 0x82, 0x91, 0x92, 0xde, 0xd9, 0xa9, 0, 1, 9), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(bytes, bytes, (before, after) => {
        let value: unknown;
        try {
          value = unpack(new Uint8Array([...before, ...FORMS[0] as number[], ...after]));
        } catch {
          return;
        }
        // The decoder renames a key `__proto__` to this.
        expect(JSON.stringify(value)).not.toContain('"__proto_"');
      }),
      { numRuns: 2_000 },
    );
  });
});
