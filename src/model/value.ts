/**
 * Values that are sent and stored: arguments, results and state.
 *
 * Allowed are null, undefined, booleans, numbers, bigints of 64 bits, strings, Date, Uint8Array,
 * arrays, Map, Set and plain objects of these, at most `MAX_VALUE_DEPTH` deep. Anything else, an
 * object's key `__proto__` included, is refused by name and never converted silently; except that a
 * bigint within ±2^53 comes back as a number, -0 as 0, and half of a surrogate pair as U+FFFD.
 *
 * On the wire a value is MessagePack. In the store it is text: JSON if JSON can express it, else
 * `~` and base64 of the MessagePack.
 */
// Without its native part, which is slower on values of this size.
import { addExtension, Packr } from "msgpackr/pack";
import { AtlasError, messageOf } from "../errors.ts";
import { MAX_TURN_CHARACTERS, MAX_VALUE_DEPTH } from "../limits.ts";
import { collide } from "./collisions.ts";
import { endOfMessagePack, MAP, SET } from "./message_pack.ts";
import { quoted, shown } from "./options.ts";

/** The one configured MessagePack instance. */
const packr: Packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  moreTypes: true,
  copyBuffers: true,
  // A plain object may have a key named toJSON that is not a function.
  useToJSON: false,
  // "auto": numbers if they are exact, else bigints. The type lacks it.
  int64AsType: "auto" as "number",
});

/**
 * A Map to be encoded: its keys and values in turn. Encoded directly it would come back as an
 * object.
 */
class MapItems {
  readonly items: unknown[];

  constructor(items: unknown[]) {
    this.items = items;
  }
}

addExtension({
  Class: MapItems,
  type: MAP,
  write: (map: MapItems) => map.items,
  read: (items: unknown) => {
    if (!Array.isArray(items) || items.length % 2 !== 0) throw notItems("Map");
    checkSpread(items, 2);
    const map = new Map<unknown, unknown>();
    for (let i = 0; i + 1 < items.length; i += 2) map.set(items[i], items[i + 1]);
    return map;
  },
});

addExtension({
  Class: Set,
  type: SET,
  write: (set: Set<unknown>) => Array.from(set),
  read: (items: unknown) => {
    if (!Array.isArray(items)) throw notItems("Set");
    checkSpread(items, 1);
    return new Set(items);
  },
});

function notItems(what: string): AtlasError {
  return new AtlasError("bad_request", `the bytes hold a ${what} without a list of its items`);
}

function checkSpread(items: readonly unknown[], step: 1 | 2): void {
  if (!collide(items, step)) return;
  const what = step === 2 ? "Map's keys" : "Set's members";
  throw new AtlasError("bad_request", `a ${what} are numbers that share one hash`);
}

/** Encodes a trusted value, such as an envelope, without checks. */
export function pack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** Decodes one value; anything wrong with the bytes is a `bad_request`. */
export function unpack(bytes: Uint8Array): unknown {
  const { value, end } = unpackFirst(bytes);
  if (end === bytes.length) return value;
  throw new AtlasError("bad_request", "the bytes hold more than one MessagePack value");
}

/** Decodes the value that the bytes begin with; also returns where it ends. */
export function unpackFirst(bytes: Uint8Array): { value: unknown; end: number } {
  const end = endOfMessagePack(bytes);
  try {
    return { value: packr.unpack(bytes, end), end };
  } catch (cause) {
    if (cause instanceof AtlasError) throw cause;
    throw new AtlasError("bad_request", "the bytes are not valid MessagePack", { cause });
  }
}

/**
 * Encodes a user's value.
 *
 * @param what names the value in the error, such as `argument` or `result`.
 * @param most bytes that it may take; a value that takes far more is refused before it is encoded.
 * @throws AtlasError `bad_request`, with the path of the part that can't be encoded;
 * `payload_too_large` if it takes more than `most` bytes.
 */
export function encodeValue(value: unknown, what: string, most: number = Infinity): Uint8Array {
  return packWithin(value, look(value, what), what, most);
}

function packWithin(value: unknown, seen: Seen, what: string, most: number): Uint8Array {
  if (seen.least > most) throw tooLarge(what, `at least ${seen.least}`, most);
  const bytes = packChecked(value, seen);
  if (bytes.length > most) throw tooLarge(what, String(bytes.length), most);
  return bytes;
}

function tooLarge(what: string, bytes: string, most: number): AtlasError {
  return new AtlasError("payload_too_large", `${what} takes ${bytes} bytes, more than ${most}`);
}

/**
 * Encodes a user's value as JSON text if that is short and gives back exactly the value, else as
 * MessagePack. JSON is faster to encode and to decode on every runtime, MessagePack is denser.
 *
 * @throws AtlasError as {@link encodeValue}.
 */
export function encodeFast(value: unknown, what: string, most: number): Uint8Array | string {
  const seen = look(value, what);
  if (seen.isJson && seen.least <= JSON_LEAST) {
    const text = JSON.stringify(value);
    // Escaped characters and long numbers take more than their share.
    if (text.length <= MAX_JSON_TEXT) return text;
  }
  return packWithin(value, seen, what, most);
}

/** Whether a value can be shared because it can't be changed. */
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

/** What an error calls a value. A function, where making the text costs more than using it rarely. */
export type ValueName = string | (() => string);

function nameOf(what: ValueName): string {
  return typeof what === "string" ? what : what();
}

/** A user's value as text for the store. */
export function valueToText(value: unknown, what: ValueName): string {
  const seen = look(value, what);
  if (seen.isJson) return JSON.stringify(value);
  return "~" + toBase64(packChecked(value, seen));
}

/**
 * Decodes a text made by {@link valueToText}.
 *
 * @param what names the value in the error.
 * @param most the characters that it may have.
 * @throws AtlasError `unavailable`, not retryable: the store holds something else.
 */
export function textToValue(
  text: string,
  what: ValueName = "a stored value",
  most: number = MAX_TURN_CHARACTERS,
): unknown {
  try {
    if (text.length > most) throw new Error(`it has ${text.length} characters, more than ${most}`);
    return text.startsWith("~") ? unpack(fromBase64(text.slice(1))) : jsonToValue(text);
  } catch (cause) {
    throw unreadable(nameOf(what), messageOf(cause), cause);
  }
}

/**
 * Decodes a whole number from the store; 0 if the text is absent. @throws AtlasError `unavailable`
 */
export function textToCount(text: string | null | undefined, what: string): number {
  if (text === null || text === undefined) return 0;
  const count = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(count)) return count;
  throw unreadable(what, quoted(text));
}

/** The error for something in the store that Atlas did not write. */
export function unreadable(what: string, why: string, cause?: unknown): AtlasError {
  const message = `${what} can't be read, Atlas did not write it: ${shown(why, MAX_WHY)}`;
  return new AtlasError("unavailable", message, { retryable: false, cause });
}

/** The longest part of a parser's message, which quotes its input, in an error. */
const MAX_WHY = 120;
/** The longest value that is encoded as JSON, by the lower bound of its MessagePack. */
const JSON_LEAST = 2_048;
/** The longest JSON text that {@link encodeFast} gives, in characters. */
export const MAX_JSON_TEXT = 8_192;
/** JSON up to this length can't be nested too deep. */
const SHALLOW = 2 * MAX_VALUE_DEPTH;

/**
 * The value of JSON text.
 *
 * @throws Error if it is not JSON, is nested over `MAX_VALUE_DEPTH`, or has a key `__proto__`.
 */
export function jsonToValue(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) return value;
  if (text.length > SHALLOW) checkNesting(value, 1);
  // A key may have its letters escaped.
  if (text.includes("__proto__") || text.includes("\\u")) checkKeys(value);
  return value;
}

function checkNesting(value: object, depth: number): void {
  if (depth > MAX_VALUE_DEPTH) throw new Error(`it is nested more than ${MAX_VALUE_DEPTH} deep`);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item = value[i];
      if (typeof item === "object" && item !== null) checkNesting(item, depth + 1);
    }
    return;
  }
  // Faster than its keys as an array; JSON has no other properties.
  for (const key in value) {
    const item = (value as { [key: string]: unknown })[key];
    if (typeof item === "object" && item !== null) checkNesting(item, depth + 1);
  }
}

/** For values that aren't nested too deep. */
function checkKeys(value: object): void {
  if (Object.hasOwn(value, "__proto__")) throw new Error("it has a key named __proto__");
  for (const item of Object.values(value)) {
    if (typeof item === "object" && item !== null) checkKeys(item);
  }
}

/** What a walk through a value has found. */
interface Seen {
  map: boolean;
  /** Whether JSON gives back exactly this value. */
  isJson: boolean;
  /**
   * A lower bound of its encoded size in bytes: one for each value, and the length of texts and
   * byte arrays.
   */
  least: number;
}

function look(value: unknown, what: ValueName): Seen {
  const seen: Seen = { map: false, isJson: true, least: 0 };
  const trouble = findTrouble(value, 0, seen);
  if (trouble) {
    const path = shown(trouble.path, MAX_PATH);
    throw new AtlasError("bad_request", `${nameOf(what)}${path} can't be encoded: ${trouble.why}`);
  }
  return seen;
}

function packChecked(value: unknown, seen: Seen): Uint8Array {
  return packr.pack(seen.map ? wrapMaps(value) : value);
}

/** A copy of a checked value, each Map as {@link MapItems}. */
function wrapMaps(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array || value instanceof Date) return value;
  if (Array.isArray(value)) return Array.from(value, wrapMaps);
  if (value instanceof Set) return new Set(Array.from(value, wrapMaps));
  if (value instanceof Map) return new MapItems([...value].flat(1).map(wrapMaps));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wrapMaps(item)]));
}

interface Trouble {
  path: string;
  why: string;
}

const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

function findTrouble(value: unknown, depth: number, seen: Seen): Trouble | null {
  seen.least++;
  if (typeof value !== "object" || value === null) return lookAtPrimitive(value, seen);
  if (depth >= MAX_VALUE_DEPTH) {
    return { path: "", why: `it is nested more than ${MAX_VALUE_DEPTH} deep, or circular` };
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = findTrouble(value[i], depth + 1, seen);
      if (found) return { path: `[${i}]${found.path}`, why: found.why };
    }
    return null;
  }
  if (value instanceof Uint8Array) {
    seen.isJson = false;
    seen.least += value.length;
    return null;
  }
  if (value instanceof Date) {
    seen.isJson = false;
    return null;
  }
  if (value instanceof Map) {
    seen.isJson = false;
    seen.map = true;
    for (const [key, item] of value) {
      const inKey = findTrouble(key, depth + 1, seen);
      if (inKey) return { path: `.keys()${inKey.path}`, why: inKey.why };
      const found = findTrouble(item, depth + 1, seen);
      if (found) return { path: `.get(${keyShown(key)})${found.path}`, why: found.why };
    }
    return null;
  }
  if (value instanceof Set) {
    seen.isJson = false;
    for (const item of value) {
      const found = findTrouble(item, depth + 1, seen);
      if (found) return { path: `.values()${found.path}`, why: found.why };
    }
    return null;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype)) {
    const name = prototype.constructor?.name || Object.prototype.toString.call(value).slice(8, -1);
    return { path: "", why: `it is a ${name}, not a plain value` };
  }
  for (const key of Object.keys(value)) {
    if (key === "__proto__") return { path: "", why: "it has a key named __proto__" };
    if (key === "toJSON") seen.isJson = false;
    const found = findTrouble((value as Record<string, unknown>)[key], depth + 1, seen);
    if (found) return { path: `.${shown(key, MAX_KEY)}${found.path}`, why: found.why };
  }
  return null;
}

function lookAtPrimitive(value: unknown, seen: Seen): Trouble | null {
  switch (typeof value) {
    case "string":
      seen.least += value.length;
      return null;
    case "number":
      if (!Number.isFinite(value) || Object.is(value, -0)) seen.isJson = false;
      return null;
    case "undefined":
      seen.isJson = false;
      return null;
    case "bigint":
      seen.isJson = false;
      return value > INT64_MAX || value < INT64_MIN
        ? { path: "", why: "it is a bigint over 64 bits" }
        : null;
    case "function":
    case "symbol":
      return { path: "", why: `it is a ${typeof value}` };
    default:
      return null;
  }
}

/** How long a path may be in an error. */
const MAX_PATH = 240;
/** How long a key may be in such a path. */
const MAX_KEY = 40;

/** A Map's key as shown in a path. */
function keyShown(key: unknown): string {
  if (typeof key === "object" && key !== null) return "…";
  return typeof key === "string" ? shown(key, MAX_KEY) : quoted(key);
}

/** Whether text takes at most `bytes` bytes in UTF-8. */
export function fitsBytes(text: string, bytes: number): boolean {
  return text.length * 3 <= bytes ||
    (text.length <= bytes && new TextEncoder().encode(text).length <= bytes);
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8_192) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 8_192));
  }
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
