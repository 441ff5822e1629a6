/**
 * Checks MessagePack from outside before it is decoded, and refuses it as `bad_request`.
 *
 * The decoder has no depth limit (one runtime decodes what overflows another's stack), and
 * supports extensions that Atlas never writes: records that compile code, references, regular
 * expressions, errors.
 *
 * Source: the MessagePack specification, "Formats"; msgpackr's `unpack.js` for where the content
 * of its extensions stands.
 */
import { AtlasError } from "../errors.ts";
import { MAX_VALUE_DEPTH } from "../limits.ts";

/**
 * The deepest nesting of containers, including an envelope's own and the second one of each Set and
 * Map.
 */
export const MAX_NESTING: number = 2 * MAX_VALUE_DEPTH + 8;

const UNDEFINED = 0x00;
const DATE = 0xff;
/** The payload of Set and Map is padding; their content is the array that follows. */
export const SET = 0x73;
/** The extension type of a Map: keys and values in turn. Atlas's own. */
export const MAP = 0x4d;
/** A typed array; only Uint8Array, whose payload starts with {@link UINT8}, is allowed. */
const TYPED_ARRAY = 0x74;
const UINT8 = 1;

/** The bytes of `__proto__`, a key that the decoder would rename. */
const PROTO: readonly number[] = [0x5f, 0x5f, 0x70, 0x72, 0x6f, 0x74, 0x6f, 0x5f, 0x5f];
/** That key as a string of the shortest form. */
const PROTO_TAG = 0xa0 | PROTO.length;

/**
 * For each open container, twice the number of its remaining items, plus 1 if it is a map (keys and
 * values alternate). Scratch memory: its content is undefined between calls.
 */
const open = new Uint32Array(MAX_NESTING);

/**
 * The end of the MessagePack value that the bytes begin with. Refuses bytes that don't begin with
 * one, nest it over {@link MAX_NESTING}, have a map with the key `__proto__`, or hold an
 * extension other than undefined, Date, Set, Map and Uint8Array. Reads headers only: time is
 * linear in their number.
 *
 * @throws AtlasError `bad_request`, saying which.
 */
export function endOfMessagePack(bytes: Uint8Array): number {
  const end = bytes.length;
  let depth = 0;
  let at = 0;
  do {
    if (at >= end) throw refused("they end too early");
    const tag = bytes[at] as number;
    let items = 0;
    let isMap = 0;
    if (tag <= 0x7f || tag >= 0xe0) at += 1;
    else if (tag <= 0x8f) at += 1, items = (tag & 15) * 2, isMap = 1;
    else if (tag <= 0x9f) at += 1, items = tag & 15;
    else if (tag <= 0xbf) {
      at += 1 + (tag & 31);
      if (tag === PROTO_TAG && endsInProto(bytes, at) && isKey(depth)) throw refusedKey();
    } else if (tag >= 0xdc) {
      const size = tag & 1 ? 4 : 2;
      if (tag >= 0xde) isMap = 1;
      items = uint(bytes, at + 1, size) * (1 + isMap);
      at += 1 + size;
    } else {
      items = contentOf(bytes, at, tag);
      const length = lengthOf(bytes, at, tag);
      at += length;
      const isLong = tag >= 0xd9 && length === 1 + (1 << (tag - 0xd9)) + PROTO.length;
      if (isLong && endsInProto(bytes, at) && isKey(depth)) throw refusedKey();
    }
    // Every item takes at least one byte. A larger count is false, and the decoder would allocate
    // memory for it.
    if (items > end - at) throw refused("they end too early");
    if (items > 0) {
      if (depth === MAX_NESTING) throw refused(`they nest more than ${MAX_NESTING} deep`);
      open[depth++] = items * 2 + isMap;
      continue;
    }
    while (depth > 0 && ((open[depth - 1] as number) -= 2) < 2) depth--;
  } while (depth > 0);
  if (at > end) throw refused("they end too early");
  return at;
}

/** Whether the next item within `depth` containers is a key of a map. */
function isKey(depth: number): boolean {
  // Keys and values are counted together: an even number of them is left before a key.
  return depth > 0 && ((open[depth - 1] as number) & 3) === 1;
}

function endsInProto(bytes: Uint8Array, end: number): boolean {
  return PROTO.every((byte, i) => bytes[end - PROTO.length + i] === byte);
}

function refusedKey(): AtlasError {
  return refused("a map has a key named __proto__");
}

/** How many items of content follow the scalar, string, binary or extension at `at`. */
function contentOf(bytes: Uint8Array, at: number, tag: number): number {
  let label = at + 1;
  if (tag >= 0xc7 && tag <= 0xc9) label += 1 << (tag - 0xc7);
  else if (tag < 0xd4 || tag > 0xd8) return 0;
  const type = bytes[label];
  if (type === SET || type === MAP) return 1;
  if (type === undefined || type === UNDEFINED || type === DATE) return 0;
  if (type === TYPED_ARRAY && bytes[label + 1] === UINT8) return 0;
  throw refused(`extension type ${type} is not in use`);
}

/** Bytes of the scalar, string, binary or extension at `at`, its header included. */
function lengthOf(bytes: Uint8Array, at: number, tag: number): number {
  if (tag === 0xc1) throw refused("0xc1 is not a format");
  if (tag <= 0xc3) return 1;
  if (tag <= 0xc6) return counted(bytes, at, 1 << (tag - 0xc4));
  if (tag <= 0xc9) return 1 + counted(bytes, at, 1 << (tag - 0xc7));
  if (tag <= 0xcb) return tag === 0xca ? 5 : 9;
  if (tag <= 0xd3) return 1 + (1 << ((tag - 0xcc) & 3));
  if (tag <= 0xd8) return 2 + (1 << (tag - 0xd4));
  return counted(bytes, at, 1 << (tag - 0xd9));
}

function counted(bytes: Uint8Array, at: number, size: number): number {
  return 1 + size + uint(bytes, at + 1, size);
}

function uint(bytes: Uint8Array, at: number, size: number): number {
  let n = 0;
  for (let i = at; i < at + size; i++) n = n * 256 + (bytes[i] ?? 0);
  return n;
}

function refused(why: string): AtlasError {
  return new AtlasError("bad_request", `the bytes are not a valid MessagePack value: ${why}`);
}
