/**
 * JSON bodies over HTTP. Takes a body's bytes and gives arguments; takes a result and gives JSON
 * text.
 *
 * What JSON can't express is converted: bigint to a decimal string, Date to an ISO 8601 string,
 * Uint8Array to base64, Map to an object keyed by its keys' texts, Set to an array, undefined to
 * null (left out as an object's property), NaN and infinities to null. MessagePack keeps all of
 * them.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_VALUE_DEPTH } from "../../src/limits.ts";
import { shown } from "../../src/model/options.ts";
import { jsonToValue } from "../../src/model/value.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * The value of a JSON body; undefined if the body is empty.
 *
 * @throws AtlasError `bad_request` if the bytes aren't UTF-8, not JSON, nested deeper than
 * `MAX_VALUE_DEPTH`, or have a key `__proto__`.
 */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new AtlasError("bad_request", "the body is not valid UTF-8");
  }
  if (text.trim() === "") return undefined;
  // Shorter text can't be nested too deep, and be JSON.
  if (bytes.length > 2 * MAX_VALUE_DEPTH) checkDepth(bytes);
  try {
    return jsonToValue(text);
  } catch (cause) {
    const why = shown(messageOf(cause), 120);
    throw new AtlasError("bad_request", `the body can't be read as JSON: ${why}`, {
      cause,
    });
  }
}

/** Counts brackets outside strings before a parser recurses into them. */
function checkDepth(bytes: Uint8Array): void {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (quoted) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) {
      quoted = true;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_VALUE_DEPTH) {
        throw new AtlasError("bad_request", `the body is nested more than ${MAX_VALUE_DEPTH} deep`);
      }
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
}

/** `value` as JSON text; see the file's head for what JSON can't say. */
export function toJson(value: unknown): string {
  return JSON.stringify(isPlain(value) ? value : plain(value)) ?? "null";
}

/** Whether `JSON.stringify` converts a value as documented, so that no copy is needed. */
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return typeof value !== "bigint";
  if (Array.isArray(value)) return value.every(isPlain);
  if (
    value instanceof Date || value instanceof Uint8Array || value instanceof Map ||
    value instanceof Set
  ) return false;
  for (const key in value) {
    if (!isPlain((value as { readonly [key: string]: unknown })[key])) return false;
  }
  return true;
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Uint8Array) return base64(value);
  if (value instanceof Set) return Array.from(value, plain);
  const entries = value instanceof Map
    ? Array.from(value, ([key, item]): [string, unknown] => [keyText(key), plain(item)])
    : Object.entries(value).map(([key, item]): [string, unknown] => [key, plain(item)]);
  return Object.fromEntries(entries);
}

function keyText(key: unknown): string {
  if (typeof key !== "object" || key === null) return String(key);
  const text = plain(key);
  return typeof text === "string" ? text : toJson(key);
}

/** Bytes as base64 text. */
export function base64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8_192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  }
  return btoa(binary);
}
