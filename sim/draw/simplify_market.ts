/**
 * Proposes simpler variants of a plan's market, one change each: fewer modules and bootstraps, and
 * trades with default options. Gives none for a plan without a market.
 */
import type { Plan } from "../plan/plan.ts";
import { PLAIN_TRADE, type Trade } from "../plan/market_plan.ts";

/** What a trade can do without, the boldest first. */
const FIELDS = [
  "manner",
  "count",
  "giveUpMs",
  "noWait",
  "isWhole",
  "prefer",
  "bias",
  "low",
  "name",
  "module",
  "range",
  "also",
  "isKept",
  "version",
  "capacity",
  "pick",
  "node",
  "ms",
  "timeoutMs",
] as const;

export function* marketCuts(plan: Plan): Generator<Plan> {
  const { market, trades = [] } = plan;
  if (!market) return;
  const plainer = (changes: Partial<typeof market>): Plan => ({
    ...plan,
    market: { ...market, ...changes },
  });
  if (market.modules > 1) {
    yield { ...plainer({ modules: 1 }), trades: trades.map((it) => ({ ...it, module: 0 })) };
  }
  for (const name of ["lost", "doubled", "late", "seedLostAt"] as const) {
    if (market[name] > 0) yield plainer({ [name]: 0 });
  }
  for (const [at, signpost] of market.signposts.entries()) {
    if (signpost !== "registry") {
      yield plainer({ signposts: market.signposts.with(at, "registry") });
    }
  }
  for (const [at, role] of market.roles.entries()) {
    if (role !== "authority") yield plainer({ roles: market.roles.with(at, "authority") });
  }
  for (const field of FIELDS) yield { ...plan, trades: trades.map((it) => plain(it, field)) };
  for (const [at, trade] of trades.entries()) {
    for (const field of FIELDS) {
      if (trade[field] === PLAIN_TRADE[field]) continue;
      yield { ...plan, trades: trades.with(at, plain(trade, field)) };
    }
  }
}

/** A trade with the plainest of something. */
function plain(trade: Trade, field: typeof FIELDS[number]): Trade {
  return { ...trade, [field]: PLAIN_TRADE[field] };
}
