/**
 * A listener: sells a node's capacity of one module.
 *
 * Takes `open` from buyers, `shrunk`, `code_unused` and `down` of its channels, `moved`,
 * `full` and `ask`; sends `accept` or `refuse`, starts channels, and keeps its sell orders at the
 * broker equal to what is free. The sum of all grants never exceeds the capacity. New code goes to
 * all channels, which use it if their buyers accept it. After a restart it counts what the old
 * channels hold until they have drained.
 *
 * Source: `docs/design.md`, Modules.
 */
import { accepts, isSameCode, type Module, rehashed } from "../../api/module.ts";
import type { ListenerStats, SellOrder } from "../../api/modules.ts";
import type { Timer } from "../../ports/clock.ts";
import type { TimerWheel } from "../../time/timer_wheel.ts";
import { type Address, addressOf, BROKER } from "../bus/address.ts";
import type { BusMessage, BusMessageOf } from "../bus/messages.ts";
import type { ModuleCounters } from "../bus/metrics.ts";
import { Process } from "../bus/process.ts";
import { Channel, labelOf } from "./channel.ts";
import { ChannelRecord, type ChannelRecords, modulesIn, runningIn } from "./figures.ts";
import { type ChannelGrant, type Offer, Offers, sumOf } from "./offers.ts";

/** Pause before orders without room at the broker are sent again, ms. */
const RETRY_MS = 1_000;

/** What is offered now; survives a restart. */
export interface ListenerState {
  module: Module;
  /** The module as the user gave it, before it got a unique hash. */
  original: Module;
  isClosing: boolean;
  /** Hashes of offered code that is still in use. */
  readonly codes: Set<string>;
  readonly records: ChannelRecords;
}

/** The initial state of a listener for this code. */
export function listenerStateOf(module: Module): ListenerState {
  const codes = new Set([module.hash]);
  return { module, original: module, isClosing: false, codes, records: new Map() };
}

export interface ListenerParts {
  readonly name: string;
  readonly state: ListenerState;
  readonly orders: readonly SellOrder[];
  readonly lowWatermark: number;
  readonly deadlines: TimerWheel;
  readonly counters: ModuleCounters;
  /** It was closed and all its channels have stopped. */
  readonly onClosed: () => void;
}

export class ListenerProcess extends Process {
  readonly #parts: ListenerParts;
  readonly #state: ListenerState;
  readonly #records: ChannelRecords;
  readonly #offers: Offers;
  /** What each channel holds of the orders. */
  readonly #held = new Map<Address, ChannelGrant>();
  #isPlanned = false;
  #retry: Timer | null = null;

  constructor(parts: ListenerParts) {
    super();
    this.#parts = parts;
    this.#state = parts.state;
    this.#records = parts.state.records;
    this.#offers = new Offers(parts.orders);
  }

  get isClosing(): boolean {
    return this.#state.isClosing;
  }

  stats(): ListenerStats {
    const { name } = this.#parts;
    const { module: present } = this.#state;
    const codes = new Map([[present.hash, present]]);
    for (const module of [...modulesIn(this.#records)].reverse()) codes.set(module.hash, module);
    const { version, hash } = present;
    const { all, granted } = this.#offers;
    return {
      module: name,
      version,
      hash,
      capacity: this.#capacity,
      granted,
      free: this.#capacity - granted,
      running: runningIn(this.#records),
      codes: [...codes.values()].map(({ version, hash }) => ({ version, hash })),
      orders: all.map(({ capacity, granted, regions, order }) => ({
        id: order?.id ?? 0,
        capacity,
        granted,
        regions,
      })),
      channels: [...this.#records].map(([address, record]) => record.stats(address)),
    };
  }

  get #capacity(): number {
    return this.#offers.all.reduce((sum, { capacity }) => sum + capacity, 0);
  }

  /** Offers `next`; channels whose buyers accept it run it from now on. */
  update(next: Module): void {
    if (this.isClosing || isSameCode(next, this.#state.original)) return;
    const former = this.#state.module;
    this.#state.module = this.#withUniqueHash(next);
    this.#state.original = next;
    this.#state.codes.add(this.#state.module.hash);
    this.#sendUpgrades();
    this.#updateOrders();
    this.#dropUnusedCode(former);
  }

  #sendUpgrades(): void {
    const { module } = this.#state;
    for (const channel of this.#records.keys()) {
      this.context.send(channel, { kind: "upgrade", module });
    }
  }

  /**
   * The module under a hash that no other code in use has: buyers tell code apart by hash, and the
   * hash does not cover what functions close over.
   */
  #withUniqueHash(next: Module): Module {
    const inUse = [this.#state.module, ...modulesIn(this.#records)];
    const isTaken = inUse.some((it) => it.hash === next.hash && !isSameCode(it, next));
    return isTaken
      ? rehashed(next, `${this.context.self().incarnation} ${this.context.nextId()}`)
      : next;
  }

  /** Stops selling, and ends the process once all channels have drained. */
  close(): void {
    if (this.isClosing) return;
    this.#state.isClosing = true;
    for (const { order } of this.#offers.all) {
      if (order) this.context.send(addressOf("", BROKER), { kind: "cancel", id: order.id });
    }
    for (const channel of this.#records.keys()) {
      this.context.send(channel, { kind: "close", reason: "the listener was closed" });
    }
    this.#stopIfDone();
  }

  /** Stops all channels without waiting for running requests. */
  halt(): void {
    for (const channel of this.#records.keys()) {
      this.context.send(channel, { kind: "halt", reason: "the listener was closed meanwhile" });
    }
  }

  protected override started(): void {
    // Channels of the instance that failed: they are draining.
    for (const [address, { grant, orphanRuns }] of this.#records) {
      const held = this.#offers.adopt(Math.max(grant, orphanRuns));
      this.#held.set(address, held);
      this.#parts.counters.granted += sumOf(held);
      this.context.watch(address);
    }
    this.#updateOrders();
    if (this.isClosing) this.context.defer(() => this.#stopIfDone());
  }

  protected override stopped(_reason: string, isOver: boolean): void {
    this.#parts.counters.granted -= this.#offers.granted;
    if (isOver) this.#parts.onClosed();
  }

  receive(message: BusMessage, from: Address): void {
    switch (message.kind) {
      case "open":
        return this.#open(message, from);
      case "shrunk":
        return this.#shrunk(from, message.grant);
      case "code_unused":
        return this.#dropUnusedCode(message.module);
      case "down":
        return this.#down(message.address);
      case "moved":
        return this.#updateOrders(true);
      case "full":
        return this.#retryLater();
      case "ask":
        return this.#answer(message, from);
    }
  }

  #open({ nonce, want, range, contact }: BusMessageOf<"open">, from: Address): void {
    const { name } = this.#parts;
    const { module } = this.#state;
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
    // After `accept`: the buyer can use credit only once it knows the channel.
    this.context.send(channel, { kind: "resize", grant });
    this.#updateOrders();
  }

  #channel(buyer: Address, range: string | null, module: Module, held: ChannelGrant): Address {
    const { name, lowWatermark, deadlines, counters } = this.#parts;
    const record = new ChannelRecord(buyer, module);
    const listener = this.address;
    const channel = new Channel({
      name,
      range,
      listener,
      lowWatermark,
      deadlines,
      counters,
      record,
    });
    const address = this.context.spawn(`channel.${this.context.nextId()}`, channel);
    this.#records.set(address, record);
    this.#held.set(address, held);
    counters.granted += sumOf(held);
    this.context.watch(address);
    return address;
  }

  /** A channel returned capacity. */
  #shrunk(from: Address, grant: number): void {
    const held = this.#held.get(from);
    if (!held) return;
    const freed = sumOf(held) - grant;
    if (freed > 0) {
      this.#offers.release(held, freed);
      this.#parts.counters.granted -= freed;
      this.#updateOrders();
    }
    // The channel failed, and its last function has ended.
    if (grant === 0 && this.#records.get(from)?.orphanRuns === 0) this.#forgetChannel(from);
  }

  #down(address: Address): void {
    const record = this.#records.get(address);
    if (!record) return;
    // Functions of a failed channel run on and count until they end.
    const orphanRuns = this.isClosing ? 0 : record.orphanRuns;
    this.#shrunk(address, orphanRuns);
    if (orphanRuns === 0) this.#forgetChannel(address);
  }

  #forgetChannel(address: Address): void {
    const record = this.#records.get(address);
    if (!record) return;
    this.#records.delete(address);
    this.#held.delete(address);
    for (const module of modulesIn(new Map([[address, record]]))) this.#dropUnusedCode(module);
    this.#stopIfDone();
  }

  /** Logs that code is no longer in use. */
  #dropUnusedCode({ hash, version }: Module): void {
    if (hash === this.#state.module.hash) return;
    for (const module of modulesIn(this.#records)) if (module.hash === hash) return;
    if (!this.#state.codes.delete(hash)) return;
    this.context.log("info", "old code dropped", { module: this.#parts.name, version, hash });
  }

  #stopIfDone(): void {
    if (!this.isClosing || this.#records.size > 0 || this.hasStopped) return;
    this.context.stop(this.address, "the listener was closed");
  }

  /** Updates the sell orders after supply changed; once for all messages queued now. */
  #updateOrders(force: boolean = false): void {
    if (force) {
      for (const it of this.#offers.all) it.order = it.order && { ...it.order, quantity: -1 };
    }
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    this.context.defer(() => {
      this.#isPlanned = false;
      if (!this.isClosing) { for (const offer of this.#offers.all) this.#placeOrder(offer); }
    });
  }

  #placeOrder(offer: Offer): void {
    const quantity = offer.free;
    const { version } = this.#state.module;
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
      this.#updateOrders(true);
    });
  }

  #answer({ nonce, what }: BusMessageOf<"ask">, from: Address): void {
    if (what !== "shop") return;
    this.context.send(from, {
      kind: "shop",
      nonce,
      contact: this.context.self(),
      label: labelOf(this.#state.module),
      capacity: this.#capacity,
      granted: this.#offers.granted,
      running: runningIn(this.#records),
    });
  }
}
