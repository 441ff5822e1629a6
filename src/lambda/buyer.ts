/**
 * The buying half of a load balancer: it keeps one order at the broker in step with what
 * is wanted, and shakes hands with the sellers it is introduced to.
 *
 * Takes the matches, acceptances and refusals that its balancer hands it; gives `order` and
 * `cancel` to the broker and `open` to listeners, and puts what was opened into the pool.
 */
import type { Timer } from "../ports/clock.ts";
import { type Address, addressOf, BROKER } from "./address.ts";
import type { Preference } from "./api.ts";
import type { LetterOf } from "./letters.ts";
import { accepts } from "./module.ts";
import type { Order } from "./order.ts";
import type { Desk } from "./part.ts";
import type { ChannelView, Pool } from "./pool.ts";
import { Purchase } from "./purchase.ts";

/** How long a listener may take to answer an `open`, ms. */
const OPEN_MS = 2_000;
/** The pause before an order is placed again that a listener could not serve, ms: from, to. */
const RETRY_MS = [20, 1_000] as const;

/** What is bought. */
export interface BuyerParts {
  readonly name: string;
  /** How much at first. */
  readonly wanted: number;
  /** Null: the newest stable version. */
  readonly range: string | null;
  readonly prefer: Preference;
}

/** What the balancer does for its buyer. */
export interface BuyerHooks {
  desk(): Desk;
  /** Sends no more over a channel, and gives its capacity back. */
  drain(view: ChannelView): void;
  /** What is held or wanted changed. */
  onChange(): void;
}

export class Buyer {
  readonly #parts: BuyerParts;
  readonly #hooks: BuyerHooks;
  readonly #pool: Pool;
  readonly #purchase: Purchase;
  #order: Order | null = null;
  /** The order is to be placed again, though nothing in it changed. */
  #isStale = false;
  #isPlanned = false;
  #refusals = 0;
  #retry: Timer | null = null;
  #isClosed = false;

  constructor(parts: BuyerParts, pool: Pool, hooks: BuyerHooks) {
    this.#parts = parts;
    this.#pool = pool;
    this.#hooks = hooks;
    this.#purchase = new Purchase(parts, pool, () => this.#desk.self().region);
  }

  /** How much is wanted now. */
  get wanted(): number {
    return this.#purchase.wanted;
  }

  get #desk(): Desk {
    return this.#hooks.desk();
  }

  /** Buys no more. */
  close(): void {
    this.#isClosed = true;
    if (!this.#order) return;
    this.#desk.send(addressOf("", BROKER), { kind: "cancel", id: this.#order.id });
  }

  /** Wants so much from now on. */
  resize(wanted: number): void {
    if (wanted === this.wanted) return;
    this.#purchase.wanted = wanted;
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
    this.#desk.soon(() => {
      this.#isPlanned = false;
      if (this.#isClosed) return;
      this.#giveBack();
      this.#buy();
      this.#hooks.onChange();
    });
  }

  /** The broker knows a seller. */
  matched({ id, revision, seller, contact, quantity, version }: LetterOf<"match">): void {
    if (this.#isClosed || id !== this.#order?.id || revision !== this.#order.revision) return;
    if (!accepts(this.#parts.range, version)) return;
    const want = this.#purchase.take(quantity, contact.region);
    if (want > 0) this.#open(seller, want, null, contact.region);
  }

  /** Opens a channel of `want` that takes the place of `view`, on the seller's present code. */
  replace(view: ChannelView, want: number): void {
    view.isReplaced = true;
    this.#open(view.listener, want, view, view.contact.region);
  }

  /** A listener opened a channel. Answers whether it was still wanted. */
  accepted(accept: LetterOf<"accept">, from: Address): boolean {
    const { nonce, channel, grant, contact, label } = accept;
    const opening = this.#purchase.openings.get(nonce);
    if (!opening || opening.listener !== from || this.#isClosed) {
      // Too late: it is given back as it is.
      this.#desk.send(channel, { kind: "drain", used: 0 });
      return false;
    }
    this.#endOpening(nonce);
    this.#refusals = 0;
    const rttMs = this.#desk.now() - opening.sentAt;
    this.#pool.add({ address: channel, listener: from, contact, label, grant, rttMs });
    this.#desk.watch(channel);
    // The new code is bought; now the old one is drained.
    if (opening.replaces) this.#hooks.drain(opening.replaces);
    this.trade();
    return true;
  }

  refused(nonce: number, from: Address): void {
    if (this.#purchase.openings.get(nonce)?.listener === from) this.#failed(nonce);
  }

  /** A listener is gone, or something else is. */
  down(address: Address): void {
    for (const [nonce, { listener }] of [...this.#purchase.openings]) {
      if (listener === address) this.#failed(nonce);
    }
  }

  #buy(): void {
    const { quantity, nearby } = this.#purchase.need();
    const former = this.#order;
    const isSame = former?.quantity === quantity && former.nearby === nearby;
    if (isSame && !this.#isStale) return;
    this.#isStale = false;
    const { name, range, prefer } = this.#parts;
    this.#order = {
      id: former?.id ?? this.#desk.draw(),
      revision: (former?.revision ?? 0) + 1,
      side: "buy",
      module: name,
      quantity,
      nearby,
      version: "",
      range,
      prefer,
      regions: this.#purchase.regions(),
      trader: this.#desk.address,
      contact: this.#desk.self(),
    };
    this.#desk.send(addressOf("", BROKER), { kind: "order", order: this.#order });
  }

  #giveBack(): void {
    for (const { view, grant } of this.#purchase.returns()) {
      if (grant === 0) this.#hooks.drain(view);
      else this.replace(view, grant);
    }
  }

  #open(listener: Address, want: number, replaces: ChannelView | null, region: string): void {
    const desk = this.#desk;
    const nonce = desk.draw();
    this.#purchase.openings.set(nonce, {
      listener,
      want,
      isNear: this.#purchase.isNear(region),
      replaces,
      sentAt: desk.now(),
      timer: desk.after(OPEN_MS, () => this.#failed(nonce)),
    });
    desk.watch(listener);
    desk.send(listener, {
      kind: "open",
      nonce,
      want,
      range: this.#parts.range,
      replaces: replaces?.address ?? null,
      contact: desk.self(),
    });
    this.trade();
  }

  /** An opening came to nothing: orders anew after a while, when the exchanges know better. */
  #failed(nonce: number): void {
    const opening = this.#purchase.openings.get(nonce);
    if (!opening) return;
    this.#endOpening(nonce);
    // What couldn't be replaced stays as it is; what is too much is to be given back still.
    if (opening.replaces) opening.replaces.isReplaced = false;
    else this.#purchase.refused.push(opening);
    if (opening.want !== opening.replaces?.grant) this.#retryLater();
  }

  #retryLater(): void {
    if (this.#retry || this.#isClosed) return;
    const [least, most] = RETRY_MS;
    const full = Math.min(most, least * 2 ** Math.min(this.#refusals++, 10));
    this.#retry = this.#desk.after(full * (0.5 + this.#desk.chance() / 2), () => {
      this.#retry = null;
      this.#purchase.refused = [];
      this.trade(true);
    });
  }

  #endOpening(nonce: number): void {
    const { openings } = this.#purchase;
    const opening = openings.get(nonce);
    if (!opening) return;
    openings.delete(nonce);
    opening.timer.cancel();
    const isLast = ![...openings.values()].some(({ listener }) => listener === opening.listener);
    if (isLast) this.#desk.unwatch(opening.listener);
  }
}
