/**
 * Exchange: the trading floor of one module, with two boards: wanted and offered.
 *
 * Takes `order` and `cancel` of brokers; gives `match` to a buyer's broker whenever a
 * seller has what it asks for. What it promised to a buyer it holds back until either
 * order's next revision tells what came of it, or for a few seconds at most. Orders of a
 * broker that is gone are gone.
 *
 * Source: design §5, Exchange.
 */
import { MAX_ORDERS } from "../limits.ts";
import type { Address } from "./address.ts";
import type { OrderView } from "./api.ts";
import type { Letter } from "./letters.ts";
import { allot, type Board, type Deal, type Standing } from "./matching.ts";
import type { Order } from "./order.ts";
import { Part } from "./part.ts";

/** How long a match stands if nobody says what came of it, ms: longer than an opening takes. */
const HOLD_MS = 5_000;
/** Orders that one answer shows. */
const MAX_SHOWN = 4_096;

export class Exchange extends Part {
  readonly #module: string;
  readonly #board: Board = { buys: new Map(), sells: new Map() };
  readonly #byBroker = new Map<Address, Set<string>>();
  /** Buyers to be matched once all letters that are here were read. */
  readonly #hungry = new Set<Standing>();
  #isPlanned = false;
  #isSweeping = false;

  constructor(module: string) {
    super();
    this.#module = module;
  }

  receive(letter: Letter, from: Address): void {
    switch (letter.kind) {
      case "order":
        if (letter.order.module === this.#module) this.#place(letter.order, from);
        return;
      case "cancel":
        return this.#drop(keyOf(from, letter.id));
      case "ask":
        return this.#answer(letter, from);
      case "down":
        for (const key of [...this.#byBroker.get(letter.address) ?? []]) this.#drop(key);
        return;
    }
  }

  #place(order: Order, broker: Address): void {
    const key = keyOf(broker, order.id);
    const side = order.side === "buy" ? this.#board.buys : this.#board.sells;
    const known = side.get(key);
    if (known) {
      if (order.revision <= known.order.revision) return;
      known.order = order;
      // What was promised before, the new quantity already tells of.
      for (const deal of [...known.deals]) this.#release(deal);
    } else {
      if (this.#board.buys.size + this.#board.sells.size >= MAX_ORDERS) return;
      side.set(key, { key, broker, order, deals: new Set(), held: 0, heldNear: 0 });
      this.#belong(broker, key);
    }
    if (order.side === "sell") return this.#rematch();
    this.#hungry.add(side.get(key) as Standing);
    this.#plan();
  }

  #belong(broker: Address, key: string): void {
    const keys = this.#byBroker.get(broker);
    if (keys) return void keys.add(key);
    this.#byBroker.set(broker, new Set([key]));
    this.desk.watch(broker);
  }

  #drop(key: string): void {
    const { buys, sells } = this.#board;
    const standing = buys.get(key) ?? sells.get(key);
    if (!standing) return;
    for (const deal of [...standing.deals]) this.#release(deal);
    buys.delete(key);
    // Without this offer another may be the newest.
    if (sells.delete(key)) this.#rematch();
    this.#hungry.delete(standing);
    const keys = this.#byBroker.get(standing.broker);
    keys?.delete(key);
    if (keys?.size !== 0) return;
    this.#byBroker.delete(standing.broker);
    this.desk.unwatch(standing.broker);
  }

  /** A promise is over; both sides are free to deal again. */
  #release(deal: Deal): void {
    const { buy, sell, quantity, isNear } = deal;
    if (!buy.deals.delete(deal)) return;
    sell.deals.delete(deal);
    sell.held -= quantity;
    if (isNear) buy.heldNear -= quantity;
    else buy.held -= quantity;
    this.#rematch();
  }

  /** What is offered changed: everybody is matched once more. */
  #rematch(): void {
    for (const buy of this.#board.buys.values()) this.#hungry.add(buy);
    this.#plan();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.desk.soon(() => {
      this.#isPlanned = false;
      const hungry = [...this.#hungry];
      this.#hungry.clear();
      for (const buy of hungry) if (this.#board.buys.has(buy.key)) this.#match(buy);
    });
  }

  #match(buy: Standing): void {
    for (const { sell, quantity, isNear } of allot(buy, this.#board)) {
      const deal: Deal = { buy, sell, quantity, isNear, at: this.desk.now() };
      buy.deals.add(deal);
      sell.deals.add(deal);
      sell.held += quantity;
      if (isNear) buy.heldNear += quantity;
      else buy.held += quantity;
      this.desk.send(buy.broker, {
        kind: "match",
        id: buy.order.id,
        revision: buy.order.revision,
        seller: sell.order.trader,
        contact: sell.order.contact,
        quantity,
        version: sell.order.version,
      });
      this.#sweepLater();
    }
  }

  #sweepLater(): void {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    this.desk.after(HOLD_MS, () => {
      this.#isSweeping = false;
      const due = this.desk.now() - HOLD_MS;
      let isLeft = false;
      for (const buy of this.#board.buys.values()) {
        for (const deal of [...buy.deals]) {
          if (deal.at <= due) this.#release(deal);
          else isLeft = true;
        }
      }
      if (isLeft) this.#sweepLater();
    });
  }

  #answer({ nonce, what }: Letter & { kind: "ask" }, from: Address): void {
    if (what !== "book") return;
    const { buys, sells } = this.#board;
    const shown = [...sells.values(), ...buys.values()].slice(0, MAX_SHOWN);
    this.desk.send(from, {
      kind: "book",
      nonce,
      contact: this.desk.self(),
      orders: shown.map(viewOf),
      sellers: shown.filter(({ order }) => order.side === "sell")
        .map(({ order }) => ({ seller: order.trader, contact: order.contact })),
    });
  }
}

function keyOf(broker: Address, id: number): string {
  return `${broker}#${id}`;
}

function viewOf({ order, held }: Standing): OrderView {
  const { side, id, revision, quantity, contact, version, range } = order;
  const { region, node, incarnation } = contact;
  return {
    side,
    region,
    node,
    incarnation,
    id,
    revision,
    quantity,
    held,
    version: side === "sell" ? version : range,
  };
}
