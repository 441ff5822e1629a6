/**
 * Draws values as JSON and MessagePack, valid and invalid: with wrong types, nested deeply, huge,
 * with names of built-in properties, truncated, mutated.
 */
import { pack } from "../src/model/value.ts";
import type { Draw } from "./draw.ts";

/** Texts that codecs, paths and logs get wrong. */
const TEXTS = [
  "",
  "__proto__",
  "constructor",
  "toJSON",
  "then",
  "\0",
  "\ud800",
  "\ufeff",
  "\u2028",
  "a\r\nb: c",
  "../../etc/passwd",
  "%00",
  "{}",
  "rrp:a/b/c/d",
  "-0",
];
const NUMBERS = [0, -0, -1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 1e308, 5e-324];

/** Any value without deep nesting. */
export function value(draw: Draw, depth: number = 0): unknown {
  return draw.weighted<() => unknown>([
    [4, () => draw.pick(TEXTS)],
    [4, () => draw.pick(NUMBERS)],
    [2, () => draw.pick([null, true, false])],
    [1, () => "x".repeat(draw.length(70_000))],
    [depth < 4 ? 3 : 0, () => Array.from({ length: draw.below(6) }, () => value(draw, depth + 1))],
    [
      depth < 4 ? 3 : 0,
      () =>
        Object.fromEntries(
          Array.from(
            { length: draw.below(6) },
            () => [`${draw.pick(TEXTS)}${draw.below(3)}`, value(draw, depth + 1)],
          ),
        ),
    ],
  ])();
}

/** A tuple in which one item, at some depth, is replaced. */
export function altered(draw: Draw, tuple: readonly unknown[]): unknown[] {
  const changed = [...tuple];
  const at = draw.below(changed.length + 1);
  const item = changed[at];
  if (Array.isArray(item) && item.length > 0 && draw.chance(0.6)) changed[at] = altered(draw, item);
  else if (draw.chance(0.2)) changed.splice(at, 1);
  else if (draw.chance(0.1)) changed.length = at;
  else changed[at] = value(draw);
  return changed;
}

/** A body that is declared as JSON. */
export function oddJson(draw: Draw): Buffer {
  const good = JSON.stringify([value(draw), value(draw)]);
  return draw.weighted<() => Buffer>([
    [6, () => Buffer.from(good)],
    [4, () => draw.mutated(Buffer.from(good))],
    [1, () => Buffer.from(good.slice(0, draw.below(good.length)))],
    [
      2,
      () =>
        Buffer.from(draw.pick(["{}", "5", "null", "NaN", "[1,]", '"x"', "[", "]", "\ufeff[]", ""])),
    ],
    [1, () => nested(draw, '{"a":', "}")],
    [1, () => nested(draw, "[", "]")],
    [1, () => Buffer.from(`[{"${draw.pick(["__proto__", "\\u005f_proto__"])}":{"a":1}}]`)],
    [1, () => Buffer.from(`[${"1,".repeat(draw.length(500_000))}1]`)],
    [1, () => Buffer.from(`["${"\\u0000".repeat(draw.length(170_000))}"]`)],
    [1, () => Buffer.from(`[${"9".repeat(draw.length(300_000))}]`)],
    [1, () => Buffer.from(`["${"x".repeat(draw.pick([1_048_560, 1_048_576, 1_100_000]))}"]`)],
    [
      1,
      () =>
        Buffer.from(`[{${Array.from({ length: draw.length(20_000) }, (_, i) => `"k${i}":0`)}}]`),
    ],
    [
      1,
      () => Buffer.concat([Buffer.from('["'), draw.bytes(draw.length(2_000)), Buffer.from('"]')]),
    ],
  ])();
}

function nested(draw: Draw, opens: string, closes: string): Buffer {
  const depth = draw.pick([63, 64, 65, 1_000, 10_000, 100_000]);
  return Buffer.from(`[${opens.repeat(depth)}1${closes.repeat(draw.chance(0.7) ? depth : 0)}]`);
}

/** Heads of MessagePack that announce more data than follows, or unknown types. */
const ANNOUNCED = [
  "ddffffffff",
  "dfffffffff",
  "dd05f5e100",
  "dbffffffff",
  "c6ffffffff",
  "c1",
  "91c7ff72",
  "91d47240",
  "91d6ff00000000",
  "91c70cff3fffffffffffffffffffffff",
  "91d8000000",
  "9190",
  "9f",
];

/** A body that is declared as MessagePack. */
export function oddPack(draw: Draw): Buffer {
  const good = Buffer.from(
    pack([value(draw), new Date(0), new Map([[1, value(draw)]]), new Set([1])]),
  );
  return draw.weighted<() => Buffer>([
    [5, () => good],
    [6, () => draw.mutated(good)],
    [1, () => good.subarray(0, draw.below(good.length))],
    [3, () => Buffer.from(draw.pick(ANNOUNCED), "hex")],
    [1, () => Buffer.alloc(draw.pick([64, 65, 10_000, 1_000_000]), 0x91)],
    [1, () => Buffer.alloc(draw.pick([64, 10_000, 500_000]), Buffer.from([0x81, 0xa1, 0x61]))],
    [1, () => draw.bytes(draw.length(4_000))],
    [1, () => Buffer.from(pack([{ ["__proto__"]: 1, ["constructor"]: value(draw) }]))],
  ])();
}
