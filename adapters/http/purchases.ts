/**
 * Purchases: a cloakroom for clients that have no node of their own. What they buy hangs here
 * under a number, and is given back once nobody has asked for it for a while.
 *
 * Takes what is to be bought, calls under a number, and its end; gives numbers, answers, and
 * what is known of each. Bounded in number.
 */
import type { AtlasNode } from "../../src/api.ts";
import { AtlasError, isAtlasError } from "../../src/errors.ts";
import type {
  Balancer,
  DiscoverOptions,
  ModuleBuyer,
  ModuleCallOptions,
  ModuleCallResult,
  ModuleProxy,
  PlbStats,
} from "../../src/lambda/api.ts";
import { MAX_PURCHASES, PURCHASE_IDLE_MS } from "../../src/limits.ts";
import { noPurchase } from "./errors.ts";

/** What is known of a purchase. */
export interface PurchaseView extends PlbStats {
  readonly id: string;
  /** The names of the module's functions. */
  readonly functions: readonly string[];
  /** Requests that may run at once: what is bought by now. */
  readonly capacity: number;
}

interface Purchase {
  readonly id: string;
  readonly module: string;
  readonly proxy: ModuleProxy;
  inFlight: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** The bounds of a room of purchases. */
export interface PurchasesOptions {
  /** How long nobody may call over one or look at it, ms. Default 60,000. */
  idleMs?: number;
  /** How many there may be at once. Default 4,096. */
  most?: number;
}

export class Purchases {
  readonly #idleMs: number;
  readonly #most: number;
  readonly #purchases = new Map<string, Purchase>();
  #opening = 0;
  /** The one whose end is awaited. */
  #node: object | null = null;
  #isStopped = false;

  constructor({ idleMs = PURCHASE_IDLE_MS, most = MAX_PURCHASES }: PurchasesOptions = {}) {
    this.#idleMs = idleMs;
    this.#most = most;
  }

  /** Buys. @throws AtlasError as `discover`; `overloaded` where there are too many */
  async open(
    node: ModuleBuyer & Pick<AtlasNode, "closed">,
    module: string,
    options: DiscoverOptions,
  ): Promise<PurchaseView> {
    if (this.#purchases.size + this.#opening >= this.#most) {
      throw new AtlasError("overloaded", `this node keeps ${this.#most} purchases already`);
    }
    this.#opening++;
    if (this.#node !== node) {
      this.#node = node;
      node.closed.then(() => this.stop());
    }
    try {
      const proxy = await node.discover(module, options);
      if (this.#isStopped || options.signal?.aborted) {
        proxy.$plb.close();
        throw new AtlasError("unavailable", "the node is stopping, or its client has gone");
      }
      const id = crypto.randomUUID();
      const purchase: Purchase = { id, module, proxy, inFlight: 0, timer: undefined };
      this.#purchases.set(id, purchase);
      this.#rest(purchase);
      return viewOf(purchase);
    } finally {
      this.#opening--;
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
    try {
      return await purchase.proxy.$plb.call(name, args, options);
    } catch (error) {
      throw this.#purchases.has(id) ? error : refusedAsEnded(id, error);
    } finally {
      purchase.inFlight--;
      this.#rest(purchase);
    }
  }

  /** What is known of it; who looks uses it, too. @throws AtlasError `not_found` */
  view(id: string): PurchaseView {
    const purchase = this.#find(id);
    this.#rest(purchase);
    return viewOf(purchase);
  }

  /** Ends a purchase; resolves when what runs is done. @throws AtlasError `not_found` */
  async close(id: string): Promise<void> {
    await this.#end(this.#find(id));
  }

  /** Ends all of them. */
  stop(): void {
    this.#isStopped = true;
    for (const purchase of this.#purchases.values()) this.#end(purchase);
  }

  #find(id: string): Purchase {
    const purchase = this.#purchases.get(id);
    if (purchase) return purchase;
    throw noPurchase(id);
  }

  /** Ends it in a while, unless it is used before. */
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

/** A call that waited as its purchase ended didn't run: it may be made over another one. */
function refusedAsEnded(id: string, error: unknown): unknown {
  const isRefusal = isAtlasError(error) && error.code === "unavailable" && !error.maybeExecuted;
  return isRefusal ? noPurchase(id) : error;
}

function viewOf({ id, proxy }: Purchase): PurchaseView {
  const stats = proxy.$plb.stats();
  return { id, functions: Object.keys(proxy), capacity: stats.granted, ...stats };
}
