/**
 * What users can read of the market: statistics of buyers and sellers, order books, authorities.
 */
import type { Preference } from "../api/modules.ts";

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
