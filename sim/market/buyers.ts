/**
 * A buyer of a simulated market: discovers a module on one node, retries if there was no seller,
 * and discovers it again in each new process of the node.
 */
import { isAtlasError } from "../../src/errors.ts";
import type { DiscoverOptions, ModuleProxy } from "../../src/api/modules.ts";
import type { SimNode, World } from "../engine/world.ts";
import type { Trade } from "../plan/market_plan.ts";

/** How long a buyer waits before it retries, ms. */
const AGAIN_MS = 300;
const DISCOVER_MS = 3_000;

/** A buyer's proxy in one process. */
export interface BoughtProxy {
  readonly sim: SimNode;
  proxy: ModuleProxy | null;
  /** Aborts the discovery in progress. */
  giver: AbortController | null;
  /** It has returned all capacity. */
  isClosed: boolean;
}

export class SimBuyer {
  readonly slot: number;
  readonly module: string;
  readonly trade: Trade;
  isOpen = true;
  readonly holders: Map<SimNode, BoughtProxy> = new Map();
  readonly #world: World;

  constructor(world: World, slot: number, module: string, trade: Trade) {
    this.#world = world;
    this.slot = slot;
    this.module = module;
    this.trade = trade;
  }

  /** The proxy in the node's current process, or in an earlier one that still runs. */
  holder(): BoughtProxy | undefined {
    const { current, former } = this.#world.slot(this.slot);
    for (const sim of [current, ...former]) {
      const holder = sim ? this.holders.get(sim) : undefined;
      if (holder?.proxy) return holder;
    }
    return undefined;
  }

  /** The version ranges of its orders. */
  get ranges(): string[] {
    const { range, also } = this.trade;
    return also === "none" ? [range] : [range, also];
  }

  proxyOf(sim: SimNode): ModuleProxy | null {
    return this.holders.get(sim)?.proxy ?? null;
  }

  /** Begins to buy. Runs within the process. */
  discover(sim: SimNode): void {
    if (this.holders.has(sim)) return;
    const holder: BoughtProxy = { sim, proxy: null, giver: null, isClosed: false };
    this.holders.set(sim, holder);
    this.#ask(holder);
  }

  /** Returns all capacity in every process. */
  leave(): void {
    this.isOpen = false;
    for (const holder of this.holders.values()) {
      holder.sim.process.enter(() => {
        if (holder.proxy) this.#close(holder, holder.proxy);
        else if (holder.giver) holder.giver.abort();
        else holder.isClosed = true;
      });
    }
  }

  #ask(holder: BoughtProxy): void {
    const { sim } = holder;
    const { capacity, range, also, prefer, bias, isWhole, noWait } = this.trade;
    const first = { capacity, ...range !== "" && { version: range } };
    const second = { capacity: 1, ...also !== "" && { version: also } };
    const giver = holder.giver = new AbortController();
    const options: DiscoverOptions = {
      prefer,
      bias,
      noWait,
      waitFor: isWhole ? "all" : "some",
      timeoutMs: DISCOVER_MS,
      signal: giver.signal,
      ...also === "none" ? first : { orders: [first, second] },
    };
    const { trace, scheduler } = this.#world;
    trace.note("discover", sim.process.id, this.module, capacity, range);
    sim.node?.discover(this.module, options).then((proxy) => {
      trace.note("discovered", sim.process.id, this.module, capacity);
      holder.giver = null;
      if (this.isOpen) holder.proxy = proxy;
      else this.#close(holder, proxy);
    }, (error: unknown) => {
      trace.note("not discovered", sim.process.id, this.module, String(error));
      holder.giver = null;
      if (!isAtlasError(error) || !["unavailable", "timeout"].includes(error.code)) throw error;
      if (!this.isOpen) return void (holder.isClosed = true);
      scheduler.after(AGAIN_MS, () =>
        sim.process.enter(() => {
          if (this.isOpen) this.#ask(holder);
        }));
    });
  }

  #close(holder: BoughtProxy, proxy: ModuleProxy): void {
    proxy.$plb.close().then(() => {
      this.#world.trace.note("left", holder.sim.process.id, this.module);
      holder.isClosed = true;
    });
  }
}
