/**
 * The broker of a node: passes the orders of its traders to all exchanges of their modules.
 *
 * Takes `order` and `cancel` from traders here, `topology` from authorities and the bootstrap,
 * `match` and `full` from exchanges. Passes each match to its trader once, even if several
 * exchanges found it, and never passes on more than the order still asks for. If an exchange had no
 * room for an order, the order is sent there again later. If the broker itself has no room, it
 * answers `full`.
 *
 * Source: `docs/design.md`, Modules.
 */
import { MAX_ORDERS, MAX_PEERS } from "../../limits.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, nodeOf } from "../bus/address.ts";
import type { BusMessage, BusMessageOf, Topology } from "../bus/messages.ts";
import type { Order } from "../bus/order.ts";
import { Process } from "../bus/process.ts";

/**
 * The shortest and the longest backoff before an order is sent again to an exchange that had no
 * room for it, in ms.
 */
const RESEND_MS = [1_000, 10_000] as const;

interface Entry {
  order: Order;
  readonly trader: Address;
  /** By sell order: the quantity passed on at this revision, over all exchanges. */
  readonly passed: Map<string, number>;
  /** The quantity still asked for at this revision. */
  remaining: number;
}

export class Broker extends Process {
  readonly #authorities = new Map<Address, Peer>();
  /** Authorities that have answered. */
  readonly #met = new Set<Address>();
  readonly #exchanges = new Map<string, Set<Address>>();
  readonly #orders = new Map<number, Entry>();
  readonly #byTrader = new Map<Address, Set<number>>();
  /** The number of orders per module. */
  readonly #modules = new Map<string, number>();
  readonly #bootstrap: Address;
  readonly #maxOrders: number;
  /** Orders to be sent again, by exchange. */
  readonly #toResend = new Map<Address, Set<number>>();
  #timer: Timer | null = null;
  #attempts = 0;

  /** @param maxOrders most orders that it keeps. */
  constructor(bootstrap: Address, maxOrders: number = MAX_ORDERS) {
    super();
    this.#bootstrap = bootstrap;
    this.#maxOrders = maxOrders;
  }

  receive(message: BusMessage, from: Address): void {
    switch (message.kind) {
      case "order":
        // Only traders of this node use this broker.
        return nodeOf(from) === "" ? this.#place(message.order, from) : undefined;
      case "cancel":
        return this.#cancel(message.id, from);
      case "match":
        return this.#matched(message, from);
      case "full":
        return this.#noRoom(message, from);
      case "topology":
        this.#authorityAnswered(from);
        return this.#learn(message);
      case "find_authorities":
        return this.#sendAuthorities(from);
      case "ask":
        return this.#answer(message, from);
      case "down":
        return this.#down(message.address);
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
      if (this.#orders.size >= this.#maxOrders) {
        this.context.log("warning", "order refused", {
          module: order.module,
          orders: this.#maxOrders,
        });
        return this.context.send(trader, { kind: "full", id: order.id, revision: order.revision });
      }
      const remaining = mostOf(order);
      this.#orders.set(order.id, { order, trader, passed: new Map(), remaining });
      this.#register(trader, order);
    }
    const { module } = order;
    for (const exchange of this.#exchanges.get(module) ?? []) {
      this.context.send(exchange, { kind: "order", order });
    }
  }

  #register(trader: Address, { id, module }: Order): void {
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
      this.context.send(authority, { kind: "not_interested", modules: [module] });
    }
  }

  #matched(match: BusMessage & { kind: "match" }, exchange: Address): void {
    const entry = this.#orders.get(match.id);
    if (!entry || match.revision !== entry.order.revision) return;
    if (!this.#exchanges.get(entry.order.module)?.has(exchange)) return;
    // Another exchange may have matched the same seller: only the quantity beyond that match
    // counts.
    const offer = `${match.seller} ${match.offer}`;
    const before = entry.passed.get(offer) ?? 0;
    const quantity = Math.min(match.quantity - before, entry.remaining);
    if (quantity <= 0) return;
    entry.passed.set(offer, before + quantity);
    entry.remaining -= quantity;
    this.context.send(entry.order.trader, { ...match, quantity });
  }

  /** An exchange had no room for an order. */
  #noRoom({ id, revision }: BusMessageOf<"full">, exchange: Address): void {
    const entry = this.#orders.get(id);
    if (!entry || revision !== entry.order.revision) return;
    const { module } = entry.order;
    if (!this.#exchanges.get(module)?.has(exchange)) return;
    const ids = this.#toResend.get(exchange) ?? new Set();
    this.#toResend.set(exchange, ids.add(id));
    if (this.#timer) return;
    this.context.log("warning", "order waits", { module, why: "its exchange is full" });
    const [least, most] = RESEND_MS;
    const delayMs = Math.min(most, least * 2 ** Math.min(this.#attempts++, 8));
    this.#timer = this.context.after(
      delayMs * (0.5 + this.context.random() / 2),
      () => this.#resend(),
    );
  }

  #resend(): void {
    this.#timer = null;
    const due = [...this.#toResend];
    this.#toResend.clear();
    for (const [exchange, ids] of due) {
      for (const id of ids) {
        const order = this.#orders.get(id)?.order;
        if (order && this.#exchanges.get(order.module)?.has(exchange)) {
          this.context.send(exchange, { kind: "order", order });
        }
      }
    }
  }

  #learn({ authorities, exchanges }: Topology): void {
    for (const peer of authorities) this.#addAuthority(peer);
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

  /** A known authority answered for the first time. */
  #authorityAnswered(from: Address): void {
    const peer = this.#authorities.get(from);
    if (!peer || nodeOf(from) === "" || this.#met.has(from)) return;
    this.#met.add(from);
    this.context.send(this.#bootstrap, { kind: "met", peer });
  }

  #addAuthority(peer: Peer): void {
    const contact = this.context.self();
    const node = peer.incarnation === contact.incarnation ? "" : peer.incarnation;
    const authority = addressOf(node, AUTHORITY);
    if (this.#authorities.has(authority) || this.#authorities.size >= MAX_PEERS) return;
    this.#authorities.set(authority, peer);
    this.context.watch(authority);
    this.context.send(authority, { kind: "join", contact, modules: [...this.#modules.keys()] });
  }

  #sendAuthorities(to: Address): void {
    const contact = this.context.self();
    const authorities = [...this.#authorities].map(([address, peer]) =>
      nodeOf(address) === "" ? contact : peer
    );
    this.context.send(to, { kind: "topology", contact, authorities, exchanges: [] });
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
    this.#toResend.delete(address);
    for (const id of [...this.#byTrader.get(address) ?? []]) this.#cancel(id, address);
  }
}

/** The most that a trader may take of all matches at one revision. */
function mostOf({ quantity, nearby, newer }: Order): number {
  return quantity + Math.max(nearby, newer);
}
