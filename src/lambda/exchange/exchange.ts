/**
 * An exchange: matches the buy and sell orders of one module.
 *
 * Takes `order` and `cancel` from brokers; sends `match` to a buyer's broker when a seller has what
 * the order asks for. Matched capacity is held until either order's next revision, or for 5 s at
 * most. A broker's orders are dropped when the broker has ended or can't be reached. When the book
 * is full, an order that asks for nothing makes room for a new one; an order without room is
 * answered `full`, and its broker sends it again later. The exchange stops with the authority that
 * opened it.
 *
 * Source: `docs/design.md`, Modules.
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
  type OrderBook,
  type ProposedMatch,
  type StandingOrder,
  supplyOf,
} from "./matching.ts";

/** How long a match is held without a new revision, ms: longer than an opening takes. */
const HOLD_MS = 5_000;
/** The largest number of orders in one answer. */
const MAX_SHOWN = 4_096;
/** The least interval between two log events `exchange full`, ms. */
const LOG_INTERVAL_MS = 60_000;

export class Exchange extends Process {
  readonly #module: string;
  readonly #maxOrders: number;
  readonly #book: OrderBook = { buys: new Map(), sells: new Map() };
  /** Orders that ask for nothing, the oldest first. */
  readonly #idle: OrderBook = { buys: new Map(), sells: new Map() };
  readonly #byBroker = new Map<Address, Set<string>>();
  /** Buy orders to be matched after the messages that are queued now. */
  readonly #unmatched = new Set<StandingOrder>();
  #isPlanned = false;
  #isSweeping = false;
  #loggedAt = -Infinity;

  /** @param maxOrders most orders that it keeps. */
  constructor(module: string, maxOrders: number = MAX_ORDERS) {
    super();
    this.#module = module;
    this.#maxOrders = maxOrders;
  }

  protected override started(): void {
    this.context.watch(addressOf("", AUTHORITY));
  }

  receive(message: BusMessage, from: Address): void {
    switch (message.kind) {
      case "order":
        if (message.order.module === this.#module) this.#place(message.order, from);
        return;
      case "cancel":
        return this.#drop(keyOf(from, message.id));
      case "ask":
        return this.#answer(message, from);
      case "down":
        return this.#down(message.address);
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
    const side = order.side === "buy" ? this.#book.buys : this.#book.sells;
    const known = side.get(key);
    if (known) {
      if (order.revision <= known.order.revision) return;
      known.order = order;
      // The new quantity already reflects earlier matches.
      for (const found of [...known.matches]) this.#release(found);
    } else {
      if (!this.#hasRoom(order)) return this.#refuse(order, broker);
      side.set(key, { key, broker, order, matches: new Set(), held: 0, heldBetter: 0 });
      this.#addToBroker(broker, key);
    }
    const standing = side.get(key) as StandingOrder;
    const idle = order.side === "buy" ? this.#idle.buys : this.#idle.sells;
    idle.delete(key);
    if (asksForNothing(order)) idle.set(key, standing);
    if (order.side === "sell") return this.#rematch();
    this.#unmatched.add(standing);
    this.#plan();
  }

  /** Whether one more order fits; evicts one that asks for nothing if needed. */
  #hasRoom(order: Order): boolean {
    const { buys, sells } = this.#book;
    if (buys.size + sells.size < this.#maxOrders) return true;
    if (asksForNothing(order)) return false;
    const [first] = [...firstOf(this.#idle.buys), ...firstOf(this.#idle.sells)];
    if (first === undefined) return false;
    // The order's next revision adds it again.
    this.#drop(first);
    return true;
  }

  /** Answers `full`, unless the order asks for nothing. */
  #refuse(order: Order, broker: Address): void {
    if (asksForNothing(order)) return;
    this.context.send(broker, { kind: "full", id: order.id, revision: order.revision });
    if (this.context.now() - this.#loggedAt < LOG_INTERVAL_MS) return;
    this.#loggedAt = this.context.now();
    this.context.log("warning", "exchange full", { module: this.#module, orders: this.#maxOrders });
  }

  #addToBroker(broker: Address, key: string): void {
    const keys = this.#byBroker.get(broker);
    if (keys) return void keys.add(key);
    this.#byBroker.set(broker, new Set([key]));
    this.context.watch(broker);
  }

  #drop(key: string): void {
    const { buys, sells } = this.#book;
    const standing = buys.get(key) ?? sells.get(key);
    if (!standing) return;
    for (const found of [...standing.matches]) this.#release(found);
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

  /** Releases the capacity that a match holds. */
  #release(found: Match): void {
    const { buy, sell, quantity, isBetter } = found;
    if (!buy.matches.delete(found)) return;
    sell.matches.delete(found);
    sell.held -= quantity;
    if (isBetter) buy.heldBetter -= quantity;
    else buy.held -= quantity;
    this.#rematch();
  }

  /** Matches all buy orders again, because supply changed. */
  #rematch(): void {
    for (const buy of this.#book.buys.values()) this.#unmatched.add(buy);
    this.#plan();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.context.defer(() => {
      this.#isPlanned = false;
      const unmatched = [...this.#unmatched].filter(({ key }) => this.#book.buys.has(key));
      this.#unmatched.clear();
      const supply = supplyOf(this.#book);
      for (const buy of unmatched) this.#record(buy, match(buy, supply));
      // Orders that exchange capacity are matched last: they must not take capacity that another
      // buyer lacks.
      for (const buy of unmatched) this.#record(buy, improve(buy, supply));
    });
  }

  #record(buy: StandingOrder, proposals: readonly ProposedMatch[]): void {
    for (const { sell, quantity, isBetter } of proposals) {
      const found: Match = { buy, sell, quantity, isBetter, at: this.context.now() };
      buy.matches.add(found);
      sell.matches.add(found);
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
      for (const buy of this.#book.buys.values()) {
        for (const found of [...buy.matches]) {
          if (found.at <= due) this.#release(found);
          else isLeft = true;
        }
      }
      if (isLeft) this.#sweepLater();
    });
  }

  #answer({ nonce, what }: BusMessage & { kind: "ask" }, from: Address): void {
    if (what !== "book") return;
    const { buys, sells } = this.#book;
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

/** Whether an order can't be matched at this revision. */
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
