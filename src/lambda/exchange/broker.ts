/**
 * Broker: passes the orders of a node's traders on to all exchanges of their modules.
 *
 * Takes `order` and `cancel` of traders here, `news` of authorities and the bootstrap, `match` and
 * `full` of exchanges. Gives orders to all exchanges of the module, old and new, and each match to
 * its trader: once, however many exchanges found it, and never more than the order still asks for.
 * An order for which an exchange had no room is sent there again later; one for which there is no
 * room here is answered `full`.
 *
 * Source: design §5, Broker.
 */
import { MAX_ORDERS, MAX_PEERS } from "../../limits.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, nodeOf } from "../bus/address.ts";
import type { BusMessage, BusMessageOf, Knowledge } from "../bus/messages.ts";
import type { Order } from "../bus/order.ts";
import { Process } from "../bus/process.ts";

/** The pause before an order is sent again to an exchange that had no room for it, ms: from, to. */
const AGAIN_MS = [1_000, 10_000] as const;

interface Entry {
  order: Order;
  readonly trader: Address;
  /** What was passed on of each sell order at this revision, over all exchanges. */
  readonly passed: Map<string, number>;
  /** What is still asked for at this revision. */
  remaining: number;
}

export class Broker extends Process {
  readonly #authorities = new Map<Address, Peer>();
  /** Those that have answered. */
  readonly #met = new Set<Address>();
  readonly #exchanges = new Map<string, Set<Address>>();
  readonly #orders = new Map<number, Entry>();
  readonly #byTrader = new Map<Address, Set<number>>();
  /** How many orders there are of each module. */
  readonly #modules = new Map<string, number>();
  readonly #bootstrap: Address;
  readonly #most: number;
  /** Orders to be sent again, by exchange. */
  readonly #again = new Map<Address, Set<number>>();
  #timer: Timer | null = null;
  #attempts = 0;

  /** @param most orders that it keeps. */
  constructor(bootstrap: Address, most: number = MAX_ORDERS) {
    super();
    this.#bootstrap = bootstrap;
    this.#most = most;
  }

  receive(letter: BusMessage, from: Address): void {
    switch (letter.kind) {
      case "order":
        // Only traders of this node have it for a broker.
        return nodeOf(from) === "" ? this.#place(letter.order, from) : undefined;
      case "cancel":
        return this.#cancel(letter.id, from);
      case "match":
        return this.#matched(letter, from);
      case "full":
        return this.#crowded(letter, from);
      case "news":
        this.#heard(from);
        return this.#learn(letter);
      case "seek":
        return this.#tellOf(from);
      case "ask":
        return this.#answer(letter, from);
      case "down":
        return this.#down(letter.address);
    }
  }

  #place(order: Order, trader: Address): void {
    const entry = this.#orders.get(order.id);
    if (entry) {
      if (order.revision <= entry.order.revision) return;
      entry.order = order;
      entry.passed.clear();
      entry.remaining = mostOf(order);
    } else {
      if (this.#orders.size >= this.#most) {
        this.context.tell("warning", "order refused", { module: order.module, orders: this.#most });
        return this.context.send(trader, { kind: "full", id: order.id, revision: order.revision });
      }
      const remaining = mostOf(order);
      this.#orders.set(order.id, { order, trader, passed: new Map(), remaining });
      this.#enlist(trader, order);
    }
    const { module } = order;
    for (const exchange of this.#exchanges.get(module) ?? []) {
      this.context.send(exchange, { kind: "order", order });
    }
  }

  #enlist(trader: Address, { id, module }: Order): void {
    const ids = this.#byTrader.get(trader);
    if (ids) {
      ids.add(id);
    } else {
      this.#byTrader.set(trader, new Set([id]));
      this.context.watch(trader);
    }
    const count = this.#modules.get(module) ?? 0;
    this.#modules.set(module, count + 1);
    if (count > 0) return;
    for (const authority of this.#authorities.keys()) {
      this.context.send(authority, { kind: "interest", modules: [module] });
    }
  }

  #cancel(id: number, trader: Address): void {
    const ids = this.#byTrader.get(trader);
    const entry = this.#orders.get(id);
    if (!ids?.delete(id) || !entry) return;
    this.#orders.delete(id);
    const { module } = entry.order;
    for (const exchange of this.#exchanges.get(module) ?? []) {
      this.context.send(exchange, { kind: "cancel", id });
    }
    if (ids.size === 0) {
      this.#byTrader.delete(trader);
      this.context.unwatch(trader);
    }
    const left = (this.#modules.get(module) ?? 1) - 1;
    if (left > 0) this.#modules.set(module, left);
    else this.#lostInterest(module);
  }

  #lostInterest(module: string): void {
    this.#modules.delete(module);
    for (const exchange of this.#exchanges.get(module) ?? []) this.context.unwatch(exchange);
    this.#exchanges.delete(module);
    for (const authority of this.#authorities.keys()) {
      this.context.send(authority, { kind: "bored", modules: [module] });
    }
  }

  #matched(match: BusMessage & { kind: "match" }, exchange: Address): void {
    const entry = this.#orders.get(match.id);
    if (!entry || match.revision !== entry.order.revision) return;
    if (!this.#exchanges.get(entry.order.module)?.has(exchange)) return;
    // Another exchange may have found the same seller: only what it found beyond counts.
    const offer = `${match.seller} ${match.offer}`;
    const before = entry.passed.get(offer) ?? 0;
    const quantity = Math.min(match.quantity - before, entry.remaining);
    if (quantity <= 0) return;
    entry.passed.set(offer, before + quantity);
    entry.remaining -= quantity;
    this.context.send(entry.order.trader, { ...match, quantity });
  }

  /** An exchange had no room for an order. */
  #crowded({ id, revision }: BusMessageOf<"full">, exchange: Address): void {
    const entry = this.#orders.get(id);
    if (!entry || revision !== entry.order.revision) return;
    const { module } = entry.order;
    if (!this.#exchanges.get(module)?.has(exchange)) return;
    const ids = this.#again.get(exchange) ?? new Set();
    this.#again.set(exchange, ids.add(id));
    if (this.#timer) return;
    this.context.tell("warning", "order waits", { module, why: "its exchange is full" });
    const [least, most] = AGAIN_MS;
    const full = Math.min(most, least * 2 ** Math.min(this.#attempts++, 8));
    this.#timer = this.context.after(
      full * (0.5 + this.context.random() / 2),
      () => this.#sendAgain(),
    );
  }

  #sendAgain(): void {
    this.#timer = null;
    const again = [...this.#again];
    this.#again.clear();
    for (const [exchange, ids] of again) {
      for (const id of ids) {
        const order = this.#orders.get(id)?.order;
        if (order && this.#exchanges.get(order.module)?.has(exchange)) {
          this.context.send(exchange, { kind: "order", order });
        }
      }
    }
  }

  #learn({ authorities, exchanges }: Knowledge): void {
    for (const peer of authorities) this.#meet(peer);
    for (const { module, exchange } of exchanges) {
      if (!this.#modules.has(module)) continue;
      const known = this.#exchanges.get(module) ?? new Set();
      if (known.has(exchange) || known.size >= MAX_PEERS) continue;
      this.#exchanges.set(module, known.add(exchange));
      this.context.watch(exchange);
      for (const { order } of this.#orders.values()) {
        if (order.module === module) this.context.send(exchange, { kind: "order", order });
      }
    }
  }

  /** An authority that was only told of before answers. */
  #heard(from: Address): void {
    const peer = this.#authorities.get(from);
    if (!peer || nodeOf(from) === "" || this.#met.has(from)) return;
    this.#met.add(from);
    this.context.send(this.#bootstrap, { kind: "met", peer });
  }

  #meet(peer: Peer): void {
    const contact = this.context.self();
    const node = peer.incarnation === contact.incarnation ? "" : peer.incarnation;
    const authority = addressOf(node, AUTHORITY);
    if (this.#authorities.has(authority) || this.#authorities.size >= MAX_PEERS) return;
    this.#authorities.set(authority, peer);
    this.context.watch(authority);
    this.context.send(authority, { kind: "join", contact, modules: [...this.#modules.keys()] });
  }

  #tellOf(seeker: Address): void {
    const contact = this.context.self();
    const authorities = [...this.#authorities].map(([address, peer]) =>
      nodeOf(address) === "" ? contact : peer
    );
    this.context.send(seeker, { kind: "news", contact, authorities, exchanges: [] });
  }

  #answer({ nonce, what }: BusMessage & { kind: "ask" }, from: Address): void {
    if (what !== "mesh") return;
    const contact = this.context.self();
    this.context.send(from, {
      kind: "mesh",
      nonce,
      contact,
      authorities: [...this.#authorities].map(([address, peer]) =>
        nodeOf(address) === "" ? contact : peer
      ),
      brokers: 1,
      modules: [...this.#modules.keys()].sort(),
    });
  }

  #down(address: Address): void {
    const authority = this.#authorities.get(address);
    if (authority) {
      this.#authorities.delete(address);
      this.#met.delete(address);
      this.context.send(this.#bootstrap, { kind: "lost", peer: authority });
      this.context.send(this.#bootstrap, { kind: "search", now: false });
    }
    for (const known of this.#exchanges.values()) known.delete(address);
    this.#again.delete(address);
    for (const id of [...this.#byTrader.get(address) ?? []]) this.#cancel(id, address);
  }
}

/** What a trader may take of all matches at one revision. */
function mostOf({ quantity, nearby, newer }: Order): number {
  return quantity + Math.max(nearby, newer);
}
