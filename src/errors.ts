/**
 * The one error that leaves Atlas, its codes, and its form on the wire.
 *
 * Across processes errors are known by `code`, never by `instanceof`: two copies
 * of the package may meet in one program.
 *
 * Source: `docs/design.md`, Calls.
 */

/** What each code means to a caller who considers a retry. */
export const ERROR_CODES: {
  readonly [code: string]: { readonly retryable: boolean; readonly meaning: string };
} = {
  bad_request: { retryable: false, meaning: "an argument, option or message is not allowed" },
  invalid_rrp: { retryable: false, meaning: "a region, node, type or id is not allowed" },
  unauthorized: { retryable: false, meaning: "no token or secret, or a wrong one" },
  forbidden: {
    retryable: false,
    meaning: "the caller is known, or needs no token, but may not do this",
  },
  not_found: { retryable: false, meaning: "no such type, method or module" },
  reentrant_call: { retryable: false, meaning: "a call chain came back to a busy resource" },
  contested: { retryable: true, meaning: "more than one unsuperseded claim" },
  payload_too_large: { retryable: false, meaning: "a body, frame or value is over its limit" },
  overloaded: { retryable: true, meaning: "a bounded queue is full" },
  not_owner: { retryable: true, meaning: "the node asked does not own the resource" },
  app: { retryable: false, meaning: "the user's code threw" },
  unavailable: { retryable: true, meaning: "the store, the owner or its node can't be reached" },
  timeout: { retryable: true, meaning: "the deadline passed" },
  node_name_taken: { retryable: false, meaning: "another live process took this node's name" },
};

/** The codes that {@link AtlasError} carries; `adapters/http/` maps them to HTTP statuses. */
export type ErrorCode =
  | "bad_request"
  | "invalid_rrp"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "reentrant_call"
  | "contested"
  | "payload_too_large"
  | "overloaded"
  | "not_owner"
  | "app"
  | "unavailable"
  | "timeout"
  | "node_name_taken";

export interface AtlasErrorOptions {
  /** Overrides the code's own `retryable`. */
  retryable?: boolean;
  /** Whether the called code may have run. Default false. */
  maybeExecuted?: boolean;
  cause?: unknown;
  /** The path of the call that failed. */
  path?: readonly string[] | undefined;
  /** `message` with what callers must not learn: hosts, addresses, files. For logs only. */
  detail?: string | undefined;
}

/**
 * An error of Atlas.
 *
 * `retryable`: the same call may succeed later. `maybeExecuted`: the called code may have run
 * (wholly or in part); only if it is false, or the call carries an idempotency key, is a blind
 * retry safe.
 */
export class AtlasError extends Error {
  override readonly name = "AtlasError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly maybeExecuted: boolean;
  /** The nodes that the call reached, as `<region>/<node>`, the first one first. */
  readonly path?: readonly string[];
  /** Logged by this node instead of `message`; never sent to another process. */
  readonly detail?: string;

  constructor(code: ErrorCode, message: string, options: AtlasErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? ERROR_CODES[code]?.retryable ?? false;
    this.maybeExecuted = options.maybeExecuted ?? false;
    if (options.path) this.path = options.path;
    if (options.detail !== undefined) this.detail = options.detail;
  }
}

/** Whether `value` is an AtlasError of any copy of this package. */
export function isAtlasError(value: unknown): value is AtlasError {
  try {
    return value instanceof Error && value.name === "AtlasError" &&
      typeof (value as AtlasError).code === "string";
  } catch {
    return false;
  }
}

/** Whether this version knows the code: users' errors may have codes of their own. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code);
}

/** An error on the wire: `[code, message, retryable, maybeExecuted]`. */
export type WireError = readonly [string, string, boolean, boolean];

/** The longest message that is sent, in UTF-16 code units. */
export const MAX_MESSAGE = 2_000;

/**
 * `error` in its form on the wire: by code, without stack or cause; an unknown code becomes `app`.
 */
export function toWireError(error: AtlasError): WireError {
  const { code, retryable, maybeExecuted } = error;
  const message = messageOf(error).slice(0, MAX_MESSAGE);
  return [isErrorCode(code) ? code : "app", message, retryable === true, maybeExecuted === true];
}

/** The error a peer sent. A code this version doesn't know reads as `unavailable`. */
export function fromWireError(wire: WireError): AtlasError {
  const [code, message, retryable, maybeExecuted] = wire;
  return new AtlasError(
    isErrorCode(code) ? code : "unavailable",
    String(message).slice(0, MAX_MESSAGE),
    { retryable: retryable === true, maybeExecuted: maybeExecuted === true },
  );
}

/** Any thrown value as an AtlasError of a known code: what user code threw becomes `app`. */
export function toAtlasError(thrown: unknown, options: AtlasErrorOptions = {}): AtlasError {
  if (isAtlasError(thrown) && isErrorCode(thrown.code)) return thrown;
  return new AtlasError("app", messageOf(thrown), { ...options, cause: thrown });
}

/** The message of any thrown value. Never throws. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return "a value that can't be printed was thrown";
  }
}

/** What to log of any thrown value: its detail if it has one, else its message. */
export function detailOf(thrown: unknown): string {
  const detail = isAtlasError(thrown) ? (thrown as AtlasError).detail : undefined;
  return typeof detail === "string" ? detail : messageOf(thrown);
}

/** The stack of any thrown value, for logs; its message if it has none. Never throws. */
export function stackOf(thrown: unknown): string {
  try {
    const { stack } = thrown as { stack?: unknown };
    if (typeof stack === "string" && stack !== "") return stack;
  } catch {
    // The value has no stack or message that can be read.
  }
  return messageOf(thrown);
}

/** A copy of the error with this path. A copy, because several calls may share one error. */
export function withPath(error: AtlasError, path: readonly string[]): AtlasError {
  const { code, retryable, maybeExecuted, detail } = error;
  const cause = error instanceof AtlasError ? error.cause : error;
  const options = { retryable, maybeExecuted, cause, path, detail };
  const copy = new AtlasError(code, messageOf(error), options);
  copy.stack = stackOf(error);
  return copy;
}

/** A copy of the error that also names the error of the previous attempt. */
export function withPreviousError(error: AtlasError, before: AtlasError): AtlasError {
  const { code, retryable, maybeExecuted, cause = error, path } = error;
  const message = `${error.message}; before that: ${before.message}`;
  const detail = `${detailOf(error)}; before that: ${detailOf(before)}`;
  return new AtlasError(code, message, { retryable, maybeExecuted, cause, path, detail });
}

/** A copy of the error with `maybeExecuted` set. */
export function asMaybeExecuted(error: AtlasError): AtlasError {
  if (error.maybeExecuted) return error;
  const { code, message, retryable, path, detail } = error;
  const options = { retryable, maybeExecuted: true, cause: error, path, detail };
  return new AtlasError(code, message, options);
}
