/**
 * The internal methods: their names, which component runs each, and the messages that those of
 * client sockets carry. Also holds which names users' methods may have.
 *
 * Names begin with `$`, and only nodes may call them. They travel as ordinary calls, so
 * deadlines, gateways, hop limits and redirects apply to them, too.
 *
 * Source: `docs/design.md`, Client sockets; Regions and moves.
 */
import { AtlasError } from "../errors.ts";
import { MAX_METHOD } from "../limits.ts";
import { quoted } from "./options.ts";

/** Joins connections to a resource; answers an {@link JoinResult} for each. */
export const CONNECT = "$connect";
/** Returns events that were sent before a connection came back. */
export const REPLAY = "$replay";
/** Waits for events. It is not a turn, and delays none. */
export const EVENTS = "$events";
/**
 * Delivers a connection's messages, a turn each; answers how many were delivered. They are numbered
 * from 1, so that none is delivered twice if it is sent again to the same owner.
 */
export const MESSAGE = "$message";
/** Ends connections. */
export const LEAVE = "$leave";

/** Moves a resource to the region in its only argument. */
export const MIGRATE = "$move";
/** Activates a resource on this node; answers nothing. */
export const ACTIVATE = "$take";
/** Tells a resource's owner that it won a conflict with the node in its only argument. */
export const CONFLICT_WON = "$won";

/** Drains a node, or its resources under a prefix. */
export const DRAIN = "$drain";
/** Asks a node whether its region can take a key now. */
export const CAN_CLAIM = "$prove";

/**
 * What an internal method is about: the subscribers of a resource, the ownership of a resource,
 * or the node itself.
 */
export type InternalKind = "subscription" | "ownership" | "node";

const KINDS: ReadonlyMap<string, InternalKind> = new Map([
  [CONNECT, "subscription"],
  [REPLAY, "subscription"],
  [EVENTS, "subscription"],
  [MESSAGE, "subscription"],
  [LEAVE, "subscription"],
  [MIGRATE, "ownership"],
  [ACTIVATE, "ownership"],
  [CONFLICT_WON, "ownership"],
  [DRAIN, "node"],
  [CAN_CLAIM, "node"],
]);

const DOLLAR = 36;

/** The kind of an internal method; null for a method of the resource's class. */
export function internalKind(method: string): InternalKind | null {
  // Almost all calls are decided by the first character.
  return method.charCodeAt(0) === DOLLAR ? KINDS.get(method) ?? null : null;
}

/** Whether a method waits for events, so that its calls are no work in progress. */
export function isPoll(method: string): boolean {
  return method === EVENTS;
}

/** The error for a caller of an internal method that is not a node. */
export function notForClients(type: string, method: string): AtlasError {
  return new AtlasError("not_found", `${type} has no method ${method}`);
}

/**
 * A connection that asks to be joined: its id, the number of the last event that it received, its
 * former id, whether it was joined to an owner before, and the epoch of the owner that gave it that
 * number, if known.
 */
export type JoinRequest = readonly [
  id: string,
  after: number | null,
  former: string | null,
  resumed: boolean,
  epoch?: number | null,
];

/**
 * Joined: the number of the last event before the join, and whether some after the last one that
 * the connection received are lost; `lost` is the last lost number, if later ones can still be
 * sent. Or refused: an error.
 */
export type JoinResult =
  | readonly [seq: number, gap: boolean, lost?: number]
  | readonly [code: string, message: string, retryable: boolean];

/** An event on its way to a subscriber. */
export type WireEvent = readonly [
  seq: number,
  epoch: number,
  to: string | null,
  data: Uint8Array,
];

/** The events that a subscriber missed; null if some of them are lost. */
export type ReplayAnswer = readonly [upto: number, events: readonly WireEvent[]] | null;

/**
 * The answer to a subscriber's poll; null: the owner doesn't know it, or not any more. `gap`: it
 * was so slow that some events are lost. `closed` is the number of all closings that it has
 * received.
 */
export type EventsAnswer =
  | readonly [
    upto: number,
    gap: boolean,
    events: readonly WireEvent[],
    closings: readonly (readonly [id: string, reason: string])[],
    closed: number,
  ]
  | null;

/** Names that every object has, and those that promises and serializers read. */
const REFUSED = new Set([...Object.getOwnPropertyNames(Object.prototype), "then", "toJSON"]);

/**
 * Whether a method of this name may be called from outside: not `constructor` or
 * anything of Object's, no hook (`onStart`), nothing private by custom (`_cache`).
 */
export function isCallable(name: string): boolean {
  return typeof name === "string" && name.length > 0 && name.length <= MAX_METHOD &&
    name[0] !== "_" &&
    !/^on[A-Z]/.test(name) &&
    !REFUSED.has(name);
}

/** The message for a method name longer than {@link MAX_METHOD}. */
export function noMethod(name: string): string {
  return `there is no method ${quoted(name)}: names have at most ${MAX_METHOD} characters`;
}
