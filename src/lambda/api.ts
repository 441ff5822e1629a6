/**
 * The shapes that users of modules hold: what they offer, what they buy, and what they
 * can see of the market.
 */
import type { FunctionContext, Module, ModuleFunctions, ModuleMap } from "./module.ts";

/** How a module is offered. */
export interface PublishOptions {
  /** Requests that this node runs at once, 1 to 65,536. Default: the module's own. */
  capacity?: number;
  /** Default: the module's own name, or its key in the app's `modules`. */
  name?: string;
  /** Replaces the module's own version. */
  version?: string;
  /**
   * Credit of a channel that is left before more is sent, as a part of its grant, 0 to 1.
   * 1 (the default) sends one for each finished request; 0 waits till all is spent,
   * which saves nothing but messages.
   */
  lowWatermark?: number;
}

/** Where buyers would rather have their capacity. `near`: in the own region, else close by. */
export type Preference = "near" | "spread";

/** How capacity is bought, and how calls of the proxy are made where they don't say. */
export interface DiscoverOptions {
  /** Requests that may run at once, over all sellers, 1 to 65,536. Default 1. */
  capacity?: number;
  /** A version or a range of versions. Default: the newest stable one. */
  version?: string;
  /** Default `near`: what was bought far away is given back when capacity is near. */
  prefer?: Preference;
  /** How long to wait for capacity, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /**
   * `some` (the default): resolves when calls can be made: once all is bought, or soon after
   * the first of it; the order for the rest stands. `all`: only once all of it is bought.
   */
  waitFor?: "some" | "all";
  /** Calls fail with `overloaded` where there is no credit, instead of waiting. Default false. */
  noWait?: boolean;
  /** Deadline of each call, in ms; 1 to 300,000. Default 10,000. */
  callTimeoutMs?: number;
  /**
   * Favours channels over others with as much credit: those in this region, or those that
   * answer quickly. Default `none`.
   */
  bias?: "none" | "region" | "latency";
  /** Gives up waiting for capacity. */
  signal?: AbortSignal;
}

/** How one call of a module is made. */
export interface ModuleCallOptions {
  timeoutMs?: number;
  noWait?: boolean;
  /** Gives the call up: it never starts, or its function sees `this.signal` aborted. */
  signal?: AbortSignal;
}

/** How one call is made that buys nothing for itself. */
export interface ModuleRequestOptions {
  /** A version or a range of versions. Default: the newest stable one when capacity is bought. */
  version?: string;
  /** Deadline, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /** Gives the call up: it never starts, or its function sees `this.signal` aborted. */
  signal?: AbortSignal;
}

/** A module call's answer and who gave it. */
export interface ModuleCallResult {
  readonly result: unknown;
  /** The name of the node that ran it. */
  readonly node: string;
  readonly version: string;
}

/** What stands behind a proxy: its load balancer. */
export interface Balancer {
  /**
   * Calls that could start at this moment: credit in hand; 0 once it was closed. On a client: as
   * its node told last, half a second ago or a trip more; 0 where that can't be reached.
   */
  capacity(): number;
  stats(): PlbStats;
  /** Calls a function by name, with the answer's origin. */
  call(
    name: string,
    args: readonly unknown[],
    options?: ModuleCallOptions,
  ): Promise<ModuleCallResult>;
  /** Buys no more, lets running calls finish, gives all capacity back. */
  close(): Promise<void>;
}

/** A load balancer on a node. */
export interface Plb extends Balancer {
  /**
   * Wants so much from now on, 1 to 65,536: more is bought as it is sold, a surplus is given
   * back, and what runs on it still finishes.
   *
   * @throws AtlasError `bad_request` where it isn't allowed, `unavailable` where it was closed.
   */
  resize(capacity: number): void;
}

/** One channel, as its buyer sees it. */
export interface PlbChannelStats {
  /** Its name on the seller's node. */
  readonly channel: string;
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly version: string;
  readonly grant: number;
  /** Credit received and requests sent since it was opened. */
  readonly allowed: number;
  readonly used: number;
  readonly running: number;
  /** How long its opening took, in ms. */
  readonly rttMs: number;
  /** It takes no more requests. */
  readonly draining: boolean;
}

export interface PlbStats {
  readonly module: string;
  /** The newest version in use; null where nothing is bought. */
  readonly version: string | null;
  readonly wanted: number;
  /** Capacity bought, over all channels. */
  readonly granted: number;
  /** Credit in hand. */
  readonly tokens: number;
  readonly waiting: number;
  readonly running: number;
  /** Calls since it was made, those that had to wait, and how long these waited together, ms. */
  readonly calls: number;
  readonly waits: number;
  readonly waitedMs: number;
  readonly channels: readonly PlbChannelStats[];
}

/** A module that this node offers. */
export interface Listener {
  readonly name: string;
  /**
   * Offers `next` from now on: running calls finish on the code they began on. Nothing changes
   * where it is the same as before, down to the very functions.
   */
  update(next: Module): void;
  /**
   * Offers nothing more; resolves when what runs is done, or was given up after `drainMs`, which
   * is 0 to 300,000; default 10,000.
   *
   * @throws AtlasError `bad_request` where that isn't allowed.
   */
  close(options?: { drainMs?: number }): Promise<void>;
  stats(): ListenerStats;
}

/** One channel, as its seller sees it; issued = used + outstanding + revoked. */
export interface ListenerChannelStats {
  /** Its name on this node, by which its buyer knows it, too. */
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
  readonly channels: readonly ListenerChannelStats[];
}

/** Figures of one module on one node, since the node was made; times in ms. */
export interface ModuleFigures {
  /**
   * `other` stands for all together that have no figures of their own: names that nobody was
   * found to sell, what was longest unused here once there were more than 256, and what more than
   * 256 in use leave no room for.
   */
  readonly module: string;
  /** As a seller: requests that run now, capacity in buyers' hands now, credits. */
  readonly running: number;
  readonly granted: number;
  readonly issued: number;
  readonly used: number;
  readonly outstanding: number;
  readonly revoked: number;
  /** As a buyer: calls that wait for credit now, calls, those that had to wait, and how long. */
  readonly waiting: number;
  readonly calls: number;
  readonly waits: number;
  readonly waitedMs: number;
}

/** Figures of a node's market. Credits are counted by the seller, since the node was made. */
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
  /** Module calls made here, those that waited for credit, and for how long together, ms. */
  moduleCalls: number;
  moduleWaits: number;
  moduleWaitedMs: number;
  /** The same for each module that was traded here, at most 257. */
  modules: readonly ModuleFigures[];
}

/** Who offers a module. */
export interface SellerView {
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly version: string;
  readonly hash: string;
  readonly capacity: number;
  readonly granted: number;
  /** Requests that run there. */
  readonly inFlight: number;
}

export interface ModuleView {
  readonly name: string;
  readonly versions: readonly string[];
  /** Who offers it, as `<region>/<node>`. */
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
  /** What is wanted or offered still, and how much of that is promised to somebody. */
  readonly quantity: number;
  readonly held: number;
  /** The version sold, or the range wanted; null: the newest stable one. */
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
  /** Other authorities, brokers, and modules with an exchange that it knows. */
  readonly authorities: number;
  readonly brokers: number;
  readonly modules: readonly string[];
}

type FunctionsOf<M> = M extends Module<infer F> ? F : ModuleFunctions;

type Remote<F> = F extends (this: FunctionContext, ...args: infer A) => infer T
  ? (...args: A) => Promise<Awaited<T>>
  : never;

/** A module's functions, as promises, and the balancer behind them. */
export type ModuleProxy<M = Module, B extends Balancer = Balancer> =
  & { readonly [K in keyof FunctionsOf<M>]: Remote<FunctionsOf<M>[K]> }
  & { readonly $plb: B };

/** Who can buy capacity of modules. */
export interface ModuleBuyer<Modules extends ModuleMap = ModuleMap> {
  /**
   * Buys capacity of a module, and gives its functions.
   *
   * @throws AtlasError `unavailable` where nobody sells it in time, saying what was asked;
   * `bad_request` where an option isn't allowed.
   */
  discover<M extends keyof Modules & string>(
    name: M,
    options?: DiscoverOptions,
  ): Promise<ModuleProxy<Modules[M]>>;
}

/** What a node, a resource and a client can do with modules. */
export interface ModuleAtlas<Modules extends ModuleMap = ModuleMap> extends ModuleBuyer<Modules> {
  /**
   * Calls a function of a module without a proxy: over a balancer that all requests of a node
   * share, which wants as much capacity as there are calls, and gives it back when they end.
   *
   * @throws AtlasError `unavailable` where nobody sold it in time, saying what was asked;
   * `timeout` where credit or answer didn't come in time, `not_found` where the version in use
   * has no such function, `overloaded` where too many wait, `bad_request`; what it threw, and
   * `app` where what it answers can't be encoded or takes more than 1 MiB.
   */
  request(
    module: string,
    name: string,
    args: readonly unknown[],
    options?: ModuleRequestOptions,
  ): Promise<ModuleCallResult>;
  /** All that is offered anywhere. */
  modules(): Promise<readonly ModuleView[]>;
  /** The order books of a module, one for each of its exchanges. */
  exchange(name: string): Promise<readonly ExchangeView[]>;
  /** The mesh of authorities. */
  authorities(): Promise<readonly AuthorityView[]>;
}

/** What only a node can do with modules. */
export interface ModuleNode<Modules extends ModuleMap = ModuleMap> extends ModuleAtlas<Modules> {
  /** As anywhere; on a node what is wanted can be changed. */
  discover<M extends keyof Modules & string>(
    name: M,
    options?: DiscoverOptions,
  ): Promise<ModuleProxy<Modules[M], Plb>>;
  /**
   * Offers a module from here.
   *
   * @throws AtlasError `bad_request` where an option isn't allowed or no name is known,
   * `unavailable` where the node drains or is closed.
   */
  publish(module: Module, options?: PublishOptions): Listener;
  /** What this node offers. */
  listeners(): readonly Listener[];
}
