/**
 * Applies the fair share between callers (`purchase_shares.ts`). Every 250 ms it looks for callers
 * that wait for capacity, and makes purchases of callers that hold more return some of it;
 * periodically it asks whether buyers of other nodes wait for what is unused here. Takes the
 * table's purchases and openings; resizes or ends purchases, and refuses openings.
 */
import { accepts } from "../../src/api/module.ts";
import type { DiscoverOptions, OrderView } from "../../src/api/modules.ts";
import { AtlasError } from "../../src/errors.ts";
import { wantedOf } from "../../src/lambda/market_options.ts";
import {
  MAX_PURCHASE_ASKS,
  PURCHASE_ASK_MS,
  PURCHASE_IDLE_MS,
  PURCHASE_STAND_MS,
  PURCHASE_WAIT_MS,
} from "../../src/limits.ts";
import { capacityByCaller, type Held, type Ranges, relief } from "./purchase_shares.ts";
import type { Opening, Purchase, PurchaseNode } from "./purchases.ts";

export interface ShareTimes {
  /** How long a caller waits before others return capacity in its favour, in ms. Default 1,000. */
  waitMs: number;
  /**
   * The least age of a purchase that is ended in favour of another caller, in ms. Default 5,000.
   */
  leastMs: number;
  /** How often the node asks whether other nodes' buyers wait, in ms. Default 10,000. */
  askMs: number;
  /**
   * How long a purchase must be unused before it ends in favour of another node's buyer, in ms.
   * Default 60,000.
   */
  unusedMs: number;
}

/** The table of purchases. */
export interface Table {
  purchases(): Purchase[];
  openings(): Opening[];
  end(purchase: Purchase): void;
}

/** A purchase as `purchase_shares.ts` takes it. */
type HeldPurchase = Held & { readonly purchase: Purchase };

/** An opening that waits, and the callers that hold more than its caller. */
interface Served {
  readonly opening: Opening;
  readonly heavier: ReadonlySet<string>;
}

/** How much capacity other callers returned in favour of an opening. */
interface Relieved {
  at: number;
  sum: number;
}

export class Sharing {
  readonly #table: Table;
  readonly #times: ShareTimes;
  readonly #relieved = new WeakMap<Opening, Relieved>();
  /** By module, as of the last round: the opening to be served first. */
  #served: ReadonlyMap<string, Served> = new Map();
  /** Purchases that want less than their caller asked for. */
  readonly #held = new Set<Purchase>();
  #node: PurchaseNode | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #askedAt = 0;
  #turn = 0;
  #isStopped = false;

  constructor(table: Table, times: Partial<ShareTimes>) {
    this.#table = table;
    this.#times = {
      waitMs: PURCHASE_WAIT_MS,
      leastMs: PURCHASE_STAND_MS,
      askMs: PURCHASE_ASK_MS,
      unusedMs: PURCHASE_IDLE_MS,
      ...times,
    };
  }

  /** @throws AtlasError `overloaded` if another caller has to be served first */
  check(caller: string, module: string): void {
    const served = this.#served.get(module);
    if (!served?.heavier.has(caller)) return;
    if (this.#table.openings().includes(served.opening)) throw othersFirst(module);
  }

  /** Starts the rounds, because something has been bought. */
  watch(node: PurchaseNode): void {
    this.#node = node;
    if (this.#timer !== undefined || this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#runRound();
    }, this.#times.waitMs / 4);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #runRound(): void {
    const now = performance.now();
    const purchases = this.#table.purchases();
    const openings = this.#table.openings();
    const waiting = Map.groupBy(
      openings.filter((it) => now - it.since >= this.#waitOf(it)),
      ({ module }) => module,
    );
    const served = new Map<string, Served>();
    for (const [module, group] of waiting) {
      const found = this.#relieve(group, purchases.filter((it) => it.module === module), now);
      if (found) served.set(module, found);
    }
    this.#served = served;
    this.#restoreSizes();
    this.#refuse(openings);
    if (now - this.#askedAt >= this.#times.askMs) void this.#ask(purchases, now);
    if (purchases.length + openings.length > 0) this.watch(this.#node as PurchaseNode);
  }

  /** A quarter of the time that a caller gives, if that is short. */
  #waitOf({ options: { timeoutMs = Infinity } }: Opening): number {
    return Math.min(this.#times.waitMs, timeoutMs / 4);
  }

  /** Frees capacity for the caller that holds least; null if no other holds more. */
  #relieve(
    openings: readonly Opening[],
    purchases: readonly Purchase[],
    now: number,
  ): Served | null {
    const all = purchases.map(heldOf);
    const sums = new Map<string, Map<string, number>>();
    const mine = ({ caller, options }: Opening): number => {
      const ranges = rangesOf(options);
      const key = JSON.stringify(ranges);
      const known = sums.get(key) ?? capacityByCaller(ranges, all);
      sums.set(key, known);
      return known.get(caller) ?? 0;
    };
    const [first] = [...openings].sort((a, b) => mine(a) - mine(b) || a.since - b.since);
    if (first === undefined) return null;
    const { caller, options } = first;
    const relieved = this.#relievedOf(first, now);
    const asked = wantedOf(options);
    const waiting = { caller, ranges: rangesOf(options), asked, relieved: relieved.sum };
    const found = relief(waiting, all, now - this.#times.leastMs);
    if (found === null) return null;
    // Capacity that was returned may not have reached its new buyer yet.
    const isDue = now - relieved.at >= this.#times.waitMs;
    for (const [{ purchase, granted }, keep] of found.keeps) {
      if (keep >= granted || isDue) this.#keep(purchase, keep);
    }
    if (isDue && found.given > 0) {
      relieved.at = now;
      relieved.sum += found.given;
    }
    return { opening: first, heavier: found.heavier };
  }

  #relievedOf(opening: Opening, now: number): Relieved {
    let relieved = this.#relieved.get(opening);
    if (!relieved) this.#relieved.set(opening, relieved = { at: -Infinity, sum: 0 });
    // The capacity went to another buyer; otherwise the opening would have been served.
    const isLost = now - relieved.at >= this.#times.leastMs + this.#times.waitMs;
    if (isLost && opening.options.waitFor !== "all") relieved.sum = 0;
    return relieved;
  }

  #keep(purchase: Purchase, keep: number): void {
    if (keep === 0) {
      this.#held.delete(purchase);
      return this.#table.end(purchase);
    }
    this.#held.add(purchase);
    purchase.proxy.$plb.resize(keep);
  }

  /** No caller waits any more: purchases again want as much as their callers asked for. */
  #restoreSizes(): void {
    const known = new Set(this.#table.purchases());
    for (const purchase of this.#held) {
      if (!known.has(purchase)) this.#held.delete(purchase);
      else if (!this.#served.has(purchase.module)) {
        this.#held.delete(purchase);
        purchase.proxy.$plb.resize(purchase.asked);
      }
    }
  }

  /** Refuses openings of callers that hold more than the one to be served. */
  #refuse(openings: readonly Opening[]): void {
    for (const opening of openings) {
      if (!this.#served.get(opening.module)?.heavier.has(opening.caller)) continue;
      opening.refuse(othersFirst(opening.module));
    }
  }

  /** The modules to ask about in this round, taken in turn. */
  #nextGroups<T>(groups: readonly T[]): T[] {
    const from = groups.length > MAX_PURCHASE_ASKS ? this.#turn++ * MAX_PURCHASE_ASKS : 0;
    const first = from % Math.max(1, groups.length);
    return [...groups.slice(first), ...groups.slice(0, first)].slice(0, MAX_PURCHASE_ASKS);
  }

  /**
   * For each module that a buyer of another node wants, ends one purchase over which nobody makes
   * calls.
   */
  async #ask(purchases: readonly Purchase[], now: number): Promise<void> {
    this.#askedAt = now;
    const unused = purchases
      .filter(({ inFlight, calledAt }) => inFlight === 0 && now - calledAt >= this.#times.unusedMs)
      .sort((a, b) => a.calledAt - b.calledAt);
    const groups = this.#nextGroups([...Map.groupBy(unused, ({ module }) => module)]);
    await Promise.all(groups.map(async ([module, group]) => {
      const node = this.#node as PurchaseNode;
      const views = await node.exchange(module).catch(() => []);
      const orders = views.flatMap((view) => view.orders);
      const first = group.find((it) =>
        it.inFlight === 0 && it.calledAt <= now &&
        heldOf(it).versions.some((version) => isShort(orders, version, node.incarnation))
      );
      if (first && !this.#isStopped) this.#table.end(first);
    }));
  }
}

/** Whether a buyer of another node finds no seller of a version. */
function isShort(orders: readonly OrderView[], version: string, own: string): boolean {
  const isOpen = ({ quantity, held }: OrderView): boolean => quantity > held;
  const isFree = orders.some((it) => it.side === "sell" && isOpen(it) && it.version === version);
  return !isFree &&
    orders.some((it) =>
      it.side === "buy" && it.incarnation !== own && isOpen(it) && accepts(it.version, version)
    );
}

/** The caller that holds most, if it holds at least two more than `caller`. */
export function heaviestOf(
  caller: string,
  all: readonly { readonly caller: string }[],
): string | null {
  const counts = new Map<string, number>();
  for (const it of all) counts.set(it.caller, (counts.get(it.caller) ?? 0) + 1);
  const own = counts.get(caller) ?? 0;
  const [heaviest] = [...counts].sort(([, a], [, b]) => b - a);
  return heaviest && heaviest[1] > own + 1 ? heaviest[0] : null;
}

/** The ranges of a buyer's orders. */
function rangesOf({ version, orders = [{ version }] }: DiscoverOptions): Ranges {
  return orders.map(({ version }) => version ?? null);
}

function heldOf(purchase: Purchase): HeldPurchase {
  const { caller, proxy, inFlight, boughtAt, calledAt } = purchase;
  const { granted, wanted, channels } = proxy.$plb.stats();
  const open = channels.filter(({ draining }) => !draining);
  const versions = [...new Set(open.map(({ version }) => version))];
  return { purchase, caller, versions, granted, wanted, inFlight, boughtAt, calledAt };
}

function othersFirst(module: string): AtlasError {
  const what = `another caller waits for capacity of ${module}, of which this one holds more`;
  return new AtlasError("overloaded", what);
}
