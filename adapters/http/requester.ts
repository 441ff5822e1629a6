/**
 * The client's messenger: he knows several doors, and knocks again only where a second
 * delivery can do no harm.
 *
 * Takes one request; gives the answer of the first node that gives a final one, within
 * the deadline. Browser-safe: only fetch, AbortSignal and timers.
 */
import { AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import { MAX_TIMEOUT_MS } from "../../src/limits.ts";
import { unpack } from "../../src/model/value.ts";
import { isMsgpack, MSGPACK } from "./body.ts";
import { errorOf } from "./errors.ts";
import {
  CALLER_REGION_HEADER,
  IDEMPOTENCY_HEADER,
  TIMEOUT_HEADER,
  TRACE_HEADER,
} from "./inputs.ts";
import { neverSent } from "./never_sent.ts";
import { readPath } from "./path.ts";

/** The part of `fetch` that is used. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface RequesterOptions {
  /** Base URLs of nodes, without a slash at the end. */
  urls: readonly string[];
  token: string | undefined;
  fetch: Fetch;
}

export interface Outgoing {
  method: "GET" | "POST" | "DELETE";
  /** From the base URL on, such as `/v1/nodes`. */
  path: string;
  body?: Uint8Array | undefined;
  timeoutMs: number;
  idempotencyKey?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Sent besides those that every request has. */
  headers?: { readonly [name: string]: string };
  /** It is not repeated where nobody has room for it. */
  isImpatient?: boolean;
  callerRegion?: string | undefined;
  traceparent?: string | undefined;
  /** Gets the headers of the final answer. */
  heard?: ((headers: Headers) => void) | undefined;
}

/** Attempts at one request at most, the first one included. */
const MAX_ATTEMPTS = 24;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;
/** How much longer than the node this end waits: the node's own `timeout` knows more. */
const GRACE_MS = 250;

/** Sends a request and gives the value of its answer. Rejects with an AtlasError. */
export type Requester = (request: Outgoing) => Promise<unknown>;

/** Sends requests to any of the nodes; the one that answered last is asked first. */
export function createRequester(options: RequesterOptions): Requester {
  let current = 0;
  return async (request) => {
    const deadline = performance.now() + request.timeoutMs;
    let mayHaveRun = false;
    for (let attempt = 1;; attempt++) {
      const asked = current;
      try {
        return await sendOnce(options, options.urls[asked] as string, request, deadline);
      } catch (thrown) {
        if (!isAtlasError(thrown)) throw thrown;
        // What one attempt may have done stays done, whatever becomes of the next.
        mayHaveRun ||= thrown.maybeExecuted;
        if (thrown.code === "unavailable" && asked === current) {
          current = (asked + 1) % options.urls.length;
        }
        // Each door is tried once without waiting; then they may all need time.
        const round = Math.floor((attempt - 1) / options.urls.length);
        const freshDoor = attempt % options.urls.length !== 0 && thrown.code === "unavailable";
        const pause = freshDoor && round === 0 ? 0 : pauseMs(round);
        const left = deadline - performance.now();
        if (attempt >= MAX_ATTEMPTS || pause >= left || !mayRepeat(request, thrown)) {
          throw mayHaveRun ? asMaybeExecuted(thrown) : thrown;
        }
        await sleep(pause, request.signal);
      }
    }
  };
}

/** Whether repeating a request that failed so can't run anything twice. */
function mayRepeat(request: Outgoing, error: AtlasError): boolean {
  if (request.signal?.aborted || !error.retryable) return false;
  if (request.isImpatient && error.code === "overloaded") return false;
  return !error.maybeExecuted || request.idempotencyKey !== undefined || request.method !== "POST";
}

/** The same error, of a request that an earlier attempt may have executed. */
function asMaybeExecuted(error: AtlasError): AtlasError {
  if (error.maybeExecuted) return error;
  const { code, message, retryable, path } = error;
  return new AtlasError(code, message, { retryable, maybeExecuted: true, cause: error, path });
}

/** Doubling from 20 ms to 1 s, the upper half of it drawn. */
function pauseMs(round: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** round);
  return full * (0.5 + Math.random() / 2);
}

async function sendOnce(
  options: RequesterOptions,
  base: string,
  request: Outgoing,
  deadline: number,
): Promise<unknown> {
  const left = Math.max(1, Math.ceil(deadline - performance.now()));
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), left + GRACE_MS);
  const giveUp = () => abort.abort();
  request.signal?.addEventListener("abort", giveUp, { once: true });
  if (request.signal?.aborted) giveUp();
  try {
    const response = await options.fetch(base + request.path, {
      method: request.method,
      headers: headersOf(options.token, request, left),
      signal: abort.signal,
      redirect: "error",
      ...(request.body ? { body: request.body as Uint8Array<ArrayBuffer> } : {}),
    });
    const answer = await read(response);
    request.heard?.(response.headers);
    return answer;
  } catch (thrown) {
    if (isAtlasError(thrown)) throw thrown;
    throw lost(thrown, base, request, abort.signal.aborted);
  } finally {
    clearTimeout(timer);
    request.signal?.removeEventListener("abort", giveUp);
  }
}

function headersOf(
  token: string | undefined,
  request: Outgoing,
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
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (response.ok && isMsgpack(response.headers.get("content-type"))) return unpack(bytes);
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    body = undefined;
  }
  if (!response.ok || body === undefined) {
    throw errorOf(response.status, body, readPath(response.headers));
  }
  return body;
}

/** No answer came: what that says of the call depends on how far the request got. */
function lost(
  thrown: unknown,
  base: string,
  request: Outgoing,
  aborted: boolean,
): AtlasError {
  const maybeExecuted = request.method === "POST" && !(!aborted && neverSent(thrown));
  if (request.signal?.aborted) {
    return new AtlasError("timeout", "the caller gave the call up", {
      maybeExecuted,
      retryable: false,
      cause: request.signal.reason,
    });
  }
  if (aborted) {
    return new AtlasError("timeout", `no answer from ${base} within ${request.timeoutMs} ms`, {
      maybeExecuted,
    });
  }
  return new AtlasError("unavailable", `${base} can't be reached: ${reasonOf(thrown)}`, {
    maybeExecuted,
    cause: thrown,
  });
}

function reasonOf(thrown: unknown): string {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  return cause instanceof Error && cause.message !== "" ? cause.message : messageOf(thrown);
}

/** Ends early where the caller gives up; the next attempt then says so. */
function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
