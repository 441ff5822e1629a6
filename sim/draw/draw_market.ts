/**
 * Draws a market plan from a seed: who sells and buys which module, and what goes wrong.
 *
 * The plan is plain data, the same on every runtime. Seeds differ widely in how much they have of
 * anything, because an even mix would hide some faults.
 */
import type { Role } from "../../src/api/options.ts";
import { drawFaults, drawShape } from "./draw_resources.ts";
import type { Plan, Shape } from "../plan/plan.ts";
import { SeededRandom } from "../engine/random.ts";
import {
  type Behavior,
  type BootstrapKind,
  type MarketShape,
  PLAIN_TRADE,
  plainly,
  type Trade,
  type TradeAction,
} from "../plan/market_plan.ts";

/** When healing happens, and when the simulation ends, true ms. */
const HEAL_AT = 12_000;
const END_AT = 72_000;
/** When traders begin, in ms. */
const OPEN_AT = 100;
const VERSIONS = ["1.0.0", "1.1.0", "1.2.0", "2.0.0", "2.1.0-beta.1"] as const;
const RANGES = ["", "", "^1", "^1.1", "1.1.0", ">=1.2 <3", "^2.1.0-beta"] as const;
const BOOTSTRAP_KINDS: readonly BootstrapKind[] = ["registry", "static", "dns", "function"];
const BEHAVIORS: readonly Behavior[] = ["return", "at_once", "throw", "deny", "heed"];
/** The most traders of each kind. */
const MOST_TRADERS = 7;

/** The plan of a seed: a whole number from 0. */
export function makeMarketPlan(seed: number): Plan {
  const draw = (stream: string): SeededRandom => new SeededRandom(seed, `market ${stream}`);
  const random = draw("stage");
  const isCalm = random.chance(0.12);
  const nodes = random.pick([1, 2, 2, 3, 3, 3, 4, 5]);
  const shape = { ...drawMarketShape(draw("shape"), isCalm), nodes, keys: 1 };
  const market = drawMarket(random, nodes, isCalm);
  const plan = {
    seed,
    shape: { ...shape, places: drawPlaces(random, nodes) },
    faults: isCalm || random.chance(0.1) ? [] : drawFaults(draw("faults"), shape, HEAL_AT),
    work: [],
    market,
    trades: isCalm
      ? drawCalmTrades(draw("trades"), shape, market)
      : drawTrades(draw("trades"), shape, market),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
  if (isCalm) return plan;
  return withLostSeed(
    draw("seed"),
    withSeveralOrders(draw("orders"), withCanary(draw("canary"), plan)),
  );
}

/** A plan with a market. */
type Drawn = Plan & { readonly market: MarketShape; readonly trades: readonly Trade[] };

/** One node tries newer code with little capacity, while others want any version. */
function withCanary(random: SeededRandom, plan: Drawn): Drawn {
  if (!random.chance(0.3)) return plan;
  const { trades, market } = plan;
  const some = (): Pick<Trade, "node" | "module"> => ({
    node: random.below(plan.shape.nodes),
    module: random.below(market.modules),
  });
  const at = random.between(1_000, HEAL_AT - 4_000);
  const canary = { ...some(), at, what: "publish", version: "3.0.0", capacity: 1 } as const;
  const callers = [1, 2].map((n) => ({
    ...some(),
    module: canary.module,
    at: at + 200 * n,
    what: "discover",
    capacity: n,
  } as const));
  const more = [canary, ...callers].map((it) => plainly({ ...PLAIN_TRADE, ...it }));
  return { ...plan, trades: [...trades, ...more].sort((a, b) => a.at - b.at) };
}

/** Traders with two orders at once. */
function withSeveralOrders(random: SeededRandom, plan: Drawn): Drawn {
  if (!random.chance(0.3)) return plan;
  const trades = plan.trades.map((trade) => {
    if (trade.what === "publish") return { ...trade, isKept: random.chance(0.3) };
    if (trade.what !== "discover") return trade;
    if (!random.chance(0.4)) return trade;
    // An order that no seller can fill would delay the other order's capacity.
    return { ...trade, also: random.pick(RANGES), isWhole: false };
  });
  return { ...plan, trades };
}

/** Faults that keep a process's memory: a restarted process would know only the lost node. */
const LEAVE_MEMORY = ["one_way_partition", "partition", "isolation", "clog", "link_break", "pause"];

/** The only node that bootstraps name is removed; later, links of the others break. */
function withLostSeed(random: SeededRandom, plan: Drawn): Drawn {
  const { nodes } = plan.shape;
  if (nodes < 3 || !random.chance(0.25)) return plan;
  const seedLostAt = 5_000;
  const bootstraps = plan.market.bootstraps.map(() => "static" as const);
  const roles = plan.market.roles.map((role, index) => index < 2 ? "authority" as const : role);
  const isolation = {
    at: seedLostAt + random.between(1_000, 4_000),
    kind: "isolation",
    a: 1 + random.below(nodes - 1),
    b: 0,
    ms: random.between(500, 4_000),
    x: random.next(),
  };
  const faults = plan.faults.filter(({ at, kind }) =>
    at > seedLostAt && LEAVE_MEMORY.includes(kind)
  );
  return {
    ...plan,
    faults: [...faults, isolation].sort((a, b) => a.at - b.at),
    market: { ...plan.market, seedLostAt, bootstraps, roles },
  };
}

function drawMarketShape(random: SeededRandom, isCalm: boolean): Shape {
  const shape = drawShape(random);
  if (!isCalm) return shape;
  // A renewal that comes too late ends an incarnation, and its calls fail.
  const conditions = { ...shape.linkConditions, tail: 0, loss: 0, duplicates: 0 };
  return { ...shape, linkConditions: conditions, lease: { heartbeatMs: 1_000, leaseMs: 3_000 } };
}

function drawPlaces(random: SeededRandom, nodes: number): Shape["places"] {
  const regions = ["east", "west", "north"].slice(0, 1 + random.below(3));
  return Array.from({ length: nodes }, (_, index) => ({
    region: random.pick(regions),
    node: `node-${index}`,
  }));
}

function drawMarket(random: SeededRandom, nodes: number, isCalm: boolean): MarketShape {
  const authorities = random.pick([0.2, 0.5, 1]);
  const bootstraps = random.chance(0.4) ? [random.pick(BOOTSTRAP_KINDS)] : BOOTSTRAP_KINDS;
  const disturbed = !isCalm && random.chance(0.25);
  return {
    roles: Array.from(
      { length: nodes },
      (_, index): Role => index === 0 || random.chance(authorities) ? "authority" : "worker",
    ),
    bootstraps: Array.from({ length: nodes }, () => random.pick(bootstraps)),
    modules: random.pick([1, 1, 2]),
    lost: disturbed ? random.pick([0, 0.05, 0.3]) : 0,
    doubled: disturbed ? random.pick([0, 0.1, 0.5]) : 0,
    late: disturbed ? random.pick([0, 0.1, 0.5]) : 0,
    seedLostAt: 0,
    isCalm,
  };
}

/** The kinds of traders of a seed. */
interface Customs {
  readonly manners: readonly Behavior[];
  readonly versions: readonly string[];
  readonly ranges: readonly string[];
  readonly timeoutMs: number;
  readonly ms: number;
  readonly giveUps: number;
  readonly crowds: number;
}

function drawCustoms(random: SeededRandom): Customs {
  const manners: Behavior[] = BEHAVIORS.filter(() => random.chance(0.4));
  return {
    // Functions that never return soon leave no capacity for anything else.
    manners: [
      "return",
      "return",
      "return",
      ...manners,
      ...random.chance(0.15) ? ["never"] : [],
    ] as Behavior[],
    versions: random.chance(0.4) ? ["1.0.0", "1.1.0"] : VERSIONS,
    ranges: random.chance(0.4) ? [""] : RANGES,
    timeoutMs: random.pick([200, 1_000, 4_000, 10_000]),
    ms: random.pick([2, 10, 50, 200, 1_500]),
    giveUps: random.pick([0, 0, 0.2]),
    crowds: random.pick([0, 0.1, 0.3]),
  };
}

function drawTrades(random: SeededRandom, shape: Shape, market: MarketShape): Trade[] {
  const customs = drawCustoms(random);
  const gapMs = random.pick([30, 60, 150]);
  const change = random.pick([0.02, 0.1, 0.25]);
  const trades: Trade[] = [];
  for (let at = OPEN_AT, first = 0; at < HEAL_AT; at += random.next() * 2 * gapMs) {
    // The first trades are a sale and a purchase.
    const what = first < 4
      ? (["publish", "discover"] as const)[first++ % 2] as TradeAction
      : random.chance(change)
      ? random.pick(
        ["publish", "update", "update", "close", "discover", "discover", "leave", "look"] as const,
      )
      : "call";
    trades.push(plainly({ ...drawTrade(random, customs, shape, market), at, what }));
  }
  return bounded(trades);
}

/** Limits the number of traders. */
function bounded(trades: readonly Trade[]): Trade[] {
  const open = { publish: 0, discover: 0 };
  return trades.filter(({ what }) => {
    if (what === "close") open.publish = Math.max(0, open.publish - 1);
    else if (what === "leave") open.discover = Math.max(0, open.discover - 1);
    else if (what === "publish" || what === "discover") return ++open[what] <= MOST_TRADERS;
    return true;
  });
}

function drawTrade(
  random: SeededRandom,
  customs: Customs,
  { nodes }: Shape,
  { modules }: MarketShape,
): Omit<Trade, "at" | "what"> {
  const { manners, versions, ranges, giveUps, crowds } = customs;
  return {
    ...PLAIN_TRADE,
    node: random.below(nodes),
    pick: random.below(1_000),
    module: random.below(modules),
    capacity: random.pick([1, 1, 2, 3, 5]),
    version: random.pick(versions),
    low: random.pick([1, 1, 0.5, 0]),
    isKept: false,
    range: random.pick(ranges),
    also: "none",
    prefer: random.pick(["near", "near", "spread"] as const),
    bias: random.pick(["none", "none", "region", "latency"] as const),
    isWhole: random.chance(0.2),
    noWait: random.chance(0.1),
    count: random.chance(crowds) ? 2 + random.below(20) : 1 + random.below(2),
    name: random.chance(0.1) ? "extra" : "work",
    behavior: random.pick(manners),
    ms: Math.ceil(random.next() * customs.ms),
    timeoutMs: customs.timeoutMs,
    giveUpMs: random.chance(giveUps) ? random.next() * random.pick([5, 50, 500]) : 0,
  };
}

/** Two sellers of each module or more, a few buyers, and new code under load. */
function drawCalmTrades(random: SeededRandom, shape: Shape, market: MarketShape): Trade[] {
  const customs: Customs = {
    manners: ["return", "return", "at_once", "heed"],
    versions: ["1.0.0", "1.1.0", "1.2.0"],
    ranges: ["^1"],
    timeoutMs: 60_000,
    ms: random.pick([2, 20, 60]),
    giveUps: 0,
    crowds: 0.1,
  };
  const draw = (at: number, what: TradeAction, more: Partial<Trade>): Trade =>
    plainly({
      ...drawTrade(random, customs, shape, market),
      at,
      what,
      noWait: false,
      name: "work",
      ...more,
    });
  const trades: Trade[] = [];
  for (let module = 0; module < market.modules; module++) {
    for (let n = 0; n < 2; n++) trades.push(draw(OPEN_AT, "publish", { module, capacity: 3 }));
    for (let n = 0; n < 2; n++) trades.push(draw(OPEN_AT, "discover", { module, capacity: 2 }));
  }
  // No more calls than the capacity can serve in time.
  const { baseMs, jitterMs } = shape.linkConditions;
  const gapMs = random.pick([40, 80]) + 3 * (baseMs + jitterMs);
  const change = random.pick([0.02, 0.1]);
  for (let at = 3_000; at < HEAL_AT; at += random.next() * 2 * gapMs) {
    trades.push(draw(at, random.chance(change) ? "update" : "call", {}));
  }
  return trades;
}
