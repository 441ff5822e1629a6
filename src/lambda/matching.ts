/**
 * Matching: which sellers a buyer is introduced to, and for how much.
 *
 * Takes a standing buy order and the board; gives allotments, and changes nothing. Order
 * of choice: version, then region, then spread over nodes, then capacity.
 *
 * Source: design §5, Exchange.
 */
import type { Address } from "./address.ts";
import { accepts, compareVersions } from "./module.ts";
import type { Order } from "./order.ts";
import { share } from "./share.ts";

/** An order on the board, and what is promised of it. */
export interface Standing {
  readonly key: string;
  readonly broker: Address;
  order: Order;
  readonly deals: Set<Deal>;
  /** Promised of its quantity; and of what a buyer would take nearby. */
  held: number;
  heldNear: number;
}

/** A promise: this seller was named to that buyer. */
export interface Deal {
  readonly buy: Standing;
  readonly sell: Standing;
  readonly quantity: number;
  readonly isNear: boolean;
  /** Monotonic ms. */
  readonly at: number;
}

export interface Board {
  readonly buys: Map<string, Standing>;
  readonly sells: Map<string, Standing>;
}

export type Allotment = Pick<Deal, "sell" | "quantity" | "isNear">;

/** What a buyer can be offered now. */
export function allot(buy: Standing, { sells }: Board): Allotment[] {
  const { order } = buy;
  const need = order.quantity - buy.held;
  const nearby = order.nearby - buy.heldNear;
  if (need <= 0 && nearby <= 0) return [];
  const known = new Set([...buy.deals].map((deal) => deal.sell));
  const fit = suitable(order, [...sells.values()]).filter((sell) => !known.has(sell));
  const found = order.prefer === "spread" ? spread(fit, need) : near(fit, need, order.regions);
  const allotments = [...found].map(([sell, quantity]) => ({ sell, quantity, isNear: false }));
  // In the region where a buyer would rather be, it takes what it has elsewhere once more.
  const here = fit.filter((sell) => regionOf(sell) === order.contact.region && !found.has(sell));
  for (const [sell, quantity] of overNodes(here, nearby)) {
    allotments.push({ sell, quantity, isNear: true });
  }
  return allotments;
}

/** Sellers of a version that the buyer takes; of the newest stable one, where it names none. */
function suitable({ range }: Order, sells: readonly Standing[]): Standing[] {
  let fit = sells.filter(({ order }) => accepts(range, order.version));
  if (range === null) {
    // Also where the newest is sold out: a buyer does not get older code by chance.
    const newest = fit.reduce(
      (best, { order }) =>
        best === null || compareVersions(order.version, best) > 0 ? order.version : best,
      null as string | null,
    );
    fit = fit.filter(({ order }) => order.version === newest);
  }
  return fit.filter((sell) => room(sell) > 0);
}

/** One region after another, the best first. */
function near(
  sells: readonly Standing[],
  need: number,
  ranking: readonly string[],
): Map<Standing, number> {
  const found = new Map<Standing, number>();
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
function spread(sells: readonly Standing[], need: number): Map<Standing, number> {
  const found = new Map<Standing, number>();
  const groups = [...grouped(sells, regionOf).values()];
  const parts = share(Math.max(0, need), groups.map(roomOf));
  groups.forEach((group, at) => {
    for (const [sell, quantity] of overNodes(group, parts[at] as number)) found.set(sell, quantity);
  });
  return found;
}

/** All nodes alike; on one node the sellers with most capacity first. */
function overNodes(sells: readonly Standing[], need: number): Map<Standing, number> {
  const found = new Map<Standing, number>();
  if (need <= 0) return found;
  const nodes = [...grouped(sells, ({ order }) => order.contact.incarnation).values()]
    .sort((a, b) => roomOf(b) - roomOf(a));
  const parts = share(need, nodes.map(roomOf));
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

function room({ order, held }: Standing): number {
  return order.quantity - held;
}

function roomOf(group: readonly Standing[]): number {
  return group.reduce((sum, sell) => sum + room(sell), 0);
}

function regionOf({ order }: Standing): string {
  return order.contact.region;
}

function grouped(
  sells: readonly Standing[],
  keyOf: (sell: Standing) => string,
): Map<string, Standing[]> {
  const groups = new Map<string, Standing[]>();
  for (const sell of sells) {
    const key = keyOf(sell);
    const group = groups.get(key);
    if (group) group.push(sell);
    else groups.set(key, [sell]);
  }
  return groups;
}
