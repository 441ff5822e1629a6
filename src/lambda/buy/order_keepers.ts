/**
 * All buy orders of one load balancer, which share its pool of channels.
 *
 * Passes each message to the order that it concerns. The wanted capacity is split among the orders
 * in proportion to what each asked for at first.
 */
import type { PlbOrderStats } from "../../api/modules.ts";
import type { Address } from "../bus/address.ts";
import { inProportion } from "../bus/fair_share.ts";
import type { BusMessage, BusMessageOf } from "../bus/messages.ts";
import type { BuyTerms } from "./allocation.ts";
import type { ChannelPool } from "./channel_pool.ts";
import type { ChannelView } from "./module_call.ts";
import { OrderKeeper, type OrderKeeperHooks } from "./order_keeper.ts";

export class OrderKeepers {
  readonly #name: string;
  readonly #hooks: Omit<OrderKeeperHooks, "settled">;
  readonly #orders: readonly OrderKeeper[];
  /** How much each order wanted at first. */
  readonly #asked: readonly number[];

  /** @param name the module's. */
  constructor(
    name: string,
    terms: readonly BuyTerms[],
    pool: ChannelPool,
    hooks: Omit<OrderKeeperHooks, "settled">,
  ) {
    this.#name = name;
    this.#hooks = hooks;
    const settled = (listener: Address): void => this.#settled(listener);
    this.#orders = terms.map((it) => new OrderKeeper(name, it, pool, { ...hooks, settled }));
    this.#asked = terms.map(({ asked }) => asked);
  }

  /** The capacity that all orders want. */
  get wanted(): number {
    return this.#orders.reduce((sum, { terms }) => sum + terms.wanted, 0);
  }

  /** Whether all capacity is held and credit has arrived on every channel. */
  get isSatisfied(): boolean {
    return this.#orders.every(({ isSatisfied }) => isSatisfied);
  }

  /** The orders' terms as text, for errors. */
  get asked(): string {
    const ranges = new Set(this.#orders.map(({ terms }) => terms.range ?? "any stable version"));
    return `capacity ${this.wanted} of ${this.#name}, ${[...ranges].join(" and ")}`;
  }

  stats(): PlbOrderStats[] {
    return this.#orders.map(({ id, terms: { wanted, range, prefer }, granted }) => ({
      id,
      version: range,
      prefer,
      wanted,
      granted,
    }));
  }

  resize(wanted: number): void {
    const parts = inProportion(wanted, this.#asked);
    this.#orders.forEach((order, at) => order.resize(parts[at] as number));
  }

  close(): void {
    for (const order of this.#orders) order.close();
  }

  /** Updates all orders after what is held changed. */
  update(force: boolean = false): void {
    for (const order of this.#orders) order.update(force);
  }

  /** Updates the order that bought a channel after the channel changed. */
  changed({ owner }: ChannelView): void {
    this.#orders.find((order) => order === owner)?.update();
  }

  receive(message: BusMessage, from: Address): void {
    switch (message.kind) {
      case "match":
        return this.#orders.find(({ id }) => id === message.id)?.matched(message);
      case "full":
        return this.#orders.find(({ id }) => id === message.id)?.noRoom(message);
      case "refuse":
        for (const order of this.#orders) order.refused(message.nonce, from);
        return;
      case "down":
        for (const order of this.#orders) order.down(message.address);
    }
  }

  /** A listener opened a channel. Returns whether it was still wanted. */
  accepted(message: BusMessageOf<"accept">, from: Address): boolean {
    if (this.#orders.some((order) => order.accepted(message, from))) return true;
    // The opening timed out: returns the channel unused.
    this.#hooks.context().send(message.channel, { kind: "drain", used: 0 });
    return false;
  }

  /** An opening at a listener succeeded or failed. */
  #settled(listener: Address): void {
    if (this.#orders.some((order) => order.isOpening(listener))) return;
    this.#hooks.context().unwatch(listener);
  }
}
