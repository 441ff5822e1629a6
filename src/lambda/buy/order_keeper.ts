/**
 * Keeps one buy order of a load balancer: updates it at the broker as needs change, and opens
 * channels at the sellers it is matched with.
 *
 * Takes `match`, `full`, `accept`, `refuse` and `down`; sends `order` and `cancel` to the
 * broker and `open` to listeners, and adds opened channels to the pool.
 */
import { accepts } from "../../api/module.ts";
import type { Timer } from "../../ports/clock.ts";
import { type Address, addressOf, BROKER } from "../bus/address.ts";
import type { BusMessageOf } from "../bus/messages.ts";
import type { Order } from "../bus/order.ts";
import type { ProcessContext } from "../bus/process.ts";
import { Allocation, type BuyTerms, type Opening } from "./allocation.ts";
import type { ChannelPool } from "./channel_pool.ts";
import type { ChannelView } from "./module_call.ts";

/** How long a listener may take to answer an `open`, ms. */
const OPEN_MS = 2_000;
/**
 * The shortest and the longest backoff before an order is placed again after a failed opening, in
 * ms.
 */
const RETRY_MS = [20, 1_000] as const;

/** What the load balancer does for its order keepers. */
export interface OrderKeeperHooks {
  context(): ProcessContext;
  /** Sends no more requests on a channel and returns its capacity. */
  drain(view: ChannelView): void;
  /** Returns part of a channel's capacity. */
  lower(view: ChannelView, grant: number): void;
  /** An opening at a listener succeeded or failed. */
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
  readonly #openings = new Map<number, Opening>();
  /** Failed openings: their capacity is not ordered again before the next retry. */
  #refused: Opening[] = [];
  #order: Order | null = null;
  /** The order must be sent again even if unchanged. */
  #mustResend = false;
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
    this.#allocation = new Allocation(
      terms,
      () => this.views,
      () => [...this.#openings.values(), ...this.#refused],
      () => this.#context.self().region,
    );
  }

  /** The order's channels that are not draining. */
  get views(): ChannelView[] {
    return this.#pool.viewsOf(this);
  }

  /** Capacity held. */
  get granted(): number {
    return this.views.reduce((sum, { grant }) => sum + grant, 0);
  }

  /** Whether all capacity is held and credit has arrived on every channel. */
  get isSatisfied(): boolean {
    const { views } = this;
    return this.granted >= this.#terms.wanted && views.every(({ allowed }) => allowed > 0);
  }

  /** The order's id at the broker; 0: not placed yet. */
  get id(): number {
    return this.#order?.id ?? 0;
  }

  get terms(): Readonly<BuyTerms> {
    return this.#terms;
  }

  get #context(): ProcessContext {
    return this.#hooks.context();
  }

  /** Stops buying. */
  close(): void {
    this.#isClosed = true;
    if (!this.#order) return;
    this.#context.send(addressOf("", BROKER), { kind: "cancel", id: this.#order.id });
  }

  /** Changes the wanted capacity. */
  resize(wanted: number): void {
    if (wanted === this.#terms.wanted) return;
    this.#terms.wanted = wanted;
    this.update();
  }

  /**
   * Updates the order after what is held or wanted changed; once for all messages queued now.
   *
   * @param force sends the order even if its quantities are unchanged
   */
  update(force: boolean = false): void {
    this.#mustResend ||= force;
    if (this.#isPlanned || this.#isClosed) return;
    this.#isPlanned = true;
    this.#context.defer(() => {
      this.#isPlanned = false;
      if (this.#isClosed) return;
      this.#returnExcess();
      this.#buy();
      this.#hooks.onChange();
    });
  }

  /** The order was matched with a seller. */
  matched({ revision, seller, contact, quantity, version }: BusMessageOf<"match">): void {
    if (this.#isClosed || revision !== this.#order?.revision) return;
    if (!accepts(this.#terms.range, version)) return;
    const want = this.#allocation.take(quantity, contact.region, version);
    if (want > 0) this.#open(seller, want, contact.region);
  }

  /** The broker had no room for the order. */
  noRoom({ revision }: BusMessageOf<"full">): void {
    if (revision === this.#order?.revision) this.#retryLater();
  }

  /** A listener opened a channel. Returns whether the opening is one of this order's. */
  accepted(accept: BusMessageOf<"accept">, from: Address): boolean {
    const { nonce, channel, grant, contact, label } = accept;
    const opening = this.#openings.get(nonce);
    if (!opening || opening.listener !== from || this.#isClosed) return false;
    this.#endOpening(nonce);
    this.#refusals = 0;
    const rttMs = this.#context.now() - opening.sentAt;
    this.#pool.add({ address: channel, listener: from, contact, label, grant, rttMs }, this);
    this.#context.watch(channel);
    this.update();
    return true;
  }

  refused(nonce: number, from: Address): void {
    if (this.#openings.get(nonce)?.listener === from) this.#failed(nonce);
  }

  /** A watched process, perhaps a listener, is gone. */
  down(address: Address): void {
    for (const [nonce, { listener }] of [...this.#openings]) {
      if (listener === address) this.#failed(nonce);
    }
  }

  /** Whether an answer of this listener is awaited. */
  isOpening(listener: Address): boolean {
    return [...this.#openings.values()].some((opening) => opening.listener === listener);
  }

  #buy(): void {
    const need = this.#allocation.need();
    const previous = this.#order;
    const isSame = previous !== null &&
      (Object.keys(need) as (keyof typeof need)[]).every((field) =>
        previous[field] === need[field]
      );
    if (isSame && !this.#mustResend) return;
    this.#mustResend = false;
    const { range, prefer } = this.#terms;
    this.#order = {
      ...need,
      id: previous?.id ?? this.#context.nextId(),
      revision: (previous?.revision ?? 0) + 1,
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

  #returnExcess(): void {
    // Waits until every replacement has credit, so that callers always keep their capacity.
    if (this.views.some(({ allowed }) => allowed === 0)) return;
    for (const { view, grant } of this.#allocation.returns()) {
      if (grant === 0) this.#hooks.drain(view);
      else this.#hooks.lower(view, grant);
    }
  }

  #open(listener: Address, want: number, region: string): void {
    const context = this.#context;
    const nonce = context.nextId();
    this.#openings.set(nonce, {
      listener,
      want,
      isNear: this.#allocation.isNear(region),
      sentAt: context.now(),
      timer: context.after(OPEN_MS, () => this.#failed(nonce)),
    });
    context.watch(listener);
    const { range } = this.#terms;
    context.send(listener, { kind: "open", nonce, want, range, contact: context.self() });
    this.update();
  }

  /**
   * An opening failed: orders again after a backoff, once the exchanges know the new quantities.
   */
  #failed(nonce: number): void {
    const opening = this.#openings.get(nonce);
    if (!opening) return;
    this.#endOpening(nonce);
    this.#refused.push(opening);
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#retry || this.#isClosed) return;
    const [least, most] = RETRY_MS;
    const delayMs = Math.min(most, least * 2 ** Math.min(this.#refusals++, 10));
    this.#retry = this.#context.after(delayMs * (0.5 + this.#context.random() / 2), () => {
      this.#retry = null;
      this.#refused = [];
      this.update(true);
    });
  }

  #endOpening(nonce: number): void {
    const opening = this.#openings.get(nonce);
    if (!opening) return;
    this.#openings.delete(nonce);
    opening.timer.cancel();
    this.#hooks.settled(opening.listener);
  }
}
