/**
 * Decides which sellers a buy order is matched with, and for how much. Changes nothing.
 *
 * An order with a range accepts all versions in it alike. An order without one accepts stable
 * versions only, the newest first, and older versions for what the newer ones can't supply. Within
 * a version: by region, then spread over nodes, then by capacity.
 *
 * Source: `docs/design.md`, Modules.
 */
import { accepts, compareVersions } from "../../api/module.ts";
import type { Address } from "../bus/address.ts";
import { fairShare } from "../bus/fair_share.ts";
import type { Order } from "../bus/order.ts";

/** An order in the book, and the quantity of it that is held for matches. */
export interface StandingOrder {
  readonly key: string;
  readonly broker: Address;
  order: Order;
  readonly matches: Set<Match>;
  /**
   * The quantity held for matches: of what is wanted or free, and of what a buyer would exchange.
   */
  held: number;
  heldBetter: number;
}

/** A match of a buy order with a sell order. */
export interface Match {
  readonly buy: StandingOrder;
  readonly sell: StandingOrder;
  readonly quantity: number;
  /** It replaces capacity that the buyer has. */
  readonly isBetter: boolean;
  /** Monotonic ms. */
  readonly at: number;
}

export interface OrderBook {
  readonly buys: Map<string, StandingOrder>;
  readonly sells: Map<string, StandingOrder>;
}

export type ProposedMatch = Pick<Match, "sell" | "quantity" | "isBetter">;

/** The sell orders of one version that have capacity left. */
export interface VersionSupply {
  readonly version: string;
  readonly sells: readonly StandingOrder[];
}

/** The sell orders with capacity left, the newest version first. */
export function supplyOf({ sells }: OrderBook): VersionSupply[] {
  const open = [...sells.values()].filter((sell) => room(sell) > 0);
  return [...grouped(open, ({ order }) => order.version)]
    .map(([version, sells]) => ({ version, sells }))
    .sort((a, b) => compareVersions(b.version, a.version));
}

/** Matches for what a buyer lacks. */
export function match(buy: StandingOrder, supply: readonly VersionSupply[]): ProposedMatch[] {
  const { order } = buy;
  let need = order.quantity - buy.held;
  const proposals: ProposedMatch[] = [];
  for (const sells of need > 0 ? tiers(buy, supply) : []) {
    for (const [sell, quantity] of fill(sells, need, order)) {
      proposals.push({ sell, quantity, isBetter: false });
      need -= quantity;
    }
  }
  return proposals;
}

/** Matches that replace what a buyer has by newer code or by capacity in its region. */
export function improve(buy: StandingOrder, supply: readonly VersionSupply[]): ProposedMatch[] {
  const { order } = buy;
  const { range, than } = order;
  const proposals: ProposedMatch[] = [];
  const take = (found: ReadonlyMap<StandingOrder, number>): void => {
    for (const [sell, quantity] of found) proposals.push({ sell, quantity, isBetter: true });
  };
  const left = (most: number): number =>
    proposals.reduce((sum, { quantity }) => sum - quantity, most - buy.heldBetter);
  if (range === null && than === "") return [];
  for (const offered of left(order.newer) > 0 && range === null ? supply : []) {
    if (compareVersions(offered.version, than) <= 0) break;
    if (accepts(null, offered.version)) take(fill(openTo(buy, offered), left(order.newer), order));
  }
  if (left(order.nearby) <= 0) return proposals;
  const offers = range === null
    ? supply.filter(({ version }) => version === than)
    : supply.filter(({ version }) => accepts(range, version));
  const nearby = offers.flatMap((offered) => openTo(buy, offered))
    .filter((sell) => regionOf(sell) === order.contact.region);
  take(overNodes(nearby, left(order.nearby)));
  return proposals;
}

/** The sell orders that fit a buy order, in groups of falling preference. */
function tiers(buy: StandingOrder, supply: readonly VersionSupply[]): StandingOrder[][] {
  const { range } = buy.order;
  const fit = supply.filter(({ version }) => accepts(range, version));
  const groups = fit.map((offered) => openTo(buy, offered));
  return range === null ? groups : [groups.flat()];
}

/** The sell orders of a version that serve the buyer's region and are not matched with it yet. */
function openTo(buy: StandingOrder, { sells }: VersionSupply): StandingOrder[] {
  const { region } = buy.order.contact;
  const known = new Set([...buy.matches].map((match) => match.sell));
  return sells.filter((sell) => {
    const { regions } = sell.order;
    const isOpen = regions.length === 0 || regions.includes(region);
    return isOpen && room(sell) > 0 && !known.has(sell);
  });
}

function fill(
  sells: readonly StandingOrder[],
  need: number,
  { prefer, regions }: Order,
): Map<StandingOrder, number> {
  return prefer === "spread" ? spread(sells, need) : near(sells, need, regions);
}

/** Fills one region after another, the best first. */
function near(
  sells: readonly StandingOrder[],
  need: number,
  ranking: readonly string[],
): Map<StandingOrder, number> {
  const found = new Map<StandingOrder, number>();
  const regions = [...grouped(sells, regionOf)].map(([region, group]) => {
    const at = ranking.indexOf(region);
    return { group, rank: at < 0 ? ranking.length : at };
  }).sort((a, b) => a.rank - b.rank);
  let left = need;
  for (const { group } of regions) {
    for (const [sell, quantity] of overNodes(group, left)) {
      found.set(sell, quantity);
      left -= quantity;
    }
  }
  return found;
}

/** Spreads over all regions evenly. */
function spread(sells: readonly StandingOrder[], need: number): Map<StandingOrder, number> {
  const found = new Map<StandingOrder, number>();
  const groups = [...grouped(sells, regionOf).values()];
  const parts = fairShare(Math.max(0, need), groups.map(roomOf));
  groups.forEach((group, at) => {
    for (const [sell, quantity] of overNodes(group, parts[at] as number)) found.set(sell, quantity);
  });
  return found;
}

/** Spreads over all nodes evenly; on one node the sellers with most capacity first. */
function overNodes(sells: readonly StandingOrder[], need: number): Map<StandingOrder, number> {
  const found = new Map<StandingOrder, number>();
  if (need <= 0) return found;
  const nodes = [...grouped(sells, ({ order }) => order.contact.incarnation).values()]
    .sort((a, b) => roomOf(b) - roomOf(a));
  const parts = fairShare(need, nodes.map(roomOf));
  nodes.forEach((group, at) => {
    let left = parts[at] as number;
    for (const sell of [...group].sort((a, b) => room(b) - room(a))) {
      const quantity = Math.min(left, room(sell));
      if (quantity > 0) found.set(sell, quantity);
      left -= quantity;
    }
  });
  return found;
}

function room({ order, held }: StandingOrder): number {
  return order.quantity - held;
}

function roomOf(group: readonly StandingOrder[]): number {
  return group.reduce((sum, sell) => sum + room(sell), 0);
}

function regionOf({ order }: StandingOrder): string {
  return order.contact.region;
}

function grouped(
  sells: readonly StandingOrder[],
  keyOf: (sell: StandingOrder) => string,
): Map<string, StandingOrder[]> {
  const groups = new Map<string, StandingOrder[]>();
  for (const sell of sells) {
    const key = keyOf(sell);
    const group = groups.get(key);
    if (group) group.push(sell);
    else groups.set(key, [sell]);
  }
  return groups;
}
