/**
 * The frames between a client socket and the node that holds it, as plain values. A codec, which
 * the adapter brings, turns them into bytes.
 */
import { AtlasError, isAtlasError, MAX_MESSAGE, messageOf } from "../errors.ts";
import { MAX_METHOD } from "../limits.ts";
import { noMethod } from "./internal_methods.ts";
import { quoted } from "./options.ts";
import type { DegradedVerdict } from "./ownership.ts";

/** A frame from the node to the client. */
export type ServerFrame =
  /** Joined, or joined again: `seq` is the last event's number, `gap` says that some are lost. */
  | {
    readonly t: "hello";
    readonly connection: string;
    readonly epoch: number;
    readonly seq: number;
    readonly gap: boolean;
    /** The secret with which the client can resume the connection, if that is possible. */
    readonly resume?: string;
  }
  /** Events up to `seq` that this client hasn't received were for other connections. */
  | { readonly t: "skip"; readonly seq: number }
  /** The connection is alive; sent after `hello`, if nothing else was sent for a while. */
  | { readonly t: "ping" }
  /** The node is draining: the client should close, and connect to another node. */
  | { readonly t: "leave" }
  /** `verdict` if the resource's node can't reach the store: the answer may get lost. */
  | {
    readonly t: "reply";
    readonly id: number | string;
    readonly result: unknown;
    readonly verdict?: DegradedVerdict;
  }
  | { readonly t: "reply"; readonly id: number | string; readonly error: FrameError };

/** An error in a frame, as in an HTTP response. */
export interface FrameError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly maybeExecuted: boolean;
}

/** A frame from the client to the node. */
export type ClientFrame =
  | { readonly t: "message"; readonly data: unknown }
  | {
    readonly t: "call";
    readonly id: number | string;
    readonly method: string;
    readonly args: readonly unknown[];
    readonly timeoutMs?: number;
    readonly idempotencyKey?: string;
  };

/** Encodes and decodes frames, as bytes or text. */
export interface Codec {
  readonly name: string;
  /** @throws AtlasError `bad_request` if a part can't be encoded */
  encode(frame: ServerFrame): string | Uint8Array;
  /** An event frame; `data` is MessagePack already. */
  event(seq: number, epoch: number, data: Uint8Array): string | Uint8Array;
  /** The value in a client's frame, unchecked. @throws AtlasError `bad_request` */
  decode(data: string | Uint8Array): unknown;
}

/** The longest call id of a client, as a number or text. */
const MAX_CALL_ID = 256;

/** The id of a malformed call frame; null if it has none. */
export function idOf(value: unknown): number | string | null {
  const id = (value as { id?: unknown } | null)?.id;
  if (typeof id === "string" && id.length <= MAX_CALL_ID) return id;
  return typeof id === "number" && Number.isFinite(id) ? id : null;
}

/**
 * Checks a client's frame. @throws AtlasError `bad_request`, naming the field, its value, what is
 * allowed
 */
export function clientFrame(value: unknown): ClientFrame {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad('a frame must be an object such as {"t":"message","data":…}');
  }
  const frame = value as { [name: string]: unknown };
  if (frame["t"] === "message") return { t: "message", data: frame["data"] };
  if (frame["t"] !== "call") throw bad(`t is ${quoted(frame["t"])}: it must be message or call`);
  const { method, args = [], timeoutMs, idempotencyKey } = frame;
  const id = idOf(frame);
  if (id === null) {
    throw bad(`id is ${quoted(frame["id"])}: it must be a number, or text up to ${MAX_CALL_ID}`);
  }
  if (typeof method !== "string") throw bad(`method is ${quoted(method)}: it must be text`);
  if (method.length > MAX_METHOD) throw new AtlasError("not_found", noMethod(method));
  if (!Array.isArray(args)) throw bad(`args is ${quoted(args)}: it must be an array`);
  return {
    t: "call",
    id,
    method,
    args,
    ...timeoutMs !== undefined && { timeoutMs: timeoutMs as number },
    ...idempotencyKey !== undefined && { idempotencyKey: idempotencyKey as string },
  };
}

/** An error in a frame. */
export function frameError(thrown: unknown): FrameError {
  const message = messageOf(thrown).slice(0, MAX_MESSAGE);
  if (!isAtlasError(thrown)) {
    return { code: "app", message, retryable: false, maybeExecuted: true };
  }
  const { code, retryable, maybeExecuted } = thrown;
  return { code, message, retryable, maybeExecuted };
}

function bad(message: string): AtlasError {
  return new AtlasError("bad_request", message);
}
