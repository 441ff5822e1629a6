/**
 * Broker: the one agent of a node's traders, who knows every floor where their goods
 * are traded and hands in their slips at all of them.
 *
 * Takes `order` and `cancel` of traders here, `news` of authorities and the bootstrap, and
 * `match` of exchanges. Gives orders to all exchanges of the module, old and new, and each
 * match to its trader: once, however many exchanges found it, and never more than the
 * order still asks for.
 *
 * Source: design §5, Broker.
 */
import { MAX_ORDERS, MAX_PEERS } from "../limits.ts";
import type { Peer } from "../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, nodeOf } from "./address.ts";
import type { Knowledge, Letter } from "./letters.ts";
import type { Order } from "./order.ts";
import { Part } from "./part.ts";

interface Entry {
  order: Order;
  /** What was passed on of each seller at this revision, over all exchanges. */
  readonly passed: Map<Address, number>;
  /** What is still asked for at this revision. */
  remaining: number;
}

export class Broker extends Part {
  readonly #authorities = new Map<Address, Peer>();
  readonly #exchanges = new Map<string, Set<Address>>();
  readonly #orders = new Map<number, Entry>();
  readonly #byTrader = new Map<Address, Set<number>>();
  /** How many orders there are of each module. */
  readonly #modules = new Map<string, number>();
  readonly #bootstrap: Address;

  constructor(bootstrap: Address) {
    super();
    this.#bootstrap = bootstrap;
  }

  receive(letter: Letter, from: Address): void {
    switch (letter.kind) {
      case "order":
        // Only traders of this node have it for a broker.
        return nodeOf(from) === "" ? this.#place(letter.order, from) : undefined;
      case "cancel":
        return this.#cancel(letter.id, from);
      case "match":
        return this.#matched(letter, from);
      case "news":
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
      entry.remaining = order.quantity + order.nearby;
    } else {
      if (this.#orders.size >= MAX_ORDERS) {
        return this.desk.tell("warning", "order refused", { module: order.module });
      }
      const remaining = order.quantity + order.nearby;
      this.#orders.set(order.id, { order, passed: new Map(), remaining });
      this.#enlist(trader, order);
    }
    const { module } = order;
    for (const exchange of this.#exchanges.get(module) ?? []) {
      this.desk.send(exchange, { kind: "order", order });
    }
  }

  #enlist(trader: Address, { id, module }: Order): void {
    const ids = this.#byTrader.get(trader);
    if (ids) {
      ids.add(id);
    } else {
      this.#byTrader.set(trader, new Set([id]));
      this.desk.watch(trader);
    }
    const count = this.#modules.get(module) ?? 0;
    this.#modules.set(module, count + 1);
    if (count > 0) return;
    for (const authority of this.#authorities.keys()) {
      this.desk.send(authority, { kind: "interest", modules: [module] });
    }
  }

  #cancel(id: number, trader: Address): void {
    const ids = this.#byTrader.get(trader);
    const entry = this.#orders.get(id);
    if (!ids?.delete(id) || !entry) return;
    this.#orders.delete(id);
    const { module } = entry.order;
    for (const exchange of this.#exchanges.get(module) ?? []) {
      this.desk.send(exchange, { kind: "cancel", id });
    }
    if (ids.size === 0) {
      this.#byTrader.delete(trader);
      this.desk.unwatch(trader);
    }
    const left = (this.#modules.get(module) ?? 1) - 1;
    if (left > 0) this.#modules.set(module, left);
    else this.#lostInterest(module);
  }

  #lostInterest(module: string): void {
    this.#modules.delete(module);
    for (const exchange of this.#exchanges.get(module) ?? []) this.desk.unwatch(exchange);
    this.#exchanges.delete(module);
    for (const authority of this.#authorities.keys()) {
      this.desk.send(authority, { kind: "bored", modules: [module] });
    }
  }

  #matched(match: Letter & { kind: "match" }, exchange: Address): void {
    const entry = this.#orders.get(match.id);
    if (!entry || match.revision !== entry.order.revision) return;
    if (!this.#exchanges.get(entry.order.module)?.has(exchange)) return;
    // Another exchange may have found the same seller: only what it found beyond counts.
    const before = entry.passed.get(match.seller) ?? 0;
    const quantity = Math.min(match.quantity - before, entry.remaining);
    if (quantity <= 0) return;
    entry.passed.set(match.seller, before + quantity);
    entry.remaining -= quantity;
    this.desk.send(entry.order.trader, { ...match, quantity });
  }

  #learn({ authorities, exchanges }: Knowledge): void {
    for (const peer of authorities) this.#meet(peer);
    for (const { module, exchange } of exchanges) {
      if (!this.#modules.has(module)) continue;
      const known = this.#exchanges.get(module) ?? new Set();
      if (known.has(exchange) || known.size >= MAX_PEERS) continue;
      this.#exchanges.set(module, known.add(exchange));
      this.desk.watch(exchange);
      for (const { order } of this.#orders.values()) {
        if (order.module === module) this.desk.send(exchange, { kind: "order", order });
      }
    }
  }

  #meet(peer: Peer): void {
    const contact = this.desk.self();
    const node = peer.incarnation === contact.incarnation ? "" : peer.incarnation;
    const authority = addressOf(node, AUTHORITY);
    if (this.#authorities.has(authority) || this.#authorities.size >= MAX_PEERS) return;
    this.#authorities.set(authority, peer);
    this.desk.watch(authority);
    this.desk.send(authority, { kind: "join", contact, modules: [...this.#modules.keys()] });
  }

  #tellOf(seeker: Address): void {
    const contact = this.desk.self();
    const authorities = [...this.#authorities].map(([address, peer]) =>
      nodeOf(address) === "" ? contact : peer
    );
    this.desk.send(seeker, { kind: "news", contact, authorities, exchanges: [] });
  }

  #answer({ nonce, what }: Letter & { kind: "ask" }, from: Address): void {
    if (what !== "mesh") return;
    const contact = this.desk.self();
    this.desk.send(from, {
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
    if (this.#authorities.delete(address)) {
      this.desk.send(this.#bootstrap, { kind: "search", now: false });
    }
    for (const known of this.#exchanges.values()) known.delete(address);
    for (const id of [...this.#byTrader.get(address) ?? []]) this.#cancel(id, address);
  }
}
