/**
 * The messages on links between nodes, as tuples and back.
 *
 * The first item of a tuple is the message's kind. Its body, if it has one, is separate: it is
 * encoded once, by its sender, and no node in between decodes it.
 *
 * Source: `docs/design.md`, Links and messages.
 */
import { AtlasError, type WireError } from "../errors.ts";
import type { Body } from "./body.ts";
import type { CallPath } from "./call_path.ts";
import type { DegradedVerdict } from "./ownership.ts";

const REQUEST = 0;
const REPLY = 1;
const FAILURE = 2;
const CANCEL = 3;
const GOODBYE = 4;
const PROCESS = 5;
const RELAY = 6;
const RELAYED_REPLY = 7;
const PING = 8;

/** A call of one method of one resource. */
export interface Request {
  readonly kind: "request";
  /** The caller's number for this call on this link. */
  readonly id: number;
  /** `<type>/<id>`, the id percent-encoded. */
  readonly key: string;
  readonly method: string;
  /** The encoded array of arguments. */
  readonly body: Body;
  /** The time left until the deadline, in ms. */
  readonly timeoutMs: number;
  /**
   * The epoch of the ownership that the caller expects; 0: none, the receiver may claim. The
   * incarnation that goes with it is the one that the link was proven to lead to.
   */
  readonly epoch: number;
  readonly idempotencyKey: string | null;
  /** The turns that wait for this call, outermost first: `<key> <epoch>.<turn>`. */
  readonly chain: readonly string[];
  /** The path so far; null if it comes straight from its caller and reports nothing. */
  readonly callPath: CallPath | null;
  /**
   * Whether the receiver has to pass it on if it isn't the owner; the path lists the nodes that
   * passed it on so far. Its epoch then is the highest that its caller has seen.
   */
  readonly relay: boolean;
}

/** Who answered a call that was passed on. */
export interface Passed {
  /** The owner's incarnation. */
  readonly incarnation: string;
  /** The nodes from the one that answers here to the owner's, as `<region>/<node>`. */
  readonly path: readonly string[];
}

/** The answer of a call that was executed. */
export interface Reply {
  readonly kind: "reply";
  readonly id: number;
  /** The ownership that answered. */
  readonly epoch: number;
  /** Its RRP if the request named no epoch; else empty: the caller knows it. */
  readonly rrp: string;
  /** Who answered, if that may not be the node at the link's other end; else null. */
  readonly passed: Passed | null;
  /** The verdict if the owner couldn't reach the store when it answered; else null. */
  readonly mark: DegradedVerdict | null;
  /** The encoded result. */
  readonly body: Body;
}

/** The answer of a call that failed. */
export interface Failure {
  readonly kind: "failure";
  readonly id: number;
  readonly error: WireError;
  /** With `not_owner`: who owns the key, if the answering node knows. */
  readonly owner: readonly [rrp: string, incarnation: string, epoch: number] | null;
  /** Of a call that was passed on: the path from the node that answers here to where it failed. */
  readonly path?: readonly string[];
}

/** The caller of a request no longer waits, or its deadline has passed. */
export interface Cancel {
  readonly kind: "cancel";
  readonly id: number;
}

/**
 * The sender owns nothing any more, and never will: requests that it has not answered by now were
 * not executed, and further ones will not be.
 */
export interface Goodbye {
  readonly kind: "goodbye";
  readonly id: 0;
}

/** A message from one process of the market to one on another node. */
export interface ProcessMessage {
  readonly kind: "process";
  readonly id: 0;
  /** The process that it is for, at the receiver; empty: its message bus. */
  readonly to: string;
  /** The process that sent it. */
  readonly from: string;
  /** The message's kind and its fields, which its reader has to check. */
  readonly content: readonly unknown[];
  /** The payload, which is not decoded on the way; empty if the message has none. */
  readonly body: Body;
}

/** Asks for an immediate reply without a body: whether the peer responds, and the round trip. */
export interface Ping {
  readonly kind: "ping";
  readonly id: number;
}

export type Message = Request | Reply | Failure | Cancel | Goodbye | ProcessMessage | Ping;

/** The longest name of a process. */
const MAX_PROCESS_NAME = 64;

/** The chain of a call that no turn made. */
const NO_CHAIN: readonly string[] = Object.freeze([]);

/** The body of a message that has none. */
const NO_BODY = "";

/** The tuple of a message. */
export function tupleOf(message: Message): unknown[] {
  const { id } = message;
  switch (message.kind) {
    case "request": {
      const { key, method, timeoutMs, epoch, idempotencyKey, chain, callPath, relay } = message;
      return requestTuple(
        id,
        key,
        method,
        timeoutMs,
        epoch,
        idempotencyKey,
        chain,
        callPath,
        relay,
      );
    }
    case "reply": {
      const { epoch, rrp, passed, mark } = message;
      return replyTuple(id, epoch, rrp, passed, mark);
    }
    case "failure":
      return failureTuple(message);
    case "cancel":
      return [CANCEL, id];
    case "goodbye":
      return [GOODBYE, id];
    case "ping":
      return [PING, id];
    case "process":
      return processTuple(message.to, message.from, message.content);
  }
}

/**
 * The tuple of a {@link Request}, whose second item is its number. Its parts are parameters, because
 * an object for each call is measurable.
 */
export function requestTuple(
  id: number,
  key: string,
  method: string,
  timeoutMs: number,
  epoch: number,
  idempotencyKey: string | null,
  chain: readonly string[],
  callPath: CallPath | null,
  relay: boolean,
): unknown[] {
  const left = Math.ceil(timeoutMs);
  if (callPath === null) {
    return idempotencyKey === null && chain.length === 0
      ? [REQUEST, id, key, method, left, epoch]
      : [REQUEST, id, key, method, left, epoch, idempotencyKey, chain];
  }
  const { via, region, trace } = callPath;
  const kind = relay ? RELAY : REQUEST;
  const path = [via, region, trace];
  return [kind, id, key, method, left, epoch, idempotencyKey, chain, path];
}

/** The tuple of a {@link Reply}. */
export function replyTuple(
  id: number,
  epoch: number,
  rrp: string,
  passed: Passed | null,
  mark: DegradedVerdict | null,
): unknown[] {
  if (passed === null) {
    if (mark !== null) return [REPLY, id, epoch, rrp, mark];
    return rrp === "" ? [REPLY, id, epoch] : [REPLY, id, epoch, rrp];
  }
  const { incarnation, path } = passed;
  return [RELAYED_REPLY, id, epoch, rrp, incarnation, path, ...mark ? [mark] : []];
}

/** The tuple of a {@link ProcessMessage}. */
export function processTuple(
  to: string,
  from: string,
  content: readonly unknown[],
): unknown[] {
  return [PROCESS, 0, to, from, content];
}

function failureTuple({ id, error, owner, path }: Failure): unknown[] {
  return path ? [FAILURE, id, error, owner, path] : [FAILURE, id, error, owner];
}

/** A message's body; empty if its kind has none. */
export function bodyOf(message: Message): Body {
  return "body" in message ? message.body : NO_BODY;
}

/**
 * The message that came as this tuple and body. Checks every field of the tuple.
 *
 * @throws AtlasError `bad_request`: the link must be closed, as the rest of its stream can't be
 * trusted.
 */
export function decodeMessage(tuple: unknown, body: Body): Message {
  if (!Array.isArray(tuple)) throw malformed("it is not a tuple");
  const id = tuple[1];
  if (!isCount(id)) throw malformed("its id is not a count");
  switch (tuple[0]) {
    case REQUEST:
    case RELAY:
      return request(id, tuple, body);
    case REPLY:
    case RELAYED_REPLY:
      return reply(id, tuple, body);
    case FAILURE:
      return failure(id, tuple, body);
    case PING:
      if (body.length > 0) throw malformed("a ping has no body");
      return { kind: "ping", id };
    case CANCEL:
      if (body.length > 0) throw malformed("a cancel has no body");
      return { kind: "cancel", id };
    case GOODBYE:
      if (id !== 0 || body.length > 0) {
        throw malformed("a goodbye has neither number nor body");
      }
      return { kind: "goodbye", id };
    case PROCESS: {
      const to: unknown = tuple[2];
      const from: unknown = tuple[3];
      const content: unknown = tuple[4];
      if (id !== 0 || !isPart(to) || !isPart(from) || !Array.isArray(content)) {
        throw malformed("a message needs two process names, a kind and fields");
      }
      return { kind: "process", id, to, from, content, body };
    }
    default:
      throw malformed("its kind is unknown");
  }
}

function request(id: number, tuple: unknown[], body: Body): Request {
  const kind = tuple[0];
  const key = tuple[2];
  const method = tuple[3];
  const timeoutMs = tuple[4];
  const epoch = tuple[5];
  const idempotencyKey = tuple[6] ?? null;
  const chain = tuple[7] ?? NO_CHAIN;
  const path = tuple[8];
  if (
    typeof key !== "string" || typeof method !== "string" || !isCount(timeoutMs) ||
    !isCount(epoch) || !isTextOrNull(idempotencyKey) || !isTexts(chain)
  ) throw malformed("a field of the request has the wrong type");
  const relay = kind === RELAY;
  const callPath = path === undefined ? null : callPathOf(path);
  if (relay && !callPath?.via.length) throw malformed("a request to pass on needs a path");
  return {
    kind: "request",
    id,
    key,
    method,
    body,
    timeoutMs,
    epoch,
    idempotencyKey,
    chain,
    callPath,
    relay,
  };
}

function callPathOf(path: unknown): CallPath {
  if (Array.isArray(path)) {
    const [via, region, trace] = path;
    if (isTexts(via) && isTextOrNull(region) && isTextOrNull(trace)) return { via, region, trace };
  }
  throw malformed("a path is a list of nodes, a region or null, a traceparent or null");
}

function reply(id: number, tuple: unknown[], body: Body): Reply {
  const kind = tuple[0];
  const epoch = tuple[2];
  const rrp = tuple[3] ?? "";
  if (!isCount(epoch) || typeof rrp !== "string") {
    throw malformed("a reply needs an epoch and an RRP");
  }
  const isRelayed = kind === RELAYED_REPLY;
  const mark = tuple[isRelayed ? 6 : 4] ?? null;
  if (mark !== null && !isMark(mark)) {
    throw malformed("a reply's mark is suspect, contested or absent");
  }
  if (!isRelayed) return { kind: "reply", id, epoch, rrp, passed: null, mark, body };
  const [, , , , incarnation, path] = tuple;
  if (typeof incarnation !== "string" || !isTexts(path)) {
    throw malformed("a reply that was passed on needs an incarnation and a path");
  }
  return { kind: "reply", id, epoch, rrp, passed: { incarnation, path }, mark, body };
}

function failure(id: number, tuple: unknown[], body: Body): Failure {
  const [, , error, owner, path] = tuple;
  if (!isWireError(error) || !(owner === null || isOwner(owner)) || body.length > 0) {
    throw malformed("a failure needs an error and an owner or null");
  }
  if (path === undefined) return { kind: "failure", id, error, owner };
  if (!isTexts(path)) throw malformed("a failure's path is not a list of nodes");
  return { kind: "failure", id, error, owner, path };
}

function isTexts(value: unknown): value is readonly string[] {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (typeof value[i] !== "string") return false;
  return true;
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isMark(value: unknown): value is DegradedVerdict {
  return value === "suspect" || value === "contested";
}

function isPart(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_PROCESS_NAME;
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
