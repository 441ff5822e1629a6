/**
 * Values that travel and are stored: what a caller passes, a method answers, a
 * resource keeps.
 *
 * Allowed are null, undefined, booleans, numbers, bigints of 64 bits, strings, Date,
 * Uint8Array, arrays, Map, Set and plain objects of these, at most
 * `MAX_VALUE_DEPTH` deep. Anything else is refused by name, never turned into
 * something else without a word.
 *
 * On the wire a value is MessagePack; in the store it is text: JSON where JSON can
 * say it, else `~` and base64 of the MessagePack.
 */
import { Packr } from "msgpackr";
import { AtlasError } from "../errors.ts";
import { MAX_VALUE_DEPTH } from "../limits.ts";

/** The one configured MessagePack instance (design §6). */
const packr: Packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  moreTypes: true,
  copyBuffers: true,
  // "auto": numbers where they are exact, else bigints. Missing in the type.
  int64AsType: "auto" as "number",
});

/** Encodes a trusted value, such as an envelope, without looking through it. */
export function pack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** Decodes bytes; whatever is wrong with them is one `bad_request`. */
export function unpack(bytes: Uint8Array): unknown {
  checkNesting(bytes);
  try {
    return packr.unpack(bytes);
  } catch (cause) {
    throw new AtlasError("bad_request", "the bytes are not valid MessagePack", { cause });
  }
}

/**
 * Encodes a user's value.
 *
 * @param what names the value in the error, such as `argument` or `result`.
 * @throws AtlasError `bad_request`, with the path of the part that can't be encoded.
 */
export function encodeValue(value: unknown, what: string): Uint8Array {
  checkValue(value, what);
  return packr.pack(value);
}

/** A copy that shares nothing with `value`: what the wire would have made of it. */
export function copyValue<T>(value: T, what: string): T {
  if (isPrimitive(value)) return value;
  return packr.unpack(encodeValue(value, what)) as T;
}

/** Whether a value can be shared because nobody can change it. */
export function isPrimitive(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
    case "undefined":
      return true;
    default:
      return value === null;
  }
}

/** A user's value as the store keeps it. */
export function valueToText(value: unknown, what: string): string {
  checkValue(value, what);
  if (isJson(value)) return JSON.stringify(value);
  return "~" + toBase64(packr.pack(value));
}

/** The value of a text made by {@link valueToText}. */
export function textToValue(text: string): unknown {
  if (!text.startsWith("~")) return JSON.parse(text);
  return packr.unpack(fromBase64(text.slice(1)));
}

/** Refuses what can't travel, naming where it is. */
export function checkValue(value: unknown, what: string): void {
  if (isPrimitive(value)) return;
  const trouble = findTrouble(value, 0);
  if (trouble) {
    throw new AtlasError("bad_request", `${what}${trouble.path} can't be encoded: ${trouble.why}`);
  }
}

interface Trouble {
  path: string;
  why: string;
}

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

function findTrouble(value: unknown, depth: number): Trouble | null {
  switch (typeof value) {
    case "object":
      if (value === null) return null;
      break;
    case "function":
    case "symbol":
      return { path: "", why: `it is a ${typeof value}` };
    case "bigint":
      return value > INT64_MAX || value < INT64_MIN
        ? { path: "", why: "it is a bigint over 64 bits" }
        : null;
    default:
      return null;
  }
  if (depth >= MAX_VALUE_DEPTH) {
    return { path: "", why: `it is nested more than ${MAX_VALUE_DEPTH} deep, or in a circle` };
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = findTrouble(value[i], depth + 1);
      if (found) return { path: `[${i}]${found.path}`, why: found.why };
    }
    return null;
  }
  if (value instanceof Uint8Array || value instanceof Date) return null;
  if (value instanceof Map) {
    for (const [key, item] of value) {
      const found = findTrouble(key, depth + 1) ?? findTrouble(item, depth + 1);
      if (found) return { path: `.get(${String(key)})${found.path}`, why: found.why };
    }
    return null;
  }
  if (value instanceof Set) {
    for (const item of value) {
      const found = findTrouble(item, depth + 1);
      if (found) return { path: `.values()${found.path}`, why: found.why };
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype)) {
    const name = prototype.constructor?.name ?? "class";
    return { path: "", why: `it is a ${name}, not a plain value` };
  }
  for (const key of Object.keys(value)) {
    const found = findTrouble((value as Record<string, unknown>)[key], depth + 1);
    if (found) return { path: `.${key}${found.path}`, why: found.why };
  }
  return null;
}

/** Whether JSON brings exactly this value back. */
function isJson(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0);
    case "object":
      if (value === null) return true;
      if (Array.isArray(value)) return value.every(isJson);
      if (
        value instanceof Uint8Array || value instanceof Date || value instanceof Map ||
        value instanceof Set
      ) return false;
      return Object.entries(value).every(([key, item]) => key !== "toJSON" && isJson(item));
    default:
      return false;
  }
}

/** msgpackr's extension types whose content is MessagePack again: errors, references, sets, patterns. */
const NESTING_EXTENSIONS = new Set([0x65, 0x69, 0x70, 0x73, 0x78]);

/**
 * Refuses MessagePack nested over `MAX_VALUE_DEPTH + 8` before it is decoded: one
 * runtime would decode what another overflows its stack on. Reads headers only.
 * Source: the MessagePack specification, "Formats".
 */
function checkNesting(bytes: Uint8Array): void {
  // A body of n bytes nests at most n deep: the common small one needs no look.
  if (bytes.length <= MAX_VALUE_DEPTH) return;
  const limit = MAX_VALUE_DEPTH + 8;
  const left: number[] = [];
  let at = 0;
  const uint = (size: number): number => {
    let n = 0;
    for (let i = 0; i < size; i++) n = n * 256 + (bytes[at + 1 + i] ?? 0);
    return n;
  };
  while (at < bytes.length) {
    const tag = bytes[at] as number;
    let items = 0;
    if (tag <= 0x7f || tag >= 0xe0) at += 1;
    else if (tag <= 0x8f) at += 1, items = (tag & 15) * 2;
    else if (tag <= 0x9f) at += 1, items = tag & 15;
    else if (tag <= 0xbf) at += 1 + (tag & 31);
    else if (tag <= 0xc3) at += 1;
    else if (tag <= 0xc6) at += 1 + (1 << (tag - 0xc4)) + uint(1 << (tag - 0xc4));
    else if (tag <= 0xc9) {
      const size = 1 << (tag - 0xc7);
      const length = uint(size);
      at += 2 + size;
      if (NESTING_EXTENSIONS.has(bytes[at - 1] as number)) items = 1;
      else at += length;
    }
    else if (tag <= 0xcb) at += tag === 0xca ? 5 : 9;
    else if (tag <= 0xd3) at += 1 + (1 << ((tag - 0xcc) & 3));
    else if (tag <= 0xd8) at += 2 + (1 << (tag - 0xd4));
    else if (tag <= 0xdb) at += 1 + (1 << (tag - 0xd9)) + uint(1 << (tag - 0xd9));
    else if (tag <= 0xdd) items = uint(tag === 0xdc ? 2 : 4), at += tag === 0xdc ? 3 : 5;
    else items = 2 * uint(tag === 0xde ? 2 : 4), at += tag === 0xde ? 3 : 5;
    if (items > 0) {
      left.push(items);
      if (left.length > limit) {
        throw new AtlasError("bad_request", `the value is nested more than ${limit} deep`);
      }
      continue;
    }
    while (left.length > 0) {
      const last = left.length - 1;
      if (((left[last] as number) -= 1) > 0) break;
      left.pop();
    }
  }
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8_192) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 8_192));
  }
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
