/**
 * Sends a request to one node once.
 *
 * Takes a request and a base URL; gives the answer, or an error that says how far the request got
 * and whether the node was silent. Never rejects. Browser-safe: only fetch, AbortSignal and timers.
 */
import { AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import { MAX_ANSWER_BYTES, MAX_TIMEOUT_MS } from "../../src/limits.ts";
import { redirectOf } from "../../src/model/redirect.ts";
import { unpack } from "../../src/model/value.ts";
import { concat, isMsgpack, MSGPACK } from "../http_wire/body.ts";
import { errorOf } from "../http_wire/errors.ts";
import {
  CALLER_REGION_HEADER,
  IDEMPOTENCY_HEADER,
  TIMEOUT_HEADER,
  TRACE_HEADER,
} from "../http_wire/inputs.ts";
import { parseJson } from "../http_wire/json.ts";
import { readPath } from "../http_wire/path.ts";

/** The part of `fetch` that is used. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface HttpRequest {
  method: "GET" | "POST" | "DELETE";
  /** The path after the base URL, such as `/v1/nodes`. */
  path: string;
  body?: Uint8Array | undefined;
  timeoutMs: number;
  idempotencyKey?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Further headers besides those of every request. */
  headers?: { readonly [name: string]: string };
  /** It is not repeated if the node is overloaded. */
  isNoWait?: boolean;
  /** It is sent once, to one node, because no other node could answer it. */
  isSingle?: boolean;
  callerRegion?: string | undefined;
  traceparent?: string | undefined;
  /** Gets the headers of the final answer. */
  onHeaders?: ((headers: Headers) => void) | undefined;
}

/** How a request is sent. */
export interface Sending {
  readonly token: string | undefined;
  readonly fetch: Fetch;
  /** Its deadline, by `performance.now()`. */
  readonly deadline: number;
  /** Aborted once another node has answered. */
  readonly answered: AbortSignal;
}

/** The outcome of one request to one node. */
export type Outcome =
  | { readonly answer: unknown; readonly headers: Headers; readonly error?: undefined }
  | {
    readonly error: AtlasError;
    /** No answer came, although the caller had not aborted the request. */
    readonly silent: boolean;
  };

/**
 * How much longer than the node this client waits, in ms, because the node's own `timeout` error is
 * more informative.
 */
const GRACE_MS = 250;
/** A timer that is later than this shows that the process was suspended, in ms. */
const HELD_UP_MS = 50;

/** Sends `request` to the node at `base`. */
export async function sendOnce(
  base: string,
  request: HttpRequest,
  { token, fetch, deadline, answered }: Sending,
): Promise<Outcome> {
  const { signal } = request;
  if (signal?.aborted) return { error: cancelled(signal, false), silent: false };
  const left = Math.max(1, Math.ceil(deadline - performance.now()));
  const abort = new AbortController();
  const giveUp = () => abort.abort();
  const timeout = after(left + GRACE_MS, giveUp);
  for (const end of [signal, answered]) end?.addEventListener("abort", giveUp, { once: true });
  try {
    const response = await fetch(base + request.path, {
      method: request.method,
      headers: headersOf(token, request, left),
      signal: abort.signal,
      redirect: "manual",
      ...(request.body ? { body: request.body as Uint8Array<ArrayBuffer> } : {}),
    });
    const redirect = redirectOf(response, base + request.path);
    if (redirect !== null) return redirected(base, request, redirect, response);
    return { answer: await read(response), headers: response.headers };
  } catch (thrown) {
    if (isAtlasError(thrown)) return { error: thrown, silent: false };
    return lost(thrown, base, request, abort.signal.aborted);
  } finally {
    timeout.end();
    for (const end of [signal, answered]) end?.removeEventListener("abort", giveUp);
  }
}

/**
 * Runs `run` after `ms`. If the process was suspended until then, an answer that came meanwhile is
 * read first, for at most `GRACE_MS`.
 */
function after(ms: number, run: () => void): { end(): void } {
  const due = performance.now() + ms;
  let timer = setTimeout(() => {
    if (performance.now() - due > HELD_UP_MS) timer = setTimeout(run, GRACE_MS);
    else run();
  }, ms);
  return { end: () => clearTimeout(timer) };
}

function headersOf(
  token: string | undefined,
  request: HttpRequest,
  left: number,
): Record<string, string> {
  const headers: Record<string, string> = {
    accept: request.method === "POST" ? MSGPACK : "application/json",
    [TIMEOUT_HEADER]: String(Math.min(left, MAX_TIMEOUT_MS)),
    ...request.headers,
  };
  if (request.body) headers["content-type"] = MSGPACK;
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (request.idempotencyKey !== undefined) headers[IDEMPOTENCY_HEADER] = request.idempotencyKey;
  if (request.callerRegion !== undefined) headers[CALLER_REGION_HEADER] = request.callerRegion;
  if (request.traceparent !== undefined) headers[TRACE_HEADER] = request.traceparent;
  return headers;
}

async function read(response: Response): Promise<unknown> {
  const bytes = await answerOf(response);
  if (response.ok && isMsgpack(response.headers.get("content-type"))) return unpacked(bytes);
  let body: unknown;
  try {
    body = parseJson(bytes);
  } catch {
    body = undefined;
  }
  if (!response.ok || body === undefined) {
    throw errorOf(response.status, body, readPath(response.headers));
  }
  return body;
}

/** @throws AtlasError `unavailable`: the call may have run. */
function unpacked(bytes: Uint8Array): unknown {
  try {
    return unpack(bytes);
  } catch (cause) {
    const message = `the answer can't be read: ${messageOf(cause)}`;
    throw new AtlasError("unavailable", message, { retryable: false, maybeExecuted: true, cause });
  }
}

/** An answer's bytes. @throws AtlasError `payload_too_large`: it was executed, if it was a call. */
async function answerOf(response: Response): Promise<Uint8Array> {
  const { headers, body } = response;
  const length = headers.get("content-length");
  const isKnown = length !== null && headers.get("content-encoding") === null;
  if (!body || (isKnown && Number(length) <= MAX_ANSWER_BYTES)) {
    return new Uint8Array(await response.arrayBuffer());
  }
  // A body that is compressed or comes in chunks may have any length.
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return chunks.length === 1 ? chunks[0] as Uint8Array : concat(chunks, size);
    size += value.length;
    if (size > MAX_ANSWER_BYTES) break;
    chunks.push(value);
  }
  reader.cancel().catch(() => {});
  const message = `the answer is over ${MAX_ANSWER_BYTES} bytes`;
  throw new AtlasError("payload_too_large", message, { maybeExecuted: true });
}

/**
 * The outcome without an answer; whether the call may have run depends on how far the request got.
 */
function lost(thrown: unknown, base: string, request: HttpRequest, aborted: boolean): Outcome {
  const maybeExecuted = request.method === "POST" && !(!aborted && neverSent(thrown));
  if (request.signal?.aborted) {
    return { error: cancelled(request.signal, maybeExecuted), silent: false };
  }
  const error = aborted
    ? new AtlasError("timeout", `no answer from ${base} within ${request.timeoutMs} ms`, {
      maybeExecuted,
    })
    : new AtlasError("unavailable", `${base} can't be reached: ${reasonOf(thrown)}`, {
      maybeExecuted,
      cause: thrown,
    });
  return { error, silent: true };
}

/** A proxy before the node redirected the request; it may have passed it on before. */
function redirected(
  base: string,
  { method }: HttpRequest,
  what: string,
  { body }: Response,
): Outcome {
  body?.cancel().catch(() => {});
  const message = `${base} ${what}, which is not followed: use that URL instead`;
  const options = { retryable: false, maybeExecuted: method === "POST" };
  return { error: new AtlasError("unavailable", message, options), silent: true };
}

function cancelled(signal: AbortSignal, maybeExecuted: boolean): AtlasError {
  return new AtlasError("timeout", "the caller cancelled the call", {
    maybeExecuted,
    retryable: false,
    cause: signal.reason,
  });
}

function reasonOf(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  return cause instanceof Error && cause.message !== "" ? cause.message : messageOf(thrown);
}

/** Codes of Node and Bun for a connection that was never made, or a TLS handshake that failed. */
const NO_CONNECTION = new RegExp(
  "^(?:ConnectionRefused|ECONNREFUSED|E(?:HOST|NET)UNREACH|E(?:NET|HOST)DOWN|EADDRNOTAVAIL|EACCES|" +
    "ENOTFOUND|EAI_[A-Z]+|FailedToOpenSocket|UND_ERR_CONNECT_TIMEOUT|EPROTO|" +
    "ERR_TLS_[A-Z_]+|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_[A-Z0-9_]*HANDSHAKE_FAILURE|" +
    "CERT_[A-Z_]+|[A-Z_]*SELF_SIGNED_CERT[A-Z_]*|UNABLE_TO_[A-Z_]+|HOSTNAME_MISMATCH|INVALID_CA)$",
);
/**
 * The message of Deno for the same, and of all runtimes for ports that `fetch` refuses (Fetch
 * standard, §2.9).
 */
const NOT_SENT =
  /: client error \(Connect\): |^bad port$|^Fetch failed: Requests to port \d+ are blocked$/;

/**
 * Whether the connection was never made, so that nothing was sent. Runtimes report it differently
 * (Node: a cause's code; Bun: a code; Deno: a cause's message, which also holds the request's URL);
 * browsers don't report it, which counts as unknown.
 */
export function neverSent(thrown: unknown): boolean {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; depth++) {
    const { code, syscall } = error as { code?: unknown; syscall?: unknown };
    // A connection that was made may end with the same code.
    if (syscall === "read") return false;
    if (NO_CONNECTION.test(String(code)) || NOT_SENT.test(error.message)) return true;
    error = error.cause;
  }
  return false;
}
