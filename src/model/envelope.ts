/**
 * The messages on a node link: sealed letters with a short address on the outside.
 *
 * Each is a MessagePack tuple whose first item is its kind. A body is encoded once,
 * by who wrote it, and travels as bytes: nobody between looks inside.
 *
 * Source: design §4 and §6.
 */
import { AtlasError, type WireError } from "../errors.ts";
import { pack, unpack } from "./value.ts";

const REQUEST = 0;
const REPLY = 1;
const FAILURE = 2;
const CANCEL = 3;

/** A call of one method of one resource. */
export interface Request {
  readonly kind: "request";
  /** The caller's number for this call on this link. */
  readonly id: number;
  /** `<type>/<id>`, the id percent-encoded. */
  readonly key: string;
  readonly method: string;
  /** The encoded array of arguments. */
  readonly body: Uint8Array;
  /** What is left of the deadline, in ms. */
  readonly timeoutMs: number;
  /**
   * The epoch of the ownership that the caller believes in; 0: none, the receiver may
   * claim. The incarnation that goes with it is the one the link was proven to lead to.
   */
  readonly epoch: number;
  readonly idempotencyKey: string | null;
  /** Keys of the resources whose turns wait for this call, outermost first. */
  readonly chain: readonly string[];
}

/** The answer of a call that was executed. */
export interface Reply {
  readonly kind: "reply";
  readonly id: number;
  /** The ownership that answered. */
  readonly epoch: number;
  /** Its RRP where the request named no epoch; else empty: the caller knows it. */
  readonly rrp: string;
  /** The encoded result. */
  readonly body: Uint8Array;
}

/** The answer of a call that failed. */
export interface Failure {
  readonly kind: "failure";
  readonly id: number;
  readonly error: WireError;
  /** With `not_owner`: who owns the key, where the answering node knows. */
  readonly owner: readonly [rrp: string, incarnation: string, epoch: number] | null;
}

/** The caller of a request has gone or has no time left. */
export interface Cancel {
  readonly kind: "cancel";
  readonly id: number;
}

export type Message = Request | Reply | Failure | Cancel;

export function encodeMessage(message: Message): Uint8Array {
  switch (message.kind) {
    case "request": {
      const { id, key, method, body, timeoutMs, epoch } = message;
      return pack([
        REQUEST,
        id,
        key,
        method,
        body,
        Math.ceil(timeoutMs),
        epoch,
        message.idempotencyKey,
        message.chain,
      ]);
    }
    case "reply":
      return pack([REPLY, message.id, message.epoch, message.rrp, message.body]);
    case "failure":
      return pack([FAILURE, message.id, message.error, message.owner]);
    case "cancel":
      return pack([CANCEL, message.id]);
  }
}

/**
 * Reads a message of a peer, every field checked.
 *
 * @throws AtlasError `bad_request`: the link can't be trusted to be in step any more.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const tuple = unpack(bytes);
  if (!Array.isArray(tuple)) throw malformed("it is not a tuple");
  const id = tuple[1];
  if (!isCount(id)) throw malformed("its id is not a count");
  switch (tuple[0]) {
    case REQUEST:
      return request(id, tuple);
    case REPLY: {
      const [, , epoch, rrp, body] = tuple;
      if (!isCount(epoch) || typeof rrp !== "string" || !(body instanceof Uint8Array)) {
        throw malformed("a reply needs an epoch, an RRP and a body");
      }
      return { kind: "reply", id, epoch, rrp, body };
    }
    case FAILURE: {
      const [, , error, owner] = tuple;
      if (!isWireError(error) || !(owner === null || isOwner(owner))) {
        throw malformed("a failure needs an error and an owner or null");
      }
      return { kind: "failure", id, error, owner };
    }
    case CANCEL:
      return { kind: "cancel", id };
    default:
      throw malformed("its kind is unknown");
  }
}

function request(id: number, tuple: unknown[]): Request {
  const [, , key, method, body, timeoutMs, epoch, idempotencyKey, chain] = tuple;
  if (
    typeof key !== "string" || typeof method !== "string" || !(body instanceof Uint8Array) ||
    !isCount(timeoutMs) || !isCount(epoch) ||
    !(idempotencyKey === null || typeof idempotencyKey === "string") ||
    !Array.isArray(chain) || !chain.every((item) => typeof item === "string")
  ) throw malformed("a field of the request has the wrong type");
  return { kind: "request", id, key, method, body, timeoutMs, epoch, idempotencyKey, chain };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isWireError(value: unknown): value is WireError {
  return Array.isArray(value) && value.length === 4 && typeof value[0] === "string" &&
    typeof value[1] === "string" && typeof value[2] === "boolean" && typeof value[3] === "boolean";
}

function isOwner(value: unknown): value is [string, string, number] {
  return Array.isArray(value) && value.length === 3 && typeof value[0] === "string" &&
    typeof value[1] === "string" && isCount(value[2]);
}

function malformed(why: string): AtlasError {
  return new AtlasError("bad_request", `a malformed message came over a link: ${why}`);
}
