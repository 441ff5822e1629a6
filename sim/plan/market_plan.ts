/**
 * The types of a market plan: nodes, trades and calls. Plain data, drawn before a simulation
 * begins, so that shrinking can remove lines and a file can keep it.
 */
import type { Role } from "../../src/api/options.ts";
import type { RunPlan } from "./plan.ts";

/** How a node finds its first authority. */
export type BootstrapKind = "registry" | "static" | "dns" | "function";

/** The town. */
export interface MarketShape {
  /** One for each node; the first is an authority. */
  readonly roles: readonly Role[];
  /** One for each node. */
  readonly signposts: readonly BootstrapKind[];
  /** How many modules are traded. */
  readonly modules: number;
  /** Shares of the letters about credit that are lost, come twice, or come after later ones. */
  readonly lost: number;
  readonly doubled: number;
  readonly late: number;
  /** When the first node, the only one that signposts name, is gone for good; 0: never. */
  readonly seedLostAt: number;
  /** Nothing is closed and nothing goes wrong: every call must be answered. */
  readonly isCalm: boolean;
}

/**
 * What a trader does. `publish` and `discover` begin something that its node takes up again
 * whenever it is started; `update` and `close` are about something published, `leave` and
 * `call` about something discovered; `look` asks for the books.
 */
export type TradeAction = "publish" | "update" | "close" | "discover" | "leave" | "call" | "look";

/** What becomes of a call where it runs. */
export type Manner =
  /** Answers after its time. */
  | "return"
  /** Answers, or throws, before it was even waited for. */
  | "at_once"
  | "throw"
  /** Throws after its time; an error as Atlas's own, of the harmless sort. */
  | "deny"
  /** Stops as soon as nobody waits for it any more. */
  | "heed"
  /** Doesn't come to an end until all is mended. */
  | "never";

export interface Trade {
  readonly at: number;
  readonly what: TradeAction;
  /** Where it is begun, from 0. */
  readonly node: number;
  /** Which one of those that stand, counted round. */
  readonly pick: number;
  readonly module: number;
  readonly capacity: number;
  /** What is published. */
  readonly version: string;
  readonly low: number;
  /** Whether some of what is published is kept for buyers of the node's own region. */
  readonly isKept: boolean;
  /** What is wanted; empty: any stable version. */
  readonly range: string;
  /** What a second order at the same time wants; `none`: there is no second one. */
  readonly also: string;
  readonly prefer: "near" | "spread";
  readonly bias: "none" | "region" | "latency";
  readonly isWhole: boolean;
  readonly noWait: boolean;
  /** Calls made at once. */
  readonly count: number;
  readonly name: string;
  readonly manner: Manner;
  /** How long each runs, and may take. */
  readonly ms: number;
  readonly timeoutMs: number;
  /** When its caller gives it up; 0: never. */
  readonly giveUpMs: number;
}

/** The plainest of each. */
export const DEFAULT_MARKET_SHAPE: MarketShape = {
  roles: ["authority"],
  signposts: ["registry"],
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
  manner: "return",
  ms: 10,
  timeoutMs: 1_000,
  giveUpMs: 0,
};

/** What each deed goes by, besides when, what and where; it has the plainest of all else. */
const MATTERS: Readonly<Record<TradeAction, readonly (keyof Trade)[]>> = {
  publish: ["module", "capacity", "version", "low", "isKept"],
  update: ["pick", "version"],
  close: ["pick"],
  discover: ["module", "capacity", "range", "also", "prefer", "bias", "isWhole", "noWait"],
  leave: ["pick"],
  call: ["pick", "noWait", "count", "name", "manner", "ms", "timeoutMs", "giveUpMs"],
  look: ["module"],
};

/** A trade with nothing in it that doesn't matter for what it is. */
export function plainly(trade: Trade): Trade {
  const kept = ["at", "what", "node", ...MATTERS[trade.what]];
  const entries = Object.entries(trade).filter(([name]) => kept.includes(name));
  return { ...PLAIN_TRADE, ...Object.fromEntries(entries) };
}

/** What a trade has that the plainest one hasn't. */
export function special(trade: Trade): Partial<Trade> {
  const entries = Object.entries(trade) as [keyof Trade, unknown][];
  return Object.fromEntries(entries.filter(([name, value]) => value !== PLAIN_TRADE[name]));
}

/** A run plan of a market: its shape, and what buyers and sellers do. */
export interface MarketPlan extends RunPlan {
  readonly market: MarketShape;
  readonly trades?: readonly Trade[];
}
