/**
 * Proposes simpler variants of a plan, one change each: a smaller cluster, better links, shorter
 * times, rounder numbers. A variant need not be sensible: shrinking keeps it only if it still
 * breaks the rule.
 */
import { PLAIN_TRADE, type Trade } from "../plan/market_plan.ts";
import type { FaultEvent, Plan, Shape, WorkEvent } from "../plan/plan.ts";

/** From the beginning to the first event, and from the last one to healing, ms. */
const LEAD_MS = 500;
const REST_MS = 1_000;

/** Simpler plans, the greatest simplification first. */
export function* cuts(plan: Plan): Generator<Plan> {
  yield* anyCuts(plan);
  yield* marketCuts(plan);
  yield* mastersCuts(plan);
}

function* anyCuts(plan: Plan): Generator<Plan> {
  const { shape } = plan;
  for (const fold of [wrap, clamp]) {
    if (shape.nodes > 1) yield folded(plan, { ...shape, nodes: shape.nodes - 1 }, fold);
    if (shape.keys > 1) yield folded(plan, { ...shape, keys: shape.keys - 1 }, fold);
  }
  for (const plainer of shapes(shape)) yield { ...plan, shape: plainer };
  yield soonerHealed(plan);
  yield sooner(plan);
  yield rounded(plan);
  for (const [index, fault] of plan.faults.entries()) {
    for (const change of faultChanges(fault)) {
      const faults = plan.faults.with(index, { ...fault, ...change });
      yield { ...plan, faults };
    }
  }
  for (const [index, work] of plan.work.entries()) {
    for (const plainer of worksOf(work)) {
      yield { ...plan, work: plan.work.with(index, plainer) };
    }
  }
}

function* shapes(shape: Shape): Generator<Shape> {
  const { linkConditions, store } = shape;
  const calm = { tail: 0, loss: 0, duplicates: 0 };
  yield {
    ...shape,
    drift: 0,
    linkConditions: { ...linkConditions, ...calm, baseMs: 1, jitterMs: 0 },
  };
  yield { ...shape, drift: 0 };
  yield { ...shape, linkConditions: { ...linkConditions, ...calm } };
  for (const name of ["tail", "loss", "duplicates", "jitterMs"] as const) {
    yield { ...shape, linkConditions: { ...linkConditions, [name]: 0 } };
  }
  yield { ...shape, linkConditions: { ...linkConditions, baseMs: 1 } };
  yield { ...shape, idleAfterMs: 60_000 };
  yield { ...shape, store: { ...store, isStream: true } };
  for (const name of ["gateways", "mailbox", "isReentrant"] as const) yield without(shape, name);
  yield { ...shape, store: without(store, "lagMs") };
}

/** Maps a number to one below `count`. */
type Fold = (index: number, count: number) => number;
const wrap: Fold = (index, count) => index % count;
const clamp: Fold = (index, count) => Math.min(index, count - 1);

/** A smaller shape; the remaining nodes and keys take over the work of the removed ones. */
function folded(plan: Plan, shape: Shape, fold: Fold): Plan {
  const { nodes, keys } = shape;
  return {
    ...plan,
    shape,
    faults: plan.faults.map((it) => ({ ...it, a: fold(it.a, nodes), b: fold(it.b, nodes) })),
    work: plan.work.map((it) => ({
      ...it,
      key: fold(it.key, keys),
      node: fold(it.node, nodes),
      ...(it.path ? { path: it.path.map((key) => fold(key, keys)) } : {}),
    })),
    ...plan.trades && { trades: plan.trades.map((it) => ({ ...it, node: fold(it.node, nodes) })) },
  };
}

/** What clients and traders do. */
function operationsOf({ work, trades = [] }: Plan): readonly { readonly at: number }[] {
  return [...work, ...trades];
}

/** Heals soon after the last event, and keeps the time from healing to the end. */
function soonerHealed(plan: Plan): Plan {
  const ends = plan.faults.map(({ at, ms }) => at + ms);
  const last = Math.max(0, ...ends, ...operationsOf(plan).map(({ at }) => at));
  const by = Math.max(0, plan.healAt - Math.ceil(last) - REST_MS);
  return { ...plan, healAt: plan.healAt - by, endAt: plan.endAt - by };
}

/** Begins at once. */
function sooner(plan: Plan): Plan {
  const first = Math.min(
    plan.healAt,
    ...[...plan.faults, ...operationsOf(plan)].map(({ at }) => at),
  );
  const by = Math.max(0, Math.floor(first) - LEAD_MS);
  return {
    ...plan,
    faults: plan.faults.map((it) => ({ ...it, at: it.at - by })),
    work: plan.work.map((it) => ({ ...it, at: it.at - by })),
    ...plan.trades && { trades: plan.trades.map((it) => ({ ...it, at: it.at - by })) },
    healAt: plan.healAt - by,
    endAt: plan.endAt - by,
  };
}

/** Rounded to whole milliseconds, or to two digits. */
function rounded(plan: Plan): Plan {
  return {
    ...plan,
    faults: plan.faults.map((it) => ({ ...it, ...roundedFault(it) })),
    work: plan.work.map((it) => ({ ...it, at: Math.round(it.at) })),
    ...plan.trades && {
      trades: plan.trades.map((it) => ({ ...it, at: Math.round(it.at) })),
    },
  };
}

function roundedFault({ at, ms, x }: FaultEvent): Partial<FaultEvent> {
  return { at: Math.round(at), ms: Math.round(ms), x: Math.round(x * 100) / 100 };
}

function* faultChanges(fault: FaultEvent): Generator<Partial<FaultEvent>> {
  yield { b: 0 };
  yield { x: 0 };
  yield { ms: 0 };
  yield { a: 0 };
  yield roundedFault(fault);
}

function* worksOf(work: WorkEvent): Generator<WorkEvent> {
  for (const name of ["path", "giveUpMs", "isConfirmed", "isEverywhere"] as const) {
    yield without(work, name);
  }
  for (const at of (work.path ?? []).keys()) {
    yield { ...work, path: (work.path ?? []).toSpliced(at, 1) };
  }
  yield { ...work, count: 1 };
  yield { ...work, isKeyed: false };
  yield { ...work, client: 0 };
  yield { ...work, node: 0 };
  yield { ...work, key: 0 };
  yield { ...work, at: Math.round(work.at) };
}

/** The plan without optional parts. */
function without<T extends object, N extends keyof T>(it: T, name: N): Omit<T, N> {
  const { [name]: _, ...rest } = it;
  return rest;
}

export function* mastersCuts(plan: Plan): Generator<Plan> {
  const { masters } = plan;
  if (!masters) return;
  const { count, lagMs } = masters;
  if (count > 2) yield { ...plan, masters: { ...masters, count: count - 1 } };
  yield { ...plan, masters: { ...masters, lagMs: Math.floor(lagMs) } };
}

/** Simpler versions of a trade, the greatest simplification first. */
const FIELDS = [
  "behavior",
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
  for (const [at, signpost] of market.bootstraps.entries()) {
    if (signpost !== "registry") {
      yield plainer({ bootstraps: market.bootstraps.with(at, "registry") });
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

/** A trade with one field set to its default. */
function plain(trade: Trade, field: typeof FIELDS[number]): Trade {
  return { ...trade, [field]: PLAIN_TRADE[field] };
}
