/**
 * Decodes request bodies, as JSON or as MessagePack, and encodes MessagePack answers.
 *
 * Takes a request; gives the array of a call's arguments or an object of options. Has no more of a
 * body read than the limit, and waits for it no longer than the call may take.
 */
import { AtlasError } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_BODY_BYTES } from "../../src/limits.ts";
import { encodeValue, pack, unpack } from "../../src/model/value.ts";
import type { HeaderReader, PlainRequest } from "../../src/ports/runtime.ts";
import { parseJson } from "./json.ts";

/** The media type of MessagePack bodies, both ways. */
export const MSGPACK = "application/msgpack";

/** Whether a header (`Content-Type`, `Accept`) names MessagePack. */
export function isMsgpack(header: string | null): boolean {
  return header !== null && /\bapplication\/(?:x-|vnd\.)?msgpack\b/i.test(header);
}

/** What is needed of a request to read its body. */
type WithBody = Pick<PlainRequest, "read">;

/**
 * A request's body, for which a call's deadline holds. The time that the body takes is taken off
 * `options.timeoutMs`.
 *
 * @throws AtlasError `payload_too_large` over 1 MiB, `timeout` if it doesn't arrive in time.
 */
export function readBody(
  request: WithBody,
  options: { timeoutMs?: number },
): Uint8Array | Promise<Uint8Array> {
  const { timeoutMs } = options;
  if (timeoutMs === undefined) return request.read(MAX_BODY_BYTES, DEFAULT_TIMEOUT_MS);
  const began = performance.now();
  const body = request.read(MAX_BODY_BYTES, timeoutMs);
  if (!(body instanceof Promise)) return body;
  return body.then((bytes) => {
    options.timeoutMs = Math.max(1, Math.ceil(timeoutMs - (performance.now() - began)));
    return bytes;
  });
}

/**
 * The arguments in a request's body: a JSON array whatever the `Content-Type`, unless that says
 * MessagePack. No body means no arguments.
 *
 * @throws AtlasError `bad_request` if the body isn't an array or can't be read.
 */
export function argumentsOf(bytes: Uint8Array, headers: HeaderReader): unknown[] {
  const value = valueOf(bytes, headers);
  if (value === undefined) return [];
  if (Array.isArray(value)) return value;
  throw new AtlasError(
    "bad_request",
    `the body is ${kindOf(value)}; it must be an array of arguments, such as ["ann","hi"]`,
  );
}

/**
 * The options in a request's body: an object. No body means no options.
 *
 * @throws AtlasError as {@link argumentsOf}; `bad_request` if one isn't among `known`.
 */
export function optionsOf(
  bytes: Uint8Array,
  headers: HeaderReader,
  known: readonly string[],
): { [name: string]: unknown } {
  const value = valueOf(bytes, headers) ?? {};
  const isObject = typeof value === "object" && !Array.isArray(value);
  if (!isObject) {
    throw new AtlasError("bad_request", `the body is ${kindOf(value)}; it must be an object`);
  }
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown === undefined) return value as { [name: string]: unknown };
  const named = JSON.stringify(unknown.slice(0, 64));
  throw new AtlasError(
    "bad_request",
    `there is no option ${named}; there are: ${known.join(", ")}`,
  );
}

/** The value in a body; undefined if the body is empty. */
function valueOf(bytes: Uint8Array, headers: HeaderReader): unknown {
  if (bytes.length === 0) return undefined;
  return isMsgpack(headers.get("content-type")) ? unpack(bytes) : parseJson(bytes);
}

/** The MessagePack map (format: fixmap) of a call's answer: its result, and at most 14 more. */
export function msgpackMap(
  result: unknown,
  origin: { readonly [name: string]: unknown },
): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(origin);
  // The result is encoded separately, because it may use the whole depth that a value may have.
  const parts = [
    new Uint8Array([0x80 | (entries.length + 1)]),
    pack("result"),
    encodeValue(result, "result"),
    ...entries.flatMap(([name, value]) => [pack(name), pack(value)]),
  ];
  return concat(parts, parts.reduce((sum, part) => sum + part.length, 0));
}

export function concat(chunks: Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
