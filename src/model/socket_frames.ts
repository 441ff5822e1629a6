/**
 * The frames between a client socket and the node that holds it, as plain values. A codec, which
 * the adapter brings, turns them into bytes.
 */
import { AtlasError, isAtlasError, MAX_MESSAGE, messageOf } from "../errors.ts";
import { MAX_METHOD } from "../limits.ts";
import { noMethod } from "./internal_methods.ts";
import type { DegradedVerdict } from "./ownership.ts";
import { quoted } from "./options.ts";

/** What the door says. */
export type ServerFrame =
  /** Joined, or joined anew: `seq` is the last event's number, `gap` says some are lost. */
  | {
    readonly t: "hello";
    readonly connection: string;
    readonly epoch: number;
    readonly seq: number;
    readonly gap: boolean;
    /** The secret that proves the connection to be the client's own, where it can be resumed. */
    readonly resume?: string;
  }
  /** Events up to `seq` that this client hasn't had were meant for others. */
  | { readonly t: "skip"; readonly seq: number }
  /** The connection stands; said where nothing else was for a while, after hello. */
  | { readonly t: "ping" }
  /** The node is draining: the client is to close, and to connect to another. */
  | { readonly t: "leave" }
  /** `verdict` where the resource's node can't reach the store: the answer may get lost. */
  | {
    readonly t: "reply";
    readonly id: number | string;
    readonly result: unknown;
    readonly verdict?: DegradedVerdict;
  }
  | { readonly t: "reply"; readonly id: number | string; readonly error: FrameError };

/** An error as frames tell it: as in an HTTP answer. */
export interface FrameError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly maybeExecuted: boolean;
}

/** What a client says. */
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

/** Frames as bytes or text. */
export interface Codec {
  readonly name: string;
  /** @throws AtlasError `bad_request` where a part can't be encoded */
  encode(frame: ServerFrame): string | Uint8Array;
  /** An event frame; `data` is encoded as MessagePack already. */
  event(seq: number, epoch: number, data: Uint8Array): string | Uint8Array;
  /** The value in a client's frame, not looked at. @throws AtlasError `bad_request` */
  decode(data: string | Uint8Array): unknown;
}

/** Longest number or text by which a client knows a call. */
const MAX_CALL_ID = 256;

/** The id of a call that isn't one otherwise; null where it has none. */
export function idOf(value: unknown): number | string | null {
  const id = (value as { id?: unknown } | null)?.id;
  if (typeof id === "string" && id.length <= MAX_CALL_ID) return id;
  return typeof id === "number" && Number.isFinite(id) ? id : null;
}

/** A client's frame. @throws AtlasError `bad_request`, naming the field, its value, what is allowed */
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

/** An error as a frame tells it. */
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
