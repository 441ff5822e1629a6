/**
 * The types that users of modules hold: the options and handles of offers, purchases and calls,
 * the figures of each, and reports about authorities, exchanges and orders.
 */
import type { FunctionContext, Module, ModuleFunctions, ModuleMap } from "./module.ts";

/** One sell order: some of a listener's capacity, and the regions that it serves. */
export interface SellOrder {
  /** Requests that run at once for the buyers of this order, 1 to 65,536. */
  capacity: number;
  /** Regions whose buyers it serves, at most 64. Default: all. */
  regions?: readonly string[];
}

/** How a module is offered. */
export interface PublishOptions {
  /** Requests that this node runs at once, 1 to 65,536. Default: the module's own. */
  capacity?: number;
  /**
   * Several sell orders at once, 1 to 16, instead of `capacity`, which is the sum of theirs, at
   * most 65,536. For example, a part may be kept for buyers of this region.
   */
  orders?: readonly SellOrder[];
  /** Default: the module's own name, or its key in the app's `modules`. */
  name?: string;
  /** Replaces the module's own version. */
  version?: string;
  /**
   * The share of a channel's grant, 0 to 1, at which more credit is sent once the buyer has less
   * left. 1 (the default) sends one credit for each finished request. Below 1 credits are sent
   * together, at most 10 ms later: no capacity stays unused for longer.
   */
  lowWatermark?: number;
}

/** The place in which buyers prefer capacity. `near`: in their own region, else close to it. */
export type Preference = "near" | "spread";

/** One buy order: how much capacity of which versions. */
export interface BuyOrder {
  /** Requests that may run at once, over all sellers, 1 to 65,536. Default 1. */
  capacity?: number;
  /** As in {@link DiscoverOptions}. */
  version?: string;
  /** Default: that of the options it is in. */
  prefer?: Preference;
}

/** How capacity is bought, and the defaults of the proxy's calls. */
export interface DiscoverOptions {
  /** Requests that may run at once, over all sellers, 1 to 65,536. Default 1. */
  capacity?: number;
  /**
   * A version or a range of versions; within a range all versions are equal. Default: any stable
   * version of any major, the newest first. Older ones are used if newer ones have no capacity
   * left, and given back when these have. To get one major only, name it, as in `^1`.
   */
  version?: string;
  /** Default `near`: capacity in other regions is given back once there is capacity nearby. */
  prefer?: Preference;
  /**
   * Several buy orders at once, 1 to 16, instead of `capacity` and `version`: such as nine parts
   * of `^1` and one of `^2`. Calls are distributed over all that they bought.
   */
  orders?: readonly BuyOrder[];
  /** How long to wait for capacity, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /**
   * `some` (the default): resolves when calls can be made: once all capacity is bought, or soon
   * after the first of it; the order for the rest stands. `all`: only once all of it is bought.
   */
  waitFor?: "some" | "all";
  /** Calls fail with `overloaded` if there is no credit, instead of waiting. Default false. */
  noWait?: boolean;
  /** Deadline of each call, in ms; 1 to 300,000. Default 10,000. */
  callTimeoutMs?: number;
  /**
   * Prefers channels to others with as much credit: those in this region, or those that
   * answer quickly. Default `none`.
   */
  bias?: "none" | "region" | "latency";
  /** Cancels waiting for capacity. */
  signal?: AbortSignal;
}

/** How one call of a module is made. */
export interface ModuleCallOptions {
  timeoutMs?: number;
  noWait?: boolean;
  /** Gives the call up: it never starts, or its function sees `this.signal` aborted. */
  signal?: AbortSignal;
}

/** How a call without a proxy is made. */
export interface ModuleRequestOptions {
  /** As in {@link DiscoverOptions}. */
  version?: string;
  /** Deadline, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /** Gives the call up: it never starts, or its function sees `this.signal` aborted. */
  signal?: AbortSignal;
}

/** A module call's result and who gave it. */
export interface ModuleCallResult {
  readonly result: unknown;
  /** The name of the node that ran it. */
  readonly node: string;
  readonly version: string;
}

/** The load balancer behind a proxy. */
export interface Balancer {
  /**
   * Calls that could start now: the credit in hand; 0 once closed. On a client: as its node
   * reported last, up to half a second and a round trip ago; 0 if that node can't be reached.
   */
  capacity(): number;
  stats(): PlbStats;
  /** Calls a function by name; the result names the node that ran it. */
  call(
    name: string,
    args: readonly unknown[],
    options?: ModuleCallOptions,
  ): Promise<ModuleCallResult>;
  /** Stops buying, lets running calls finish, gives all capacity back. */
  close(): Promise<void>;
}

/** A load balancer on a node. */
export interface Plb extends Balancer {
  /**
   * Changes the wanted capacity, 1 to 65,536: more is bought as it is offered, a surplus is given
   * back, and calls that run on it still finish. Several orders share it in proportion to what
   * each asked for at first.
   *
   * @throws AtlasError `bad_request` if `capacity` isn't allowed, `unavailable` if it was closed.
   */
  resize(capacity: number): void;
}

/** A module that this node offers. */
export interface Listener {
  readonly name: string;
  /**
   * Offers `next` from now on: running calls finish on the old code, later ones of buyers that
   * accept its version run the new code. Nothing changes if `next` is the same module with the
   * identical functions.
   */
  update(next: Module): void;
  /**
   * Stops offering; resolves when running calls have finished, or were aborted after `drainMs`,
   * which is 0 to 300,000; default 10,000.
   *
   * @throws AtlasError `bad_request` if `drainMs` isn't allowed.
   */
  close(options?: { drainMs?: number }): Promise<void>;
  stats(): ListenerStats;
}

type FunctionsOf<M> = M extends Module<infer F> ? F : ModuleFunctions;

type Remote<F> = F extends (this: FunctionContext, ...args: infer A) => infer T
  ? (...args: A) => Promise<Awaited<T>>
  : never;

/** A module's functions, as promises, and the balancer behind them. */
export type ModuleProxy<M = Module, B extends Balancer = Balancer> =
  & { readonly [K in keyof FunctionsOf<M>]: Remote<FunctionsOf<M>[K]> }
  & { readonly $plb: B };

/** Can buy capacity of modules. */
export interface ModuleBuyer<Modules extends ModuleMap = ModuleMap> {
  /**
   * Buys capacity of a module, and returns a proxy of its functions.
   *
   * @throws AtlasError `unavailable` if nobody sells it in time, naming the order; `bad_request` if
   * an option isn't allowed.
   */
  discover<M extends keyof Modules & string>(
    name: M,
    options?: DiscoverOptions,
  ): Promise<ModuleProxy<Modules[M]>>;
}

/** What a node, a resource and a client can do with modules. */
export interface ModuleAtlas<Modules extends ModuleMap = ModuleMap> extends ModuleBuyer<Modules> {
  /**
   * Calls a function of a module without a proxy: over a load balancer that all requests of a
   * node share, which buys as much capacity as there are calls, and gives it back when they end.
   *
   * @throws AtlasError `unavailable` if nobody sold it in time, naming the order; `timeout` if
   * credit or answer didn't come in time, `not_found` if the version in use has no such function,
   * `overloaded` if too many calls wait, `bad_request`; the function's own error, and `app` if its
   * result can't be encoded or takes more than 1 MiB.
   */
  request(
    module: string,
    name: string,
    args: readonly unknown[],
    options?: ModuleRequestOptions,
  ): Promise<ModuleCallResult>;
  /** All offers, of all nodes. */
  modules(): Promise<readonly ModuleView[]>;
  /** The order books of a module, one for each of its exchanges. */
  exchange(name: string): Promise<readonly ExchangeView[]>;
  /** The mesh of authorities. */
  authorities(): Promise<readonly AuthorityView[]>;
}

/** What only a node can do with modules. */
export interface ModuleNode<Modules extends ModuleMap = ModuleMap> extends ModuleAtlas<Modules> {
  /** As on a client; on a node the wanted capacity can be changed. */
  discover<M extends keyof Modules & string>(
    name: M,
    options?: DiscoverOptions,
  ): Promise<ModuleProxy<Modules[M], Plb>>;
  /**
   * Offers a module from this node.
   *
   * @throws AtlasError `bad_request` if an option isn't allowed or the module has no name,
   * `unavailable` if the node drains or is closed.
   */
  publish(module: Module, options?: PublishOptions): Listener;
  /** This node's offers. */
  listeners(): readonly Listener[];
}

/** One channel, as its buyer sees it. */
export interface PlbChannelStats {
  /** Its process name on the seller's node. */
  readonly channel: string;
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly version: string;
  readonly grant: number;
  /** Since it was opened: credit received minus credit returned, and requests sent. */
  readonly allowed: number;
  readonly used: number;
  readonly running: number;
  /** How long opening it took, ms. */
  readonly rttMs: number;
  /** It accepts no more requests. */
  readonly draining: boolean;
}

/** One buy order of a load balancer. */
export interface PlbOrderStats {
  /** Its id at the node's broker; 0: not placed yet. */
  readonly id: number;
  /** The range wanted; null: any stable version, the newest first. */
  readonly version: string | null;
  readonly prefer: Preference;
  readonly wanted: number;
  readonly granted: number;
}

export interface PlbStats {
  readonly module: string;
  /** The newest version in use; null: no channel is open. */
  readonly version: string | null;
  readonly wanted: number;
  /** Capacity bought, over all channels. */
  readonly granted: number;
  /** Unused credit. */
  readonly tokens: number;
  readonly waiting: number;
  readonly running: number;
  /** Calls since it was created; those that waited for credit; their total wait in ms. */
  readonly calls: number;
  readonly waits: number;
  readonly waitedMs: number;
  readonly orders: readonly PlbOrderStats[];
  readonly channels: readonly PlbChannelStats[];
}

/** One channel, as its seller sees it; issued = used + outstanding + revoked. */
export interface ListenerChannelStats {
  /** Its process name on this node, which its buyer knows too. */
  readonly channel: string;
  /** The incarnation of the buyer's node; empty: this one. */
  readonly buyer: string;
  readonly version: string;
  readonly hash: string;
  readonly grant: number;
  readonly issued: number;
  readonly used: number;
  readonly outstanding: number;
  readonly revoked: number;
  readonly running: number;
}

/** One sell order of a listener. */
export interface ListenerOrderStats {
  /** Its id at the node's broker; 0: not placed yet. */
  readonly id: number;
  readonly capacity: number;
  readonly granted: number;
  /** Whose buyers it serves; empty: all. */
  readonly regions: readonly string[];
}

export interface ListenerStats {
  readonly module: string;
  readonly version: string;
  readonly hash: string;
  readonly capacity: number;
  readonly granted: number;
  readonly free: number;
  readonly running: number;
  /** All code that is still in use, the newest first. */
  readonly codes: readonly { readonly version: string; readonly hash: string }[];
  readonly orders: readonly ListenerOrderStats[];
  readonly channels: readonly ListenerChannelStats[];
}

/** Statistics of one module on one node since the node was created; times in ms. */
export interface ModuleFigures {
  /**
   * `other` is the sum of all modules without statistics of their own: names without a seller, and
   * modules beyond 256, the least recently used first.
   */
  readonly module: string;
  /** As a seller: requests that run now, capacity granted to buyers now, credits. */
  readonly running: number;
  readonly granted: number;
  readonly issued: number;
  readonly used: number;
  readonly outstanding: number;
  readonly revoked: number;
  /** As a buyer: calls that wait for credit now; all calls; those that waited; their total wait. */
  readonly waiting: number;
  readonly calls: number;
  readonly waits: number;
  readonly waitedMs: number;
}

/** Statistics of a node's market. The seller counts credits, since the node was created. */
export interface MarketStats {
  /** Requests that this node runs for others and itself. */
  moduleRunning: number;
  /** Calls from here that wait for credit. */
  moduleWaiting: number;
  /** Capacity that this node has granted to buyers. */
  creditsGranted: number;
  creditsOutstanding: number;
  creditsIssued: number;
  creditsUsed: number;
  creditsRevoked: number;
  /** Module calls made here; those that waited for credit; their total wait in ms. */
  moduleCalls: number;
  moduleWaits: number;
  moduleWaitedMs: number;
  /** The same per module that was traded here, at most 257. */
  modules: readonly ModuleFigures[];
}

/** A seller of a module. */
export interface SellerView {
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly version: string;
  readonly hash: string;
  readonly capacity: number;
  readonly granted: number;
  /** Requests that run there now. */
  readonly inFlight: number;
}

export interface ModuleView {
  readonly name: string;
  readonly versions: readonly string[];
  /** The sellers' nodes, as `<region>/<node>`. */
  readonly nodes: readonly string[];
  readonly capacity: number;
  readonly inFlight: number;
  readonly sellers: readonly SellerView[];
}

/** A standing order. */
export interface OrderView {
  readonly side: "buy" | "sell";
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly id: number;
  readonly revision: number;
  /** What is still wanted or offered, and how much of it is held for a match. */
  readonly quantity: number;
  readonly held: number;
  /** The version sold, or the range wanted; null: any stable version, the newest first. */
  readonly version: string | null;
}

export interface ExchangeView {
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly orders: readonly OrderView[];
}

/** An authority and what it knows. */
export interface AuthorityView {
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  /** What it knows: other authorities, brokers, and modules that have an exchange. */
  readonly authorities: number;
  readonly brokers: number;
  readonly modules: readonly string[];
}
