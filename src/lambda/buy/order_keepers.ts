/**
 * All buy orders of one load balancer, which share its pool of channels.
 *
 * Takes the messages about orders and openings; hands each to the order that it is about. What is
 * wanted of the balancer is split among its orders in proportion to what each asked for at first.
 */
import type { Address } from "../bus/address.ts";
import type { PlbOrderStats } from "../../api/modules.ts";
import { OrderKeeper, type OrderKeeperHooks } from "./order_keeper.ts";
import type { BusMessage, BusMessageOf } from "../bus/messages.ts";
import type { ChannelView } from "./module_call.ts";
import type { ChannelPool } from "./channel_pool.ts";
import type { BuyTerms } from "./allocation.ts";
import { inProportion } from "../fair_share.ts";

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

  /** Requests that may run at once, as the orders want it. */
  get wanted(): number {
    return this.#orders.reduce((sum, { terms }) => sum + terms.wanted, 0);
  }

  /** Whether all capacity is bought, and the credit for it is here. */
  get isSatisfied(): boolean {
    return this.#orders.every(({ isSatisfied }) => isSatisfied);
  }

  /** What is asked for, in words. */
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

  /** What is held changed: the orders follow. */
  trade(anew: boolean = false): void {
    for (const order of this.#orders) order.trade(anew);
  }

  /** Something about one channel changed: the order that it was bought by follows. */
  changed({ owner }: ChannelView): void {
    this.#orders.find((order) => order === owner)?.trade();
  }

  receive(letter: BusMessage, from: Address): void {
    switch (letter.kind) {
      case "match":
        return this.#orders.find(({ id }) => id === letter.id)?.matched(letter);
      case "full":
        return this.#orders.find(({ id }) => id === letter.id)?.crowded(letter);
      case "refuse":
        for (const order of this.#orders) order.refused(letter.nonce, from);
        return;
      case "down":
        for (const order of this.#orders) order.down(letter.address);
    }
  }

  /** A listener opened a channel. Answers whether it was still wanted. */
  accepted(letter: BusMessageOf<"accept">, from: Address): boolean {
    if (this.#orders.some((order) => order.accepted(letter, from))) return true;
    // Too late: it is given back as it is.
    this.#hooks.desk().send(letter.channel, { kind: "drain", used: 0 });
    return false;
  }

  /** An opening at a listener came to its end. */
  #settled(listener: Address): void {
    if (this.#orders.some((order) => order.isOpening(listener))) return;
    this.#hooks.desk().unwatch(listener);
  }
}
