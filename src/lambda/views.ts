/** What users can see of the market: figures of buyers and sellers, order books, authorities. */
import type { Preference } from "../api/modules.ts";

/** One channel, as its buyer sees it. */
export interface PlbChannelStats {
  /** Its name on the seller's node. */
  readonly channel: string;
  readonly region: string;
  readonly node: string;
  readonly incarnation: string;
  readonly version: string;
  readonly grant: number;
  /** Credit received, less what was given back, and requests sent, since it was opened. */
  readonly allowed: number;
  readonly used: number;
  readonly running: number;
  /** How long its opening took, in ms. */
  readonly rttMs: number;
  /** It takes no more requests. */
  readonly draining: boolean;
}

/** One buy order of a load balancer. */
export interface PlbOrderStats {
  /** Its id at the node's broker; 0: it was not placed yet. */
  readonly id: number;
  /** The range wanted; null: any stable version, the newest first. */
  readonly version: string | null;
  readonly prefer: Preference;
  readonly wanted: number;
  readonly granted: number;
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
  readonly orders: readonly PlbOrderStats[];
  readonly channels: readonly PlbChannelStats[];
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

/** One sell order of a listener. */
export interface ListenerOrderStats {
  /** Its id at the node's broker; 0: it was not placed yet. */
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
  /** The version sold, or the range wanted; null: any stable one, the newest first. */
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
