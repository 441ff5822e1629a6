/**
 * The buying half of a load balancer for one of its orders: keeps the order at the broker in
 * step with what is wanted, and opens channels at the sellers that it is matched with.
 *
 * Takes the matches, acceptances and refusals that its balancer hands it; gives `order` and
 * `cancel` to the broker and `open` to listeners, and puts what was opened into the pool.
 */
import type { Timer } from "../../ports/clock.ts";
import { type Address, addressOf, BROKER } from "../bus/address.ts";
import type { BusMessageOf } from "../bus/messages.ts";
import { accepts } from "../../api/module.ts";
import type { Order } from "../bus/order.ts";
import type { ProcessContext } from "../bus/process.ts";
import type { ChannelView } from "./module_call.ts";
import type { ChannelPool } from "./channel_pool.ts";
import { Allocation, type BuyTerms } from "./allocation.ts";

/** How long a listener may take to answer an `open`, ms. */
const OPEN_MS = 2_000;
/** The pause before an order is placed again that a listener could not serve, ms: from, to. */
const RETRY_MS = [20, 1_000] as const;

/** What the balancer does for its buyers. */
export interface OrderKeeperHooks {
  desk(): ProcessContext;
  /** Sends no more over a channel, and gives its capacity back. */
  drain(view: ChannelView): void;
  /** Gives a part of a channel's capacity back. */
  lower(view: ChannelView, grant: number): void;
  /** An opening at a listener came to its end. */
  settled(listener: Address): void;
  /** What is held or wanted changed. */
  onChange(): void;
}

export class OrderKeeper {
  readonly #name: string;
  readonly #terms: BuyTerms;
  readonly #hooks: OrderKeeperHooks;
  readonly #pool: ChannelPool;
  readonly #allocation: Allocation;
  #order: Order | null = null;
  /** The order is to be placed again, though nothing in it changed. */
  #isStale = false;
  #isPlanned = false;
  #refusals = 0;
  #retry: Timer | null = null;
  #isClosed = false;

  /** @param name the module's. */
  constructor(name: string, terms: BuyTerms, pool: ChannelPool, hooks: OrderKeeperHooks) {
    this.#name = name;
    this.#terms = terms;
    this.#pool = pool;
    this.#hooks = hooks;
    this.#allocation = new Allocation(terms, () => this.views, () => this.#context.self().region);
  }

  /** Its channels that aren't drained. */
  get views(): ChannelView[] {
    return this.#pool.viewsOf(this);
  }

  /** Capacity that is bought. */
  get granted(): number {
    return this.views.reduce((sum, { grant }) => sum + grant, 0);
  }

  /** Whether all capacity is bought, and the credit for it is here. */
  get isSatisfied(): boolean {
    const { views } = this;
    return this.granted >= this.#terms.wanted && views.every(({ allowed }) => allowed > 0);
  }

  /** The order's id at the broker; 0: it was not placed yet. */
  get id(): number {
    return this.#order?.id ?? 0;
  }

  get terms(): Readonly<BuyTerms> {
    return this.#terms;
  }

  get #context(): ProcessContext {
    return this.#hooks.desk();
  }

  /** Buys no more. */
  close(): void {
    this.#isClosed = true;
    if (!this.#order) return;
    this.#context.send(addressOf("", BROKER), { kind: "cancel", id: this.#order.id });
  }

  /** Wants so much from now on. */
  resize(wanted: number): void {
    if (wanted === this.#terms.wanted) return;
    this.#terms.wanted = wanted;
    this.trade();
  }

  /**
   * What is held or wanted changed: the order follows, once for all letters that are here.
   *
   * @param anew places the order again also where its quantities are the same
   */
  trade(anew: boolean = false): void {
    this.#isStale ||= anew;
    if (this.#isPlanned || this.#isClosed) return;
    this.#isPlanned = true;
    this.#context.defer(() => {
      this.#isPlanned = false;
      if (this.#isClosed) return;
      this.#giveBack();
      this.#buy();
      this.#hooks.onChange();
    });
  }

  /** The broker knows a seller. */
  matched({ revision, seller, contact, quantity, version }: BusMessageOf<"match">): void {
    if (this.#isClosed || revision !== this.#order?.revision) return;
    if (!accepts(this.#terms.range, version)) return;
    const want = this.#allocation.take(quantity, contact.region, version);
    if (want > 0) this.#open(seller, want, contact.region);
  }

  /** There was no room for the order. */
  crowded({ revision }: BusMessageOf<"full">): void {
    if (revision === this.#order?.revision) this.#retryLater();
  }

  /** A listener opened a channel. Answers whether the opening is one of this order's. */
  accepted(accept: BusMessageOf<"accept">, from: Address): boolean {
    const { nonce, channel, grant, contact, label } = accept;
    const opening = this.#allocation.openings.get(nonce);
    if (!opening || opening.listener !== from || this.#isClosed) return false;
    this.#endOpening(nonce);
    this.#refusals = 0;
    const rttMs = this.#context.now() - opening.sentAt;
    this.#pool.add({ address: channel, listener: from, contact, label, grant, rttMs }, this);
    this.#context.watch(channel);
    this.trade();
    return true;
  }

  refused(nonce: number, from: Address): void {
    if (this.#allocation.openings.get(nonce)?.listener === from) this.#failed(nonce);
  }

  /** A listener is gone, or something else is. */
  down(address: Address): void {
    for (const [nonce, { listener }] of [...this.#allocation.openings]) {
      if (listener === address) this.#failed(nonce);
    }
  }

  /** Whether it waits for an answer of a listener. */
  isOpening(listener: Address): boolean {
    return [...this.#allocation.openings.values()].some((opening) => opening.listener === listener);
  }

  #buy(): void {
    const need = this.#allocation.need();
    const former = this.#order;
    const isSame = former !== null &&
      (Object.keys(need) as (keyof typeof need)[]).every((field) => former[field] === need[field]);
    if (isSame && !this.#isStale) return;
    this.#isStale = false;
    const { range, prefer } = this.#terms;
    this.#order = {
      ...need,
      id: former?.id ?? this.#context.nextId(),
      revision: (former?.revision ?? 0) + 1,
      side: "buy",
      module: this.#name,
      version: "",
      range,
      prefer,
      regions: this.#allocation.regions(),
      trader: this.#context.address,
      contact: this.#context.self(),
    };
    this.#context.send(addressOf("", BROKER), { kind: "order", order: this.#order });
  }

  #giveBack(): void {
    // What is to take another's place can be used by then: callers never find less in between.
    if (this.views.some(({ allowed }) => allowed === 0)) return;
    for (const { view, grant } of this.#allocation.returns()) {
      if (grant === 0) this.#hooks.drain(view);
      else this.#hooks.lower(view, grant);
    }
  }

  #open(listener: Address, want: number, region: string): void {
    const desk = this.#context;
    const nonce = desk.nextId();
    this.#allocation.openings.set(nonce, {
      listener,
      want,
      isNear: this.#allocation.isNear(region),
      sentAt: desk.now(),
      timer: desk.after(OPEN_MS, () => this.#failed(nonce)),
    });
    desk.watch(listener);
    const { range } = this.#terms;
    desk.send(listener, { kind: "open", nonce, want, range, contact: desk.self() });
    this.trade();
  }

  /** An opening came to nothing: orders anew after a while, when the exchanges know better. */
  #failed(nonce: number): void {
    const opening = this.#allocation.openings.get(nonce);
    if (!opening) return;
    this.#endOpening(nonce);
    this.#allocation.refused.push(opening);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#retry || this.#isClosed) return;
    const [least, most] = RETRY_MS;
    const full = Math.min(most, least * 2 ** Math.min(this.#refusals++, 10));
    this.#retry = this.#context.after(full * (0.5 + this.#context.random() / 2), () => {
      this.#retry = null;
      this.#allocation.refused = [];
      this.trade(true);
    });
  }

  #endOpening(nonce: number): void {
    const { openings } = this.#allocation;
    const opening = openings.get(nonce);
    if (!opening) return;
    openings.delete(nonce);
    opening.timer.cancel();
    this.#hooks.settled(opening.listener);
  }
}
