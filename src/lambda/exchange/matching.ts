/**
 * Matching: which sellers a buyer is told of, and for how much.
 *
 * Takes a standing buy order and what is on offer; gives allotments, and changes nothing. Who
 * names a range takes every version in it alike. Who names none takes stable versions only, the
 * newest first, and older ones for what the newer have no room for. Within that: region, then
 * spread over nodes, then capacity.
 *
 * Source: design §5, Exchange.
 */
import type { Address } from "../bus/address.ts";
import { accepts, compareVersions } from "../../api/module.ts";
import type { Order } from "../bus/order.ts";
import { fairShare } from "../fair_share.ts";

/** An order on the board, and what is promised of it. */
export interface StandingOrder {
  readonly key: string;
  readonly broker: Address;
  order: Order;
  readonly deals: Set<Match>;
  /** Promised of its quantity; and of what a buyer would take in place of what it has. */
  held: number;
  heldBetter: number;
}

/** A promise: this seller was named to that buyer. */
export interface Match {
  readonly buy: StandingOrder;
  readonly sell: StandingOrder;
  readonly quantity: number;
  /** It is to take the place of something that the buyer has. */
  readonly isBetter: boolean;
  /** Monotonic ms. */
  readonly at: number;
}

export interface OrderBook {
  readonly buys: Map<string, StandingOrder>;
  readonly sells: Map<string, StandingOrder>;
}

export type Matches = Pick<Match, "sell" | "quantity" | "isBetter">;

/** Sell orders of one version that had room when they were looked at. */
export interface VersionSupply {
  readonly version: string;
  readonly sells: readonly StandingOrder[];
}

/** What is on offer, the newest version first. */
export function supplyOf({ sells }: OrderBook): VersionSupply[] {
  const open = [...sells.values()].filter((sell) => room(sell) > 0);
  return [...grouped(open, ({ order }) => order.version)]
    .map(([version, sells]) => ({ version, sells }))
    .sort((a, b) => compareVersions(b.version, a.version));
}

/** Sellers for what a buyer lacks. */
export function match(buy: StandingOrder, supply: readonly VersionSupply[]): Matches[] {
  const { order } = buy;
  let need = order.quantity - buy.held;
  const allotments: Matches[] = [];
  for (const sells of need > 0 ? tiers(buy, supply) : []) {
    for (const [sell, quantity] of fill(sells, need, order)) {
      allotments.push({ sell, quantity, isBetter: false });
      need -= quantity;
    }
  }
  return allotments;
}

/** Sellers for what a buyer has, and would rather have of others: newer code, or nearby. */
export function improve(buy: StandingOrder, supply: readonly VersionSupply[]): Matches[] {
  const { order } = buy;
  const { range, than } = order;
  const allotments: Matches[] = [];
  const take = (found: ReadonlyMap<StandingOrder, number>): void => {
    for (const [sell, quantity] of found) allotments.push({ sell, quantity, isBetter: true });
  };
  const left = (most: number): number =>
    allotments.reduce((sum, { quantity }) => sum - quantity, most - buy.heldBetter);
  if (range === null && than === "") return [];
  for (const shelf of left(order.newer) > 0 && range === null ? supply : []) {
    if (compareVersions(shelf.version, than) <= 0) break;
    if (accepts(null, shelf.version)) take(fill(openTo(buy, shelf), left(order.newer), order));
  }
  if (left(order.nearby) <= 0) return allotments;
  const shelves = range === null
    ? supply.filter(({ version }) => version === than)
    : supply.filter(({ version }) => accepts(range, version));
  const here = shelves.flatMap((shelf) => openTo(buy, shelf))
    .filter((sell) => regionOf(sell) === order.contact.region);
  take(overNodes(here, left(order.nearby)));
  return allotments;
}

/** Whom a buyer may be told of: one group after another, as far as each has room. */
function tiers(buy: StandingOrder, supply: readonly VersionSupply[]): StandingOrder[][] {
  const { range } = buy.order;
  const fit = supply.filter(({ version }) => accepts(range, version));
  const groups = fit.map((shelf) => openTo(buy, shelf));
  return range === null ? groups : [groups.flat()];
}

/** The sellers of a version that serve the buyer's region and were not named to it before. */
function openTo(buy: StandingOrder, { sells }: VersionSupply): StandingOrder[] {
  const { region } = buy.order.contact;
  const known = new Set([...buy.deals].map((deal) => deal.sell));
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

/** One region after another, the best first. */
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

/** All regions alike. */
function spread(sells: readonly StandingOrder[], need: number): Map<StandingOrder, number> {
  const found = new Map<StandingOrder, number>();
  const groups = [...grouped(sells, regionOf).values()];
  const parts = fairShare(Math.max(0, need), groups.map(roomOf));
  groups.forEach((group, at) => {
    for (const [sell, quantity] of overNodes(group, parts[at] as number)) found.set(sell, quantity);
  });
  return found;
}

/** All nodes alike; on one node the sellers with most capacity first. */
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
