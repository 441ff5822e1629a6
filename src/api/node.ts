/**
 * The types that users hold: what a node and a client have in common, and what only a node can do.
 */
import type { AtlasError } from "../errors.ts";
import type { Member } from "../model/member.ts";
import type { Lookup, Ownership } from "../model/ownership.ts";
import type { SocketHandlers } from "../ports/runtime.ts";
import type { App, ResourceClass, ResourceMap, ResourceType } from "./app.ts";
import type {
  CallOptions,
  CallResult,
  DrainOptions,
  LookupOptions,
  PageOptions,
  ResourcePage,
} from "./calls.ts";
import type {
  DiscoverOptions,
  MarketStats,
  ModuleAtlas,
  ModuleNode,
  ModuleProxy,
  Plb,
} from "./modules.ts";
import type { Resource } from "./resource.ts";
import type { ConnectionOptions, SocketStats } from "./sockets.ts";

export type { NodeEvent } from "../model/node_event.ts";

type Kept = keyof Resource | `on${Capitalize<string>}` | `_${string}` | "constructor" | "then";

/** The callable methods of a resource class, as promises. */
export type Stub<R> = {
  readonly [
    K in Exclude<keyof R & string, Kept> as R[K] extends (...args: never) => unknown ? K
      : never
  ]: R[K] extends (...args: infer A) => infer T ? (...args: A) => Promise<Awaited<T>>
    : never;
};

type ResourceOf<T> = T extends ResourceType<infer R> ? R
  : T extends ResourceClass<infer R> ? R
  : never;

/** The stub type of one of an app's resource types. */
export type StubOf<A extends App, T extends keyof A["resources"]> = Stub<
  ResourceOf<A["resources"][T]>
>;

/** What a node, a resource and a client share. */
export interface Atlas<A extends App = App<ResourceMap>>
  extends ModuleAtlas<NonNullable<A["modules"]>> {
  /**
   * A stub for a resource, wherever it lives. Nothing is sent before a method is called.
   *
   * @throws AtlasError `invalid_rrp` if type or id isn't allowed, `bad_request` if an option has no
   * such name or kind.
   */
  resource<T extends keyof A["resources"] & string>(
    type: T,
    id: string,
    options?: CallOptions,
  ): StubOf<A, T>;

  /** Calls a method by name, untyped; the result says where it ran. */
  call(
    type: string,
    id: string,
    method: string,
    args: readonly unknown[],
    options?: CallOptions,
  ): Promise<CallResult>;

  /** Where a resource lives, and how certain that is. Never activates it. */
  lookup(type: string, id: string, options?: LookupOptions): Promise<Lookup>;

  /** All members that the registry knows, live or not. */
  members(): Promise<readonly Member[]>;

  /** Resources whose RRP starts with `prefix`, a page at a time, in no order. */
  resources(prefix: string, page?: PageOptions): Promise<ResourcePage>;

  /**
   * How many resources have an RRP that starts with `prefix`. Reads all of them: resources that
   * are added or removed meanwhile may be counted, or not.
   *
   * @param options `timeoutMs`: default 10,000.
   */
  count(prefix: string, options?: Pick<CallOptions, "timeoutMs">): Promise<number>;
}

/** Which nodes are to drain: `node`, `prefix` or both. */
export interface DrainNodesOptions {
  /** The node's name, or `<region>/<node>` if several have it; default: all nodes of `prefix`. */
  node?: string;
  /** Which resources they release, and don't claim for a while; default: all, and they leave. */
  prefix?: string;
  /** With `prefix`: for how long, in ms; 1 to 86,400,000. Default 60,000. */
  forMs?: number;
  /** How long all of them may take to confirm, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
}

/** What one node answered to a drain. */
export interface DrainedNode {
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  /** Why it doesn't drain or didn't confirm; null: it has begun to drain. */
  readonly error: AtlasError | null;
}

/**
 * What a node is doing.
 *
 * `fenced`: its lease lapsed; it serves no resources until it is back under a new incarnation.
 * `draining`: it claims nothing and hands over what it holds.
 */
export type NodeState = "serving" | "fenced" | "draining" | "closed";

/** A running node. */
export interface AtlasNode<A extends App = App<ResourceMap>>
  extends Atlas<A>, ModuleNode<NonNullable<A["modules"]>> {
  readonly region: string;
  readonly node: string;
  /** This node's incarnation; another after each lapse of its lease. */
  readonly incarnation: string;
  readonly state: NodeState;
  /** As on a client; on a node the wanted capacity can be changed. */
  discover<M extends keyof NonNullable<A["modules"]> & string>(
    name: M,
    options?: DiscoverOptions,
  ): Promise<ModuleProxy<NonNullable<A["modules"]>[M], Plb>>;
  /**
   * Moves a resource to a node of another region, wherever it is now: its running turn ends, calls
   * that wait are sent on. Gives its new location and epoch. If it is in that region already,
   * nothing changes. If the store gives keys a home region, that becomes its home; a resource that
   * is on its way to a region that can't take it is redirected.
   *
   * @throws AtlasError `unavailable` if no node of the region can be reached or takes it,
   * `bad_request` if the store gives keys a home region, and that region can't be one.
   */
  move(
    type: string,
    id: string,
    region: string,
    options?: Pick<CallOptions, "timeoutMs">,
  ): Promise<Pick<Ownership, "rrp" | "epoch">>;
  /**
   * Whether this node knows a region: its own, one of the registry's, one with gateways, or one of
   * a member that it knows.
   */
  knowsRegion(region: string): boolean;
  /**
   * Connects a client's socket to a resource, wherever it lives, and keeps it connected when
   * the resource moves. Returns the function that takes the socket once it is open.
   *
   * @throws AtlasError `invalid_rrp` or `bad_request` if the name or an option isn't allowed,
   * `not_found` if no node runs the type, `overloaded`, `unavailable` if the node is draining.
   */
  accept(type: string, id: string, options: ConnectionOptions): SocketHandlers;
  /** Counters and gauges of this node. */
  stats(): NodeStats;
  /**
   * Stops claiming, finishes running turns, releases all it owns, leaves. Then only forwards.
   *
   * With `prefix`: releases only matching resources and does not reclaim them for `forMs`; the
   * node keeps serving. The next call of such a resource activates it on another node that runs
   * its type, if there is one.
   */
  drain(options?: DrainOptions): Promise<void>;
  /**
   * Drains other nodes, or this one: each is asked over a link that has proven which node it leads
   * to, through gateways if needed. Resolves after at most `timeoutMs`, when all have begun or
   * could not be asked; each node's failure is in its entry.
   *
   * @throws AtlasError `bad_request` if an option isn't allowed or several nodes have the name,
   * `not_found` if no live node matches, `unavailable` if the registry can't be read.
   */
  drainNodes(options: DrainNodesOptions): Promise<readonly DrainedNode[]>;
  /**
   * Drains if it can in `drainMs` (default 10,000), then closes store and transport. Calls that
   * are still in flight fail as `unavailable`, those that had begun with `maybeExecuted`.
   * @throws AtlasError `bad_request` if `drainMs` is not 0 to 300,000; the node then keeps running.
   */
  close(options?: { drainMs?: number }): Promise<void>;
  /** Resolves when the node has stopped: with the error that stopped it, or null. */
  readonly closed: Promise<AtlasError | null>;
}

export interface NodeStats extends MarketStats, SocketStats {
  /** Resources in memory. */
  resources: number;
  /** Calls waiting in mailboxes. */
  queued: number;
  /** Calls that this node made or passed on and that have no answer yet. */
  inFlight: number;
  /** Open links to other nodes. */
  links: number;
  /** Cached locations of resources on other nodes. */
  cachedLocations: number;
  /** Milliseconds of lease left; 0 when fenced. */
  leaseLeftMs: number;
  /** Since the node was made: */
  calls: number;
  turns: number;
  claims: number;
  claimsLost: number;
  commits: number;
  /** Events that resources here sent to their connections. */
  events: number;
  /** Lookups that found more than one claim. */
  contested: number;
  /** Ownerships lost to a greater claim, or to another owner while the store was out of reach. */
  conflictsLost: number;
  /** Conflicts that a resource here won against an owner that had operated without the store. */
  conflictsWon: number;
  /** Resources that operate without the store now. */
  offlineResources: number;
  /** Turns that were answered without the store and committed later. */
  offlineTurnsCommitted: number;
  /** Turns that were answered without the store and could not be committed. */
  offlineTurnsLost: number;
  forwards: number;
  /** Calls of other nodes that this one was asked to pass on. */
  relays: number;
  notOwner: number;
  lapses: number;
  kills: number;
  /** Committed turns that the store lacked after a failover. */
  lostTurns: number;
  /** Times that the store was replaced by a copy of itself. */
  failovers: number;
  /** Lookups that could not be certain, because the store had just been replaced. */
  quarantined: number;
}
