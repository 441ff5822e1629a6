/**
 * Maps errors to HTTP statuses and JSON bodies, and back. Server and client share it, so it
 * imports nothing of a runtime.
 */
import {
  AtlasError,
  ERROR_CODES,
  type ErrorCode,
  fromWireError,
  messageOf,
  toWireError,
  withPath,
} from "../../src/errors.ts";
import { shown } from "../../src/model/options.ts";
import type { PlainAnswer } from "../../src/ports/runtime.ts";
import { pathHeaders } from "./path.ts";
import { responseOf } from "./plain_response.ts";

/** The HTTP status of each code. */
export const STATUS_OF: { readonly [code in ErrorCode]: number } = {
  bad_request: 400,
  invalid_rrp: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  reentrant_call: 409,
  contested: 409,
  payload_too_large: 413,
  not_owner: 421,
  overloaded: 429,
  app: 500,
  unavailable: 503,
  node_name_taken: 503,
  timeout: 504,
};

/** The status of an error's answer: its code's. */
export function statusOf({ code }: AtlasError): number {
  return Object.hasOwn(STATUS_OF, code) ? STATUS_OF[code] : STATUS_OF.app;
}

/**
 * An error as it is answered: unchanged, with one exception. Clients repeat a request that got 421
 * by themselves, whatever its method (RFC 9110 §15.5.20; the `fetch` of Node does so). If the call
 * may have run already the answer is therefore `unavailable`.
 */
function answeredAs(error: AtlasError): AtlasError {
  const { code, retryable, maybeExecuted } = error;
  if (code !== "not_owner" || !maybeExecuted) return error;
  return new AtlasError("unavailable", messageOf(error), { retryable, maybeExecuted });
}

/** The body of every answer that is an error. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly retryable: boolean;
    readonly maybeExecuted: boolean;
  };
}

/** What goes into the body: never a stack, a cause, or more than 2,000 characters. */
export function errorBody(error: AtlasError): ErrorBody {
  const [code, message, retryable, maybeExecuted] = toWireError(error);
  return { error: { code, message, retryable, maybeExecuted } };
}

/** The answer to a request that failed with `error`. */
export function errorAnswer(
  error: AtlasError,
  headers: Readonly<Record<string, string>> = {},
): PlainAnswer {
  const located = isPath(error.path) ? pathHeaders(error.path) : {};
  const all: Record<string, string> = {
    "content-type": "application/json",
    ...located,
    ...headers,
  };
  if (error.code === "unauthorized") all["www-authenticate"] = "Bearer";
  const answered = answeredAs(error);
  return { status: statusOf(answered), headers: all, body: JSON.stringify(errorBody(answered)) };
}

/** The answer to a request that failed with `error`, as a Response. */
export function errorResponse(
  error: AtlasError,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return responseOf(errorAnswer(error, headers));
}

/** Whether an error's `path` is one: errors of user code may have any value there. */
function isPath(path: unknown): path is readonly string[] {
  return Array.isArray(path) && path.length > 0 &&
    path.every((node) => typeof node === "string" && /^[!-~]+$/.test(node));
}

/**
 * The error that an answer carries; `path` is the call path in its headers.
 *
 * An answer that isn't Atlas's own (a proxy's error page, another server) is judged by
 * its status alone; whether the call ran is then unknown, so `maybeExecuted` is true
 * unless the status says that the request was refused.
 */
export function errorOf(
  status: number,
  body: unknown,
  path: readonly string[] = [],
): AtlasError {
  const error = ownErrorOf(status, body);
  return path.length > 0 ? withPath(error, path) : error;
}

function ownErrorOf(status: number, body: unknown): AtlasError {
  const error = (body as Partial<ErrorBody> | null | undefined)?.error;
  if (typeof error?.code === "string" && typeof error.message === "string") {
    return fromWireError([
      error.code,
      error.message,
      error.retryable === true,
      error.maybeExecuted === true,
    ]);
  }
  const message = `the server answered HTTP ${status} without an Atlas error`;
  const refused = status >= 400 && status < 500;
  const code = refused
    ? (Object.keys(STATUS_OF) as ErrorCode[]).find((name) => STATUS_OF[name] === status)
    : undefined;
  if (code) return new AtlasError(code, message);
  return new AtlasError("unavailable", message, {
    retryable: !refused && ERROR_CODES["unavailable"]?.retryable,
    maybeExecuted: !refused,
  });
}

const NO_PURCHASE = "there is no purchase ";

/** The error of a purchase that this node doesn't have; the call did not run. */
export function noPurchase(id: string): AtlasError {
  return new AtlasError(
    "not_found",
    `${NO_PURCHASE}${shown(id, 64)} here: it ended, or was made at another node`,
  );
}

/** Whether an error says that a purchase is gone, not that a module or a function is missing. */
export function isNoPurchase(error: AtlasError): boolean {
  return error.code === "not_found" && !error.maybeExecuted &&
    error.message.startsWith(NO_PURCHASE);
}

const NO_UPGRADE = "this is a WebSocket: connect to it with one";

/** The error of a plain request for a client socket that would be allowed. */
export function noUpgrade(): AtlasError {
  return new AtlasError("bad_request", NO_UPGRADE);
}

/** Whether an error says that a client socket would be allowed. */
export function isNoUpgrade(error: AtlasError): boolean {
  return error.code === "bad_request" && error.message === NO_UPGRADE;
}
