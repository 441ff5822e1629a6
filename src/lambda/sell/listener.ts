/**
 * Listener: sells a node's capacity of one module.
 *
 * Takes `open` of buyers, `shrunk`, `shed` and `down` of its channels, `moved`, `full` and `ask`;
 * gives `accept` or `refuse`, opens channels, and keeps one or several sell orders at the broker
 * whose quantities are what is free. All grants together are never more than the capacity.
 *
 * New code goes to the channels, which use it where their buyers take it. Where a listener failed,
 * the one that takes its place counts what the channels still hold until they have drained.
 *
 * Source: design §5, Listener and Hot code load.
 */
import type { Timer } from "../../ports/clock.ts";
import type { TimerWheel } from "../../time/timer_wheel.ts";
import { type Address, addressOf, BROKER } from "../bus/address.ts";
import type { ListenerStats, SellOrder } from "../../api/modules.ts";
import { ChannelBooks, modulesIn, runningIn, type ShopBooks } from "./figures.ts";
import { Channel, labelOf } from "./channel.ts";
import type { BusMessage, BusMessageOf } from "../bus/messages.ts";
import type { ModuleCounters } from "../metrics.ts";
import { accepts, isSameCode, type Module, rehashed } from "../../api/module.ts";
import { type ChannelGrant, type Offer, Offers, sumOf } from "./offers.ts";
import { Process } from "../bus/process.ts";

/** The pause before orders are sent again for which there was no room, ms. */
const RETRY_MS = 1_000;

/** What is offered now; it outlives a listener that fails. */
export interface Stock {
  module: Module;
  /** The same as it was given, before it had to have a hash of its own. */
  given: Module;
  isClosing: boolean;
  /** Hashes of code that was offered and is not dropped yet. */
  readonly codes: Set<string>;
  readonly books: ShopBooks;
}

/** The stock of a listener that begins with this code. */
export function stockOf(module: Module): Stock {
  const codes = new Set([module.hash]);
  return { module, given: module, isClosing: false, codes, books: new Map() };
}

export interface ListenerParts {
  readonly name: string;
  readonly stock: Stock;
  readonly orders: readonly SellOrder[];
  readonly lowWatermark: number;
  readonly deadlines: TimerWheel;
  readonly meter: ModuleCounters;
  /** It was closed, and all its channels are. */
  readonly onClosed: () => void;
}

export class ListenerProcess extends Process {
  readonly #parts: ListenerParts;
  readonly #stock: Stock;
  readonly #books: ShopBooks;
  readonly #offers: Offers;
  /** What each channel holds. */
  readonly #held = new Map<Address, ChannelGrant>();
  #isPlanned = false;
  #retry: Timer | null = null;

  constructor(parts: ListenerParts) {
    super();
    this.#parts = parts;
    this.#stock = parts.stock;
    this.#books = parts.stock.books;
    this.#offers = new Offers(parts.orders);
  }

  get isClosing(): boolean {
    return this.#stock.isClosing;
  }

  stats(): ListenerStats {
    const { name } = this.#parts;
    const { module: present } = this.#stock;
    const codes = new Map([[present.hash, present]]);
    for (const module of [...modulesIn(this.#books)].reverse()) codes.set(module.hash, module);
    const { version, hash } = present;
    const { all, granted } = this.#offers;
    return {
      module: name,
      version,
      hash,
      capacity: this.#capacity,
      granted,
      free: this.#capacity - granted,
      running: runningIn(this.#books),
      codes: [...codes.values()].map(({ version, hash }) => ({ version, hash })),
      orders: all.map(({ capacity, granted, regions, order }) => ({
        id: order?.id ?? 0,
        capacity,
        granted,
        regions,
      })),
      channels: [...this.#books].map(([address, books]) => books.stats(address)),
    };
  }

  get #capacity(): number {
    return this.#offers.all.reduce((sum, { capacity }) => sum + capacity, 0);
  }

  /** Offers `next`; its channels run it from now on, where their buyers take it. */
  update(next: Module): void {
    if (this.isClosing || isSameCode(next, this.#stock.given)) return;
    const former = this.#stock.module;
    this.#stock.module = this.#unlike(next);
    this.#stock.given = next;
    this.#stock.codes.add(this.#stock.module.hash);
    this.#spread();
    this.#changed();
    this.#drop(former);
  }

  #spread(): void {
    const { module } = this.#stock;
    for (const channel of this.#books.keys()) {
      this.context.send(channel, { kind: "upgrade", module });
    }
  }

  /**
   * The module under a hash that no other code in use has: buyers go by it, and hashes don't see
   * what functions close over.
   */
  #unlike(next: Module): Module {
    const inUse = [this.#stock.module, ...modulesIn(this.#books)];
    const isTaken = inUse.some((it) => it.hash === next.hash && !isSameCode(it, next));
    return isTaken
      ? rehashed(next, `${this.context.self().incarnation} ${this.context.nextId()}`)
      : next;
  }

  /** Sells no more, and ends once all channels have drained. */
  close(): void {
    if (this.isClosing) return;
    this.#stock.isClosing = true;
    for (const { order } of this.#offers.all) {
      if (order) this.context.send(addressOf("", BROKER), { kind: "cancel", id: order.id });
    }
    for (const channel of this.#books.keys()) {
      this.context.send(channel, { kind: "shut", reason: "the listener was closed" });
    }
    this.#leaveIfDone();
  }

  /** What still runs is given up. */
  halt(): void {
    for (const channel of this.#books.keys()) {
      this.context.send(channel, { kind: "halt", reason: "the listener was closed meanwhile" });
    }
  }

  protected override started(): void {
    // Of a listener before this one, which failed: they drain.
    for (const [address, { grant, strays }] of this.#books) {
      const held = this.#offers.adopt(Math.max(grant, strays));
      this.#held.set(address, held);
      this.#parts.meter.granted += sumOf(held);
      this.context.watch(address);
    }
    this.#changed();
    if (this.isClosing) this.context.defer(() => this.#leaveIfDone());
  }

  protected override stopped(_reason: string, isOver: boolean): void {
    this.#parts.meter.granted -= this.#offers.granted;
    if (isOver) this.#parts.onClosed();
  }

  receive(letter: BusMessage, from: Address): void {
    switch (letter.kind) {
      case "open":
        return this.#open(letter, from);
      case "shrunk":
        return this.#shrunk(from, letter.grant);
      case "shed":
        return this.#drop(letter.module);
      case "down":
        return this.#down(letter.address);
      case "moved":
        return this.#changed(true);
      case "full":
        return this.#retryLater();
      case "ask":
        return this.#answer(letter, from);
    }
  }

  #open({ nonce, want, range, contact }: BusMessageOf<"open">, from: Address): void {
    const { name } = this.#parts;
    const { module } = this.#stock;
    const { region } = contact;
    const free = this.isClosing ? 0 : this.#offers.free(region);
    const refuse = (why: string): void =>
      this.context.send(from, { kind: "refuse", nonce, free, why });
    if (this.isClosing) return refuse(`${name} is no longer offered here`);
    if (!accepts(range, module.version)) {
      return refuse(`${name} is offered here in version ${module.version}`);
    }
    const grant = Math.min(want, free);
    if (grant < 1) return refuse(`no capacity of ${name} is free here`);
    const channel = this.#channel(from, range, module, this.#offers.grant(grant, region));
    this.context.send(from, {
      kind: "accept",
      nonce,
      channel,
      grant,
      contact: this.context.self(),
      label: labelOf(module),
    });
    // After `accept`: credit is only of use to who knows the channel.
    this.context.send(channel, { kind: "resize", grant });
    this.#changed();
  }

  #channel(buyer: Address, range: string | null, module: Module, held: ChannelGrant): Address {
    const { name, lowWatermark, deadlines, meter } = this.#parts;
    const books = new ChannelBooks(buyer, module);
    const listener = this.address;
    const channel = new Channel({ name, range, listener, lowWatermark, deadlines, meter, books });
    const address = this.context.spawn(`channel.${this.context.nextId()}`, channel);
    this.#books.set(address, books);
    this.#held.set(address, held);
    meter.granted += sumOf(held);
    this.context.watch(address);
    return address;
  }

  /** A channel let go of some capacity. */
  #shrunk(from: Address, grant: number): void {
    const held = this.#held.get(from);
    if (!held) return;
    const freed = sumOf(held) - grant;
    if (freed > 0) {
      this.#offers.release(held, freed);
      this.#parts.meter.granted -= freed;
      this.#changed();
    }
    // It failed, and the last of what ran there has ended.
    if (grant === 0 && this.#books.get(from)?.strays === 0) this.#leave(from);
  }

  #down(address: Address): void {
    const books = this.#books.get(address);
    if (!books) return;
    // Functions of a channel that failed run on, and count until they end.
    const strays = this.isClosing ? 0 : books.strays;
    this.#shrunk(address, strays);
    if (strays === 0) this.#leave(address);
  }

  #leave(address: Address): void {
    const books = this.#books.get(address);
    if (!books) return;
    this.#books.delete(address);
    this.#held.delete(address);
    for (const module of modulesIn(new Map([[address, books]]))) this.#drop(module);
    this.#leaveIfDone();
  }

  /** Tells, where code is in use no longer. */
  #drop({ hash, version }: Module): void {
    if (hash === this.#stock.module.hash) return;
    for (const module of modulesIn(this.#books)) if (module.hash === hash) return;
    if (!this.#stock.codes.delete(hash)) return;
    this.context.tell("info", "old code dropped", { module: this.#parts.name, version, hash });
  }

  #leaveIfDone(): void {
    if (!this.isClosing || this.#books.size > 0 || this.hasEnded) return;
    this.context.stop(this.address, "the listener was closed");
  }

  /** What is free or offered changed: the orders follow, once for all letters that are here. */
  #changed(always: boolean = false): void {
    if (always) {
      for (const it of this.#offers.all) it.order = it.order && { ...it.order, quantity: -1 };
    }
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.context.defer(() => {
      this.#isPlanned = false;
      if (!this.isClosing) { for (const offer of this.#offers.all) this.#sell(offer); }
    });
  }

  #sell(offer: Offer): void {
    const quantity = offer.free;
    const { version } = this.#stock.module;
    const former = offer.order;
    if (former && former.quantity === quantity && former.version === version) return;
    const order = offer.order = {
      id: former?.id ?? this.context.nextId(),
      revision: (former?.revision ?? 0) + 1,
      side: "sell",
      module: this.#parts.name,
      quantity,
      nearby: 0,
      newer: 0,
      than: "",
      version,
      range: null,
      prefer: "near",
      regions: offer.regions,
      trader: this.address,
      contact: this.context.self(),
    };
    this.context.send(addressOf("", BROKER), { kind: "order", order });
  }

  #retryLater(): void {
    this.#retry ??= this.context.after(RETRY_MS, () => {
      this.#retry = null;
      this.#changed(true);
    });
  }

  #answer({ nonce, what }: BusMessageOf<"ask">, from: Address): void {
    if (what !== "shop") return;
    this.context.send(from, {
      kind: "shop",
      nonce,
      contact: this.context.self(),
      label: labelOf(this.#stock.module),
      capacity: this.#capacity,
      granted: this.#offers.granted,
      running: runningIn(this.#books),
    });
  }
}
