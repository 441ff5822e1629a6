/**
 * The types of a market plan: nodes, trades and calls. Plain data, drawn before a simulation
 * begins, so that shrinking can remove lines and a file can keep it.
 */
import type { Role } from "../../src/api/options.ts";
import type { RunPlan } from "./plan.ts";

/** How a node finds its first authority. */
export type BootstrapKind = "registry" | "static" | "dns" | "function";

/** The shape of a market. */
export interface MarketShape {
  /** One for each node; the first is an authority. */
  readonly roles: readonly Role[];
  /** One for each node. */
  readonly bootstraps: readonly BootstrapKind[];
  /** How many modules are traded. */
  readonly modules: number;
  /** Shares of the messages about credit that are lost, duplicated, or overtaken by later ones. */
  readonly lost: number;
  readonly doubled: number;
  readonly late: number;
  /** When the first node, the only one that the bootstraps name, is removed; 0: never. */
  readonly seedLostAt: number;
  /** Whether nothing is closed and no fault happens: then every call must be answered. */
  readonly isCalm: boolean;
}

/**
 * What a trader does. `publish` and `discover` are repeated whenever the node starts; `update` and
 * `close` apply to a published module, `leave` and `call` to a discovered one; `look` reads the
 * order books.
 */
export type TradeAction = "publish" | "update" | "close" | "discover" | "leave" | "call" | "look";

/** How a function behaves. */
export type Behavior =
  /** Returns after `ms`. */
  | "return"
  /** Returns synchronously. */
  | "at_once"
  | "throw"
  /** Throws `unavailable` after `ms`, as Atlas itself does. */
  | "deny"
  /** Stops once its call is abandoned. */
  | "heed"
  /** Doesn't return until healing. */
  | "never";

export interface Trade {
  readonly at: number;
  readonly what: TradeAction;
  /** The node of the trade, from 0. */
  readonly node: number;
  /** Selects one of the current sellers or buyers, modulo their number. */
  readonly pick: number;
  readonly module: number;
  readonly capacity: number;
  /** The version that is published. */
  readonly version: string;
  readonly low: number;
  /** Whether some of the capacity is reserved for buyers of the node's own region. */
  readonly isKept: boolean;
  /** The version range that is ordered; empty: any stable version. */
  readonly range: string;
  /** The version range of a second order at the same time; `none`: there is no second one. */
  readonly also: string;
  readonly prefer: "near" | "spread";
  readonly bias: "none" | "region" | "latency";
  readonly isWhole: boolean;
  readonly noWait: boolean;
  /** Calls made at once. */
  readonly count: number;
  readonly name: string;
  readonly behavior: Behavior;
  /** How long each call runs, and its time limit. */
  readonly ms: number;
  readonly timeoutMs: number;
  /** When its caller aborts it, in ms; 0: never. */
  readonly giveUpMs: number;
}

/** The defaults. */
export const DEFAULT_MARKET_SHAPE: MarketShape = {
  roles: ["authority"],
  bootstraps: ["registry"],
  modules: 1,
  lost: 0,
  doubled: 0,
  late: 0,
  seedLostAt: 0,
  isCalm: false,
};

export const PLAIN_TRADE: Trade = {
  at: 0,
  what: "call",
  node: 0,
  pick: 0,
  module: 0,
  capacity: 1,
  version: "1.0.0",
  low: 1,
  isKept: false,
  range: "",
  also: "none",
  prefer: "near",
  bias: "none",
  isWhole: false,
  noWait: false,
  count: 1,
  name: "work",
  behavior: "return",
  ms: 10,
  timeoutMs: 1_000,
  giveUpMs: 0,
};

/** The fields that matter for each kind of trade, besides `at`, `what` and `node`. */
const MATTERS: Readonly<Record<TradeAction, readonly (keyof Trade)[]>> = {
  publish: ["module", "capacity", "version", "low", "isKept"],
  update: ["pick", "version"],
  close: ["pick"],
  discover: ["module", "capacity", "range", "also", "prefer", "bias", "isWhole", "noWait"],
  leave: ["pick"],
  call: ["pick", "noWait", "count", "name", "behavior", "ms", "timeoutMs", "giveUpMs"],
  look: ["module"],
};

/** The trade with defaults for all fields that don't matter for its kind. */
export function plainly(trade: Trade): Trade {
  const kept = ["at", "what", "node", ...MATTERS[trade.what]];
  const entries = Object.entries(trade).filter(([name]) => kept.includes(name));
  return { ...PLAIN_TRADE, ...Object.fromEntries(entries) };
}

/** The fields in which a trade differs from the default. */
export function special(trade: Trade): Partial<Trade> {
  const entries = Object.entries(trade) as [keyof Trade, unknown][];
  return Object.fromEntries(entries.filter(([name, value]) => value !== PLAIN_TRADE[name]));
}

/** A run plan of a market: its shape, and the trades. */
export interface MarketPlan extends RunPlan {
  readonly market: MarketShape;
  readonly trades?: readonly Trade[];
}
