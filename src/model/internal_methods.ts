/**
 * The internal methods of client sockets, and the messages they carry between the node that
 * holds a socket and the owner of its resource.
 *
 * Names begin with `$`, and only nodes may call them. They travel as ordinary calls, so
 * deadlines, gateways, hop limits and redirects apply to them, too.
 *
 * Source: `docs/design.md`, Client sockets.
 */
import { MAX_METHOD } from "../limits.ts";
import { quoted } from "./options.ts";
import { AtlasError } from "../errors.ts";

/** Joins connections to a resource; answers an {@link JoinResult} for each. */
export const CONNECT = "$connect";
/** Gives events that were sent before a connection came back. */
export const REPLAY = "$replay";
/** Waits for events; holds no turn up, and is no turn. */
export const EVENTS = "$events";
/**
 * Has a connection's messages heard, a turn each; answers how many were. They are numbered, from
 * 1 on, so that none is heard twice where it is said again to the same owner.
 */
export const MESSAGE = "$message";
/** Ends connections. */
export const LEAVE = "$leave";

/** Whether a method is one of a door's. */
export function isSubscriptionMethod(method: string): boolean {
  return method === EVENTS || method === CONNECT || method === REPLAY || method === MESSAGE ||
    method === LEAVE;
}

/**
 * Who asks to be joined: its id, the number of the last event it has had, its former id; and the
 * epoch of the owner that gave it that number, as far as it is known.
 */
export type JoinRequest = readonly [
  id: string,
  after: number | null,
  former: string | null,
  resumed: boolean,
  epoch?: number | null,
];

/**
 * Joined: the number of the last event before it was, and whether some after the one it has
 * had are lost; up to `lost`, where that isn't the last one: the later ones can be had. Or
 * refused.
 */
export type JoinResult =
  | readonly [seq: number, gap: boolean, lost?: number]
  | readonly [code: string, message: string, retryable: boolean];

/** An event on its way to a door. */
export type WireEvent = readonly [
  seq: number,
  epoch: number,
  to: string | null,
  data: Uint8Array,
];

/** What a door missed: null where some of it is lost. */
export type ReplayAnswer = readonly [upto: number, events: readonly WireEvent[]] | null;

/**
 * News for a door; null: the owner doesn't know it, or not any more. `gap`: it was so slow
 * that some are lost. `closed` counts all closings that it has been told of.
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

/** Names that every object has, and what a promise or a serializer would ask for. */
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

/** Why there can be no method of a name that is over {@link MAX_METHOD}. */
export function noMethod(name: string): string {
  return `there is no method ${quoted(name)}: names have at most ${MAX_METHOD} characters`;
}

/** Moves a resource to the region that is its only argument. */
export const MIGRATE = "$move";

/** Brings a resource here; answers nothing. */
export const ACTIVATE = "$take";

/** Tells a resource that another node had gone on with it, which the only argument names. */
export const CONFLICT_WON = "$won";

/** Whether only nodes may ask for a method. */
export function isNodeMethod(method: string): boolean {
  return method === MIGRATE || method === ACTIVATE || method === CONFLICT_WON ||
    method === CAN_CLAIM ||
    method === DRAIN || isSubscriptionMethod(method);
}

/** The error of who asks for one of those, and is no node. */
export function notForClients(type: string, method: string): AtlasError {
  return new AtlasError("not_found", `${type} has no method ${method}`);
}

/** Has a node drain: itself, or what falls under a prefix. For nodes only. */
export const DRAIN = "$drain";

/** Asks a node whether its region can take a key now. For nodes only. */
export const CAN_CLAIM = "$prove";
