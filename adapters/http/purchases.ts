/**
 * Purchases of clients that have no node of their own. Each purchase is a proxy of this node, with
 * an id.
 *
 * Takes the options of a purchase and its caller, and calls under its id; gives ids, answers, and
 * the figures of each purchase. An idle purchase ends. Callers share the number of purchases and
 * the capacity of each module.
 */
import type {
  Balancer,
  DiscoverOptions,
  ModuleCallOptions,
  ModuleCallResult,
  ModuleProxy,
  Plb,
  PlbStats,
} from "../../src/api/modules.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import { AtlasError, isAtlasError } from "../../src/errors.ts";
import { wantedOf } from "../../src/lambda/market_options.ts";
import { DEFAULT_DISCOVER_MS, MAX_PURCHASES, PURCHASE_IDLE_MS } from "../../src/limits.ts";
import { noPurchase } from "../http_wire/errors.ts";
import { heaviestOf, type ShareTimes, Sharing } from "./purchase_sharing.ts";

/** The figures of a purchase. */
export interface PurchaseView extends PlbStats {
  readonly id: string;
  /** The names of the module's functions. */
  readonly functions: readonly string[];
  /** Requests that may run at once, by the capacity bought so far. */
  readonly capacity: number;
}

/** A purchase, as it is kept. */
export interface Purchase {
  readonly id: string;
  readonly caller: string;
  readonly module: string;
  readonly proxy: ModuleProxy & { readonly $plb: Plb };
  /** How much its caller asked for. */
  readonly asked: number;
  readonly boughtAt: number;
  /** The time when a call over it last began or ended. */
  calledAt: number;
  inFlight: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A purchase that waits for capacity. */
export interface Opening {
  readonly caller: string;
  readonly module: string;
  readonly options: DiscoverOptions;
  readonly since: number;
  /** Ends the wait with an error. */
  refuse(error: AtlasError): void;
}

/** The node that buys for clients, and knows other buyers' orders. */
export type PurchaseNode = Pick<AtlasNode, "closed" | "discover" | "exchange" | "incarnation">;

/** The bounds of a table of purchases. */
export interface PurchasesOptions extends Partial<ShareTimes> {
  /** How long a purchase may go without a call and without a look-up, in ms. Default 60,000. */
  idleMs?: number;
  /** How many there may be at once. Default 4,096. */
  most?: number;
}

export class Purchases {
  readonly #idleMs: number;
  readonly #most: number;
  readonly #purchases = new Map<string, Purchase>();
  readonly #openings = new Set<Opening>();
  readonly #sharing: Sharing;
  /** The node whose close is awaited. */
  #node: PurchaseNode | null = null;
  #isStopped = false;

  constructor(options: PurchasesOptions = {}) {
    const { idleMs = PURCHASE_IDLE_MS, most = MAX_PURCHASES, ...times } = options;
    this.#idleMs = idleMs;
    this.#most = most;
    this.#sharing = new Sharing({
      purchases: () => [...this.#purchases.values()],
      openings: () => [...this.#openings],
      end: (purchase) => this.#end(purchase),
    }, times);
  }

  /**
   * Buys for `caller`. All callers without a name count as one.
   *
   * @throws AtlasError as `discover`; `overloaded` if there are too many, or if the caller holds
   * more of the module than another one that waits for it
   */
  async open(
    node: PurchaseNode,
    module: string,
    options: DiscoverOptions,
    caller: string = "",
  ): Promise<PurchaseView> {
    this.#sharing.check(caller, module);
    this.#makeRoom(caller);
    if (this.#node !== node) {
      this.#node = node;
      node.closed.then(() => this.stop());
    }
    const refused = new AbortController();
    const { signal } = options;
    const opening: Opening = {
      caller,
      module,
      options: { timeoutMs: DEFAULT_DISCOVER_MS, ...options },
      since: performance.now(),
      refuse: (error) => refused.abort(error),
    };
    this.#openings.add(opening);
    this.#sharing.watch(node);
    try {
      const proxy = await node.discover(module, {
        ...options,
        signal: signal ? AbortSignal.any([signal, refused.signal]) : refused.signal,
      });
      if (this.#isStopped || signal?.aborted || refused.signal.aborted) {
        proxy.$plb.close();
        throw new AtlasError("unavailable", "the node is stopping, or its client has gone");
      }
      return viewOf(this.#add(opening, proxy as Purchase["proxy"]));
    } catch (error) {
      throw refused.signal.aborted ? refused.signal.reason : error;
    } finally {
      this.#openings.delete(opening);
    }
  }

  /** Calls a function over a purchase. @throws AtlasError as the call; `not_found` */
  async call(
    id: string,
    module: string,
    name: string,
    args: readonly unknown[],
    options: ModuleCallOptions,
  ): Promise<ModuleCallResult> {
    const purchase = this.#find(id);
    if (purchase.module !== module) {
      const what = `purchase ${id} is of ${purchase.module}, not of ${module}`;
      throw new AtlasError("bad_request", what);
    }
    clearTimeout(purchase.timer);
    purchase.inFlight++;
    purchase.calledAt = performance.now();
    try {
      return await purchase.proxy.$plb.call(name, args, options);
    } catch (error) {
      throw this.#purchases.has(id) ? error : refusedAsEnded(id, error);
    } finally {
      purchase.inFlight--;
      purchase.calledAt = performance.now();
      this.#rest(purchase);
    }
  }

  /** The figures of a purchase; reading them counts as use. @throws AtlasError `not_found` */
  view(id: string): PurchaseView {
    const purchase = this.#find(id);
    this.#rest(purchase);
    return viewOf(purchase);
  }

  /** Ends a purchase; resolves when its running calls are done. @throws AtlasError `not_found` */
  async close(id: string): Promise<void> {
    await this.#end(this.#find(id));
  }

  /** Ends all of them. */
  stop(): void {
    this.#isStopped = true;
    this.#sharing.stop();
    for (const purchase of this.#purchases.values()) this.#end(purchase);
  }

  #add({ caller, module, options }: Opening, proxy: Purchase["proxy"]): Purchase {
    const now = performance.now();
    const purchase: Purchase = {
      id: crypto.randomUUID(),
      caller,
      module,
      proxy,
      asked: wantedOf(options),
      boughtAt: now,
      calledAt: now,
      inFlight: 0,
      timer: undefined,
    };
    this.#purchases.set(purchase.id, purchase);
    this.#rest(purchase);
    return purchase;
  }

  /**
   * Makes room in a full table for a caller with fewer purchases than another: the caller with most
   * loses the purchase that was used longest ago, or an opening that waits.
   *
   * @throws AtlasError `overloaded` if no caller has more
   */
  #makeRoom(caller: string): void {
    if (this.#purchases.size + this.#openings.size < this.#most) return;
    const found = heaviestOf(caller, [...this.#purchases.values(), ...this.#openings]);
    if (found === null) throw this.#full();
    const [first] = [...this.#purchases.values()].filter((it) => it.caller === found)
      .sort((a, b) => Math.sign(a.inFlight) - Math.sign(b.inFlight) || a.calledAt - b.calledAt);
    if (first) return void this.#end(first);
    const last = [...this.#openings].findLast((it) => it.caller === found);
    if (!last) throw this.#full();
    this.#openings.delete(last);
    last.refuse(this.#full());
  }

  #full(): AtlasError {
    const what = `this node keeps ${this.#most} purchases already, ` +
      "and no other caller has more of them than this one";
    return new AtlasError("overloaded", what);
  }

  #find(id: string): Purchase {
    const purchase = this.#purchases.get(id);
    if (purchase) return purchase;
    throw noPurchase(id);
  }

  /** Ends a purchase after the idle time, unless it is used before. */
  #rest(purchase: Purchase): void {
    if (purchase.inFlight > 0 || !this.#purchases.has(purchase.id)) return;
    clearTimeout(purchase.timer);
    purchase.timer = setTimeout(() => this.#end(purchase), this.#idleMs);
  }

  #end(purchase: Purchase): ReturnType<Balancer["close"]> {
    clearTimeout(purchase.timer);
    this.#purchases.delete(purchase.id);
    return purchase.proxy.$plb.close();
  }
}

/** A call that waited when its purchase ended did not run: it may be repeated over another one. */
function refusedAsEnded(id: string, error: unknown): unknown {
  const isRefusal = isAtlasError(error) && error.code === "unavailable" && !error.maybeExecuted;
  return isRefusal ? noPurchase(id) : error;
}

function viewOf({ id, proxy }: Purchase): PurchaseView {
  const stats = proxy.$plb.stats();
  return { id, functions: Object.keys(proxy), capacity: stats.granted, ...stats };
}
