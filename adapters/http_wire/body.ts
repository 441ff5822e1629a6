/**
 * Reads request bodies, as JSON or as MessagePack, and encodes MessagePack answers.
 *
 * Takes a request; gives the array of a call's arguments or an object of options. Holds no more of
 * a body than the limit, and waits for it no longer than the call may take.
 */
import { AtlasError } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_BODY_BYTES } from "../../src/limits.ts";
import { encodeValue, pack, unpack } from "../../src/model/value.ts";
import { parseJson } from "./json.ts";
import { plainResponse } from "./plain_response.ts";

/** The media type of MessagePack bodies, both ways. */
export const MSGPACK = "application/msgpack";

/** Whether a header (`Content-Type`, `Accept`) names MessagePack. */
export function isMsgpack(header: string | null): boolean {
  return header !== null && /\bapplication\/(?:x-|vnd\.)?msgpack\b/i.test(header);
}

/** A body's value, and the remaining time of the caller's timeout. */
export interface Reading<T> {
  readonly value: T;
  readonly left: { readonly timeoutMs?: number };
}

/**
 * The arguments in a request's body: a JSON array whatever the `Content-Type`, unless
 * that says MessagePack. No body means no arguments.
 *
 * @throws AtlasError `payload_too_large` over 1 MiB, `bad_request` if the body isn't an array or
 * can't be read, `timeout` if it doesn't arrive in time.
 */
export async function readArguments(
  request: Request,
  timeoutMs: number | undefined,
): Promise<Reading<unknown[]>> {
  const { value = [], left } = await readValue(request, timeoutMs);
  if (Array.isArray(value)) return { value, left };
  throw new AtlasError(
    "bad_request",
    `the body is ${kindOf(value)}; it must be an array of arguments, such as ["ann","hi"]`,
  );
}

/**
 * The options in a request's body: an object. No body means no options.
 *
 * @throws AtlasError as {@link readArguments}; `bad_request` if one isn't among `known`.
 */
export async function readOptions(
  request: Request,
  known: readonly string[],
  timeoutMs: number | undefined,
): Promise<Reading<{ [name: string]: unknown }>> {
  const { value: found, left } = await readValue(request, timeoutMs);
  const value = found ?? {};
  const isObject = typeof value === "object" && !Array.isArray(value);
  if (!isObject) {
    throw new AtlasError("bad_request", `the body is ${kindOf(value)}; it must be an object`);
  }
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown === undefined) return { value: value as { [name: string]: unknown }, left };
  const named = JSON.stringify(unknown.slice(0, 64));
  throw new AtlasError(
    "bad_request",
    `there is no option ${named}; there are: ${known.join(", ")}`,
  );
}

/** The value in a body; undefined if the body is empty. */
async function readValue(
  request: Request,
  timeoutMs: number | undefined,
): Promise<Reading<unknown>> {
  const began = performance.now();
  const bytes = await readBytes(request, timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const left = timeoutMs === undefined ? {} : { timeoutMs };
  if (bytes.length === 0) return { value: undefined, left };
  if (timeoutMs !== undefined) {
    left.timeoutMs = Math.max(1, Math.ceil(timeoutMs - (performance.now() - began)));
  }
  const inMsgpack = isMsgpack(request.headers.get("content-type"));
  return { value: inMsgpack ? unpack(bytes) : parseJson(bytes), left };
}

/**
 * The MessagePack map (format: fixmap) of a call's answer, under `headers`: its result, and
 * at most 14 more.
 */
export function msgpackAnswer(
  { result, ...origin }: { readonly result: unknown; readonly [name: string]: unknown },
  headers: Readonly<Record<string, string>> = {},
): Response {
  const entries = Object.entries(origin);
  // The result is encoded separately, because it may use the whole depth that a value may have.
  const parts = [
    new Uint8Array([0x80 | (entries.length + 1)]),
    pack("result"),
    encodeValue(result, "result"),
    ...entries.flatMap(([name, value]) => [pack(name), pack(value)]),
  ];
  const bytes = concat(parts, parts.reduce((sum, part) => sum + part.length, 0));
  return plainResponse(bytes, { headers: { "content-type": MSGPACK, ...headers } });
}

/** Requests whose bodies were not read to the end. */
const broken: WeakSet<Request> = new WeakSet();

/**
 * Whether a part of a request's body was not read. What follows on its connection is then unknown.
 */
export function isUnread(request: Request): boolean {
  if (request.bodyUsed) return broken.has(request);
  const { headers } = request;
  return headers.has("transfer-encoding") || Number(headers.get("content-length") ?? 0) > 0;
}

/** Checks the announced length, and again the bytes that come: an announcement may be wrong. */
async function readBytes(request: Request, timeoutMs: number): Promise<Uint8Array> {
  const { headers } = request;
  const announced = headers.get("content-length");
  if (announced !== null && Number(announced) > MAX_BODY_BYTES) throw tooLarge();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(tooLate(timeoutMs)), timeoutMs);
  });
  try {
    // Read at once if its length is known, because a stream reader costs several times as much.
    const isKnown = announced !== null && !headers.has("transfer-encoding");
    return await (isKnown ? Promise.race([readWhole(request), late]) : readPieces(request, late));
  } catch (error) {
    broken.add(request);
    if (error instanceof AtlasError) throw error;
    throw new AtlasError("bad_request", "the body broke off", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function readWhole(request: Request): Promise<Uint8Array> {
  const bytes = new Uint8Array(await request.arrayBuffer());
  if (bytes.length > MAX_BODY_BYTES) throw tooLarge();
  return bytes;
}

async function readPieces(request: Request, late: Promise<never>): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = request.body.getReader();
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), late]);
      if (done) return chunks.length === 1 ? chunks[0] as Uint8Array : concat(chunks, length);
      length += value.length;
      if (length > MAX_BODY_BYTES) throw tooLarge();
      chunks.push(value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
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

function tooLate(timeoutMs: number): AtlasError {
  return new AtlasError("timeout", `the body did not come whole within ${timeoutMs} ms`);
}

function tooLarge(): AtlasError {
  return new AtlasError("payload_too_large", `the body is over ${MAX_BODY_BYTES} bytes`);
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
