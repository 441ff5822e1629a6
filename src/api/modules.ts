/**
 * The types that users of modules hold: offers, purchases, and reports about authorities,
 * exchanges and orders.
 */
import type { FunctionContext, Module, ModuleFunctions, ModuleMap } from "./module.ts";
import type {
  AuthorityView,
  ExchangeView,
  ListenerStats,
  ModuleView,
  PlbStats,
} from "../lambda/views.ts";

export type * from "../lambda/views.ts";

/** One sell order: some of a listener's capacity, and whom it is for. */
export interface SellOrder {
  /** Requests that run at once for who buys of this order, 1 to 65,536. */
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
   * most 65,536. Such as a part that is kept for buyers of this region.
   */
  orders?: readonly SellOrder[];
  /** Default: the module's own name, or its key in the app's `modules`. */
  name?: string;
  /** Replaces the module's own version. */
  version?: string;
  /**
   * Credit of a channel that is left before more is sent, as a part of its grant, 0 to 1.
   * 1 (the default) sends one for each finished request. Below 1 what finishes while more is left
   * is sent together, at most 10 ms later: no capacity stays unused for longer.
   */
  lowWatermark?: number;
}

/** Where buyers would rather have their capacity. `near`: in the own region, else close by. */
export type Preference = "near" | "spread";

/** One buy order: how much is wanted of which versions. */
export interface BuyOrder {
  /** Requests that may run at once, over all sellers, 1 to 65,536. Default 1. */
  capacity?: number;
  /** As in {@link DiscoverOptions}. */
  version?: string;
  /** Default: that of the options it is in. */
  prefer?: Preference;
}

/** How capacity is bought, and how calls of the proxy are made where they don't say. */
export interface DiscoverOptions {
  /** Requests that may run at once, over all sellers, 1 to 65,536. Default 1. */
  capacity?: number;
  /**
   * A version or a range of versions, each of which is as welcome as another. Default: any stable
   * version of any major, the newest first: older ones serve what the newer have no room for, and
   * are given back for newer ones as these come free. Who needs one major names it, as `^1`.
   */
  version?: string;
  /** Default `near`: what was bought far away is given back when capacity is near. */
  prefer?: Preference;
  /**
   * Several buy orders at once, 1 to 16, instead of `capacity` and `version`: such as nine parts
   * of `^1` and one of `^2`. Calls are drawn from all that they bought.
   */
  orders?: readonly BuyOrder[];
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
  /** As in {@link DiscoverOptions}. */
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
   * back, and what runs on it still finishes. Several orders share it in proportion to what each
   * asked for at first.
   *
   * @throws AtlasError `bad_request` where it isn't allowed, `unavailable` where it was closed.
   */
  resize(capacity: number): void;
}

/** A module that this node offers. */
export interface Listener {
  readonly name: string;
  /**
   * Offers `next` from now on: running calls finish on the code they began on, later ones of
   * buyers that take its version run the new code. Nothing changes where it is the same as
   * before, down to the very functions.
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
