/**
 * Exchange: matches the buy and sell orders of one module.
 *
 * Takes `order` and `cancel` of brokers; gives `match` to a buyer's broker whenever a seller has
 * what it asks for. What it promised to a buyer it holds back until either order's next revision
 * tells what came of it, or for a few seconds at most. Orders of a broker that is gone are gone.
 * Where it keeps as many orders as it may, one that asks for nothing makes room for a new one;
 * an order for which there is no room is answered `full`, and its broker sends it again later.
 * It ends with the authority that opened it.
 *
 * Source: design §5, Exchange.
 */
import type { OrderView } from "../../api/modules.ts";
import { MAX_ORDERS } from "../../limits.ts";
import { type Address, addressOf, AUTHORITY } from "../bus/address.ts";
import type { BusMessage } from "../bus/messages.ts";
import type { Order } from "../bus/order.ts";
import { Process } from "../bus/process.ts";
import {
  improve,
  type Match,
  match,
  type Matches,
  type OrderBook,
  type StandingOrder,
  supplyOf,
} from "./matching.ts";

/** How long a match stands if nobody says what came of it, ms: longer than an opening takes. */
const HOLD_MS = 5_000;
/** Orders that one answer shows. */
const MAX_SHOWN = 4_096;
/** Between two lines of the log that say that it is full, ms. */
const TELL_MS = 60_000;

export class Exchange extends Process {
  readonly #module: string;
  readonly #most: number;
  readonly #board: OrderBook = { buys: new Map(), sells: new Map() };
  /** Orders that ask for nothing: those of buyers, then those of sellers, the oldest first. */
  readonly #idle: OrderBook = { buys: new Map(), sells: new Map() };
  readonly #byBroker = new Map<Address, Set<string>>();
  /** Buyers to be matched once all letters that are here were read. */
  readonly #unmatched = new Set<StandingOrder>();
  #isPlanned = false;
  #isSweeping = false;
  #toldAt = -Infinity;

  /** @param most orders that it keeps. */
  constructor(module: string, most: number = MAX_ORDERS) {
    super();
    this.#module = module;
    this.#most = most;
  }

  protected override started(): void {
    this.context.watch(addressOf("", AUTHORITY));
  }

  receive(letter: BusMessage, from: Address): void {
    switch (letter.kind) {
      case "order":
        if (letter.order.module === this.#module) this.#place(letter.order, from);
        return;
      case "cancel":
        return this.#drop(keyOf(from, letter.id));
      case "ask":
        return this.#answer(letter, from);
      case "down":
        return this.#down(letter.address);
    }
  }

  #down(address: Address): void {
    if (address === addressOf("", AUTHORITY)) {
      return this.context.stop(this.address, "its authority is gone");
    }
    for (const key of [...this.#byBroker.get(address) ?? []]) this.#drop(key);
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
      if (!this.#hasRoom(order)) return this.#refuse(order, broker);
      side.set(key, { key, broker, order, deals: new Set(), held: 0, heldBetter: 0 });
      this.#belong(broker, key);
    }
    const standing = side.get(key) as StandingOrder;
    const idle = order.side === "buy" ? this.#idle.buys : this.#idle.sells;
    idle.delete(key);
    if (asksForNothing(order)) idle.set(key, standing);
    if (order.side === "sell") return this.#rematch();
    this.#unmatched.add(standing);
    this.#plan();
  }

  /** Whether one more order may be kept; one that asks for nothing gives way to it. */
  #hasRoom(order: Order): boolean {
    const { buys, sells } = this.#board;
    if (buys.size + sells.size < this.#most) return true;
    if (asksForNothing(order)) return false;
    const [first] = [...firstOf(this.#idle.buys), ...firstOf(this.#idle.sells)];
    if (first === undefined) return false;
    // Its next revision brings it back.
    this.#drop(first);
    return true;
  }

  /** There is no room; to an order that asks for nothing that makes no difference. */
  #refuse(order: Order, broker: Address): void {
    if (asksForNothing(order)) return;
    this.context.send(broker, { kind: "full", id: order.id, revision: order.revision });
    if (this.context.now() - this.#toldAt < TELL_MS) return;
    this.#toldAt = this.context.now();
    this.context.tell("warning", "exchange full", { module: this.#module, orders: this.#most });
  }

  #belong(broker: Address, key: string): void {
    const keys = this.#byBroker.get(broker);
    if (keys) return void keys.add(key);
    this.#byBroker.set(broker, new Set([key]));
    this.context.watch(broker);
  }

  #drop(key: string): void {
    const { buys, sells } = this.#board;
    const standing = buys.get(key) ?? sells.get(key);
    if (!standing) return;
    for (const deal of [...standing.deals]) this.#release(deal);
    this.#idle.buys.delete(key);
    this.#idle.sells.delete(key);
    buys.delete(key);
    sells.delete(key);
    this.#unmatched.delete(standing);
    const keys = this.#byBroker.get(standing.broker);
    keys?.delete(key);
    if (keys?.size !== 0) return;
    this.#byBroker.delete(standing.broker);
    this.context.unwatch(standing.broker);
  }

  /** A promise is over; both sides are free to deal again. */
  #release(deal: Match): void {
    const { buy, sell, quantity, isBetter } = deal;
    if (!buy.deals.delete(deal)) return;
    sell.deals.delete(deal);
    sell.held -= quantity;
    if (isBetter) buy.heldBetter -= quantity;
    else buy.held -= quantity;
    this.#rematch();
  }

  /** What is offered changed: everybody is matched once more. */
  #rematch(): void {
    for (const buy of this.#board.buys.values()) this.#unmatched.add(buy);
    this.#plan();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.context.defer(() => {
      this.#isPlanned = false;
      const hungry = [...this.#unmatched].filter(({ key }) => this.#board.buys.has(key));
      this.#unmatched.clear();
      const supply = supplyOf(this.#board);
      for (const buy of hungry) this.#deal(buy, match(buy, supply));
      // Nobody changes what it has for something that another still lacks.
      for (const buy of hungry) this.#deal(buy, improve(buy, supply));
    });
  }

  #deal(buy: StandingOrder, allotments: readonly Matches[]): void {
    for (const { sell, quantity, isBetter } of allotments) {
      const deal: Match = { buy, sell, quantity, isBetter, at: this.context.now() };
      buy.deals.add(deal);
      sell.deals.add(deal);
      sell.held += quantity;
      if (isBetter) buy.heldBetter += quantity;
      else buy.held += quantity;
      this.context.send(buy.broker, {
        kind: "match",
        id: buy.order.id,
        revision: buy.order.revision,
        seller: sell.order.trader,
        offer: sell.order.id,
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
    this.context.after(HOLD_MS, () => {
      this.#isSweeping = false;
      const due = this.context.now() - HOLD_MS;
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

  #answer({ nonce, what }: BusMessage & { kind: "ask" }, from: Address): void {
    if (what !== "book") return;
    const { buys, sells } = this.#board;
    const shown = [...sells.values(), ...buys.values()].slice(0, MAX_SHOWN);
    this.context.send(from, {
      kind: "book",
      nonce,
      contact: this.context.self(),
      orders: shown.map(viewOf),
      sellers: shown.filter(({ order }) => order.side === "sell")
        .map(({ order }) => ({ seller: order.trader, contact: order.contact })),
    });
  }
}

/** Whether nobody can be matched with an order as it is. */
function asksForNothing({ quantity, nearby, newer }: Order): boolean {
  return quantity + nearby + newer === 0;
}

function firstOf(idle: ReadonlyMap<string, StandingOrder>): string[] {
  for (const key of idle.keys()) return [key];
  return [];
}

function keyOf(broker: Address, id: number): string {
  return `${broker}#${id}`;
}

function viewOf({ order, held }: StandingOrder): OrderView {
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
