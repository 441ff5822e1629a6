/**
 * The sell orders of one listener: divides its capacity among them and tracks what is granted.
 *
 * A buyer is granted capacity of the orders for its region first, then of those for all regions.
 */
import type { SellOrder } from "../../api/modules.ts";
import type { Order } from "../bus/order.ts";

/** One sell order. */
export class Offer {
  readonly capacity: number;
  /** Regions whose buyers it serves; empty: all. */
  readonly regions: readonly string[];
  granted = 0;
  /** The order as last sent to the broker. */
  order: Order | null = null;

  constructor({ capacity, regions = [] }: SellOrder) {
    this.capacity = capacity;
    this.regions = regions;
  }

  get free(): number {
    return this.capacity - this.granted;
  }

  serves(region: string): boolean {
    return this.regions.length === 0 || this.regions.includes(region);
  }
}

/** The capacity that one channel holds of each order. What was granted last is returned first. */
export type ChannelGrant = Map<Offer, number>;

export class Offers {
  readonly all: readonly Offer[];

  constructor(orders: readonly SellOrder[]) {
    this.all = orders.map((order) => new Offer(order));
  }

  get granted(): number {
    return this.all.reduce((sum, { granted }) => sum + granted, 0);
  }

  /** The free capacity for a buyer in this region. */
  free(region: string): number {
    return this.#for(region).reduce((sum, { free }) => sum + free, 0);
  }

  /** Grants up to `quantity` of what is free for that region. */
  grant(quantity: number, region: string): ChannelGrant {
    const held: ChannelGrant = new Map();
    let left = quantity;
    for (const offer of this.#for(region)) {
      const part = Math.min(left, offer.free);
      if (part <= 0) continue;
      offer.granted += part;
      held.set(offer, part);
      left -= part;
    }
    return held;
  }

  /** Grants what a channel of a failed listener still holds, from any order. */
  adopt(quantity: number): ChannelGrant {
    const held: ChannelGrant = new Map();
    let left = quantity;
    for (const offer of this.all) {
      const part = Math.min(left, offer.free);
      if (part <= 0) continue;
      offer.granted += part;
      held.set(offer, part);
      left -= part;
    }
    return held;
  }

  /** Releases `quantity` of what a channel holds. */
  release(held: ChannelGrant, quantity: number): void {
    let left = quantity;
    for (const [offer, part] of [...held].reverse()) {
      const back = Math.min(left, part);
      offer.granted -= back;
      held.set(offer, part - back);
      left -= back;
    }
  }

  #for(region: string): Offer[] {
    return this.all.filter((offer) => offer.serves(region))
      .sort((a, b) => Number(a.regions.length === 0) - Number(b.regions.length === 0));
  }
}

/** What a channel holds, over all orders. */
export function sumOf(held: ChannelGrant): number {
  let sum = 0;
  for (const part of held.values()) sum += part;
  return sum;
}
