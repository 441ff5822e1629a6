/** What an activation needs from the host that holds it. */
import type { ResolvedType, ResourceClass } from "../api/app.ts";
import type { Atlas } from "../api/node.ts";
import { Resource } from "../api/resource.ts";
import { AtlasError } from "../errors.ts";
import { HookCall } from "../events/hook_call.ts";
import type { SubscriberReaper } from "../events/subscriber.ts";
import { MAX_RESOURCES } from "../limits.ts";
import type { Call } from "../model/call.ts";
import { isCallable } from "../model/internal_methods.ts";
import type { NodeEvent } from "../model/node_event.ts";
import { rrpAt } from "../model/rrp.ts";
import type { AsyncContext } from "../ports/async_context.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import type { Claims } from "../registry/claims.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import type { Activation } from "./activation.ts";
import type { ReconciliationParts } from "./reconciliation.ts";

/** Counters over all activations of one host. */
export interface TurnStats {
  /** Calls waiting in mailboxes now. */
  queued: number;
  turns: number;
  commits: number;
  /** Events that were sent to connections. */
  events: number;
  /** Ownerships that were lost to a greater claim. */
  conflictsLost: number;
  /** Conflicts that owners here won against a node that had operated offline. */
  conflictsWon: number;
  /**
   * Turns that were answered without the store: those committed later, and those that could not be.
   */
  offlineTurnsCommitted: number;
  offlineTurnsLost: number;
  /** Committed turns that the store lacked after a failover. */
  lostTurns: number;
}

export function noTurns(): TurnStats {
  return {
    queued: 0,
    turns: 0,
    commits: 0,
    events: 0,
    conflictsLost: 0,
    conflictsWon: 0,
    offlineTurnsCommitted: 0,
    offlineTurnsLost: 0,
    lostTurns: 0,
  };
}

/** `Self` is the activation's own type. */
export interface ActivationHost<Self> {
  readonly store: Store;
  readonly clock: Clock;
  readonly context: AsyncContext;
  readonly random: Random;
  readonly deadlines: TimerWheel;
  readonly stats: TurnStats;
  readonly reaper: SubscriberReaper;
  /** The id of the store's lineage, if this node knows it. */
  readonly lineage: string | undefined;
  /** The same with its term, by `markOf`. */
  readonly lineageMark: string | undefined;
  /** Why the node's lease can't be renewed, to be appended to errors; else empty. */
  readonly leaseTrouble: string;
  /** The number of sweeps for idle activations so far. */
  readonly sweeps: number;
  /** The facade for calls that an activation makes. */
  readonly facadeFor: (from: Self) => Atlas;
  /** An activation has ended. */
  closed(activation: Self): void;
  /** The store reported that an activation's ownership has ended. */
  fenced(activation: Self): void;
  tell(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void;
}

/** @throws AtlasError `overloaded` if a node holds `MAX_RESOURCES` already. */
export function checkRoom(held: number): void {
  if (held <= MAX_RESOURCES) return;
  throw new AtlasError("overloaded", `this node holds ${MAX_RESOURCES} resources already`);
}

/** The parts and options of a host. */
export interface HostParts {
  readonly types: ReadonlyMap<string, ResolvedType>;
  readonly place: { readonly region: string; readonly node: string };
  readonly store: Store;
  readonly clock: Clock;
  readonly context: AsyncContext;
  readonly random: Random;
  readonly claims: Claims;
  readonly leaseTrouble: () => string;
  readonly deadlines: TimerWheel;
  /** The facade for calls that a resource makes, with its running call's chain. */
  readonly facadeFor: (from: Activation) => Atlas;
  readonly onEvent: (event: NodeEvent) => void;
  /** Whether an incarnation is known to be dead. */
  readonly isDead: (incarnation: string) => boolean;
  /** Tells a key's owner that it won a conflict with this node. MUST NOT throw. */
  readonly tellWinner: ReconciliationParts["tellWinner"];
}

// deno-lint-ignore no-explicit-any
export type Method = (this: any, ...args: unknown[]) => unknown;

/** Methods of the base class, which callers can't call even if they are overridden. */
const OWN = new Set(Object.getOwnPropertyNames(Resource.prototype));

/**
 * The callable methods of `type` and what it extends, up to the base class.
 *
 * Methods on these prototypes only: neither properties of the instance nor methods of Object can
 * be called, so that callers reach only what the class's author exposed.
 */
export function methodsOf(type: ResourceClass): ReadonlyMap<string, Method> {
  const methods = new Map<string, Method>();
  let prototype = type.prototype;
  while (prototype && prototype !== Object.prototype) {
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof property.value !== "function" || !isCallable(name) || OWN.has(name)) continue;
      if (methods.has(name)) continue;
      methods.set(name, property.value);
    }
    prototype = Object.getPrototypeOf(prototype);
  }
  return methods;
}

/** A type that a host serves: one object for each type, which all of its resources share. */
export interface HostedType extends ResolvedType {
  readonly name: string;
  /** What the RRPs of this host's resources begin with, before their keys. */
  readonly prefix: string;
  readonly methods: ReadonlyMap<string, Method>;
}

export function hostedType(
  name: string,
  type: ResolvedType,
  { region, node }: HostParts["place"],
): HostedType {
  return { ...type, name, prefix: rrpAt(region, node, ""), methods: methodsOf(type.class) };
}

/**
 * The method that a call names. @throws AtlasError `not_found` if the type has no such method, or
 * callers may not call it
 */
export function methodOf({ name, methods }: HostedType, call: Call): Method {
  if (call instanceof HookCall) return call.hook;
  const found = methods.get(call.method);
  if (found) return found;
  const known = [...methods.keys()].sort().slice(0, 20).join(", ");
  throw new AtlasError(
    "not_found",
    `${name} has no method ${JSON.stringify(call.method.slice(0, 64))}; it has: ${known}`,
  );
}
