/**
 * The traders of a simulated market: publishes, discovers and calls as planned through the nodes'
 * public API, repeats that whenever a node restarts, and records the outcome in the history.
 */
import { isAtlasError, messageOf } from "../../src/errors.ts";
import type { Listener } from "../../src/api/modules.ts";
import type { SimNode, Slot, World } from "../engine/world.ts";
import { SimModules } from "./modules.ts";
import type { MarketHistory, ModuleCallRecord, Publication } from "./history.ts";
import { SimBuyer } from "./buyers.ts";
import { PLAIN_TRADE, type Trade } from "../plan/market_plan.ts";

/** How long running calls may take when their listener is closed, ms. */
const DRAIN_MS = 2_000;
/** Limits of the calls that are made after healing, ms. */
const PROBE_TIMEOUT_MS = 10_000;
const PROBE_MS = 5;
/** The capacity that is reserved for buyers of the node's region, if there is any. */
const KEPT = 1;

/** A module that a node publishes each time it starts. */
export interface SimSeller {
  readonly slot: number;
  readonly trade: Trade;
  version: string;
  build: number;
  isOpen: boolean;
  readonly publications: Map<SimNode, Publication>;
}

export class Traders {
  readonly sellers: SimSeller[] = [];
  readonly buyers: SimBuyer[] = [];
  /** Buyers that were closed. */
  readonly former: SimBuyer[] = [];
  readonly #world: World;
  readonly #history: MarketHistory;
  readonly #modules: SimModules;

  constructor(world: World, history: MarketHistory) {
    this.#world = world;
    this.#history = history;
    this.#modules = new SimModules(world, history);
  }

  /** A node is ready: its sellers and buyers begin. Runs within its process. */
  ready(slot: Slot, sim: SimNode): void {
    for (const seller of this.sellers) {
      if (seller.isOpen && seller.slot === slot.index) this.#publish(seller, sim);
    }
    for (const buyer of this.buyers) {
      if (buyer.slot === slot.index) buyer.discover(sim);
    }
  }

  /** Does one trade of the plan. */
  trade(trade: Trade): void {
    const { pick } = trade;
    switch (trade.what) {
      case "publish":
        return this.#open(trade);
      case "discover":
        return this.#discover(trade);
      case "update":
        return this.#update(of(this.sellers, pick), trade);
      case "close":
        return this.#close(of(this.sellers, pick));
      case "leave":
        return this.#leave(of(this.buyers, pick));
      case "call":
        return this.#call(of(this.buyers, pick), trade);
      case "look":
        return this.#look(trade);
    }
  }

  /** After healing: ends functions that never return. */
  healed(): void {
    this.#modules.release();
  }

  /** Every buyer calls as often as it has capacity, and once more. Gives the records. */
  probe(): ModuleCallRecord[] {
    const records: ModuleCallRecord[] = [];
    const trade = { ...PLAIN_TRADE, timeoutMs: PROBE_TIMEOUT_MS, ms: PROBE_MS };
    for (const buyer of this.buyers) {
      const holder = buyer.holder();
      const granted = holder?.proxy?.$plb.stats().granted ?? 0;
      if (!holder || granted === 0) continue;
      holder.sim.process.enter(() => {
        for (let n = 0; n <= granted; n++) {
          records.push(this.#callOf(buyer, holder.sim, trade, true));
        }
      });
    }
    return records;
  }

  #open(trade: Trade): void {
    const slot = trade.node % this.#world.slots.length;
    const { version } = trade;
    const build = this.#modules.build();
    const seller = { slot, trade, version, build, isOpen: true, publications: new Map() };
    this.sellers.push(seller);
    const sim = this.#world.slot(slot).current;
    if (sim?.node) sim.process.enter(() => this.#publish(seller, sim));
  }

  #publish(seller: SimSeller, sim: SimNode): void {
    const { trade: { module, capacity, low, isKept }, version, build, publications } = seller;
    if (!sim.node || !seller.isOpen || publications.has(sim)) return;
    let listener: Listener | null = null;
    const publication: Publication = {
      id: this.#history.publications.length,
      process: sim.process.id,
      module: nameOf(module),
      capacity: capacity + (isKept ? KEPT : 0),
      listener: () => listener as Listener,
      running: 0,
      isClosed: false,
    };
    const code = this.#modules.make(sim, publication, version, build);
    try {
      const { region } = this.#world.slot(seller.slot);
      const orders = [{ capacity }, { capacity: KEPT, regions: [region] }];
      listener = sim.node.publish(code, {
        lowWatermark: low,
        ...isKept ? { orders } : { capacity },
      });
    } catch (error) {
      // It drains or has ended.
      if (isAtlasError(error) && error.code === "unavailable") return;
      throw error;
    }
    publications.set(sim, publication);
    this.#history.published(publication);
  }

  #update(seller: SimSeller | undefined, { version }: Trade): void {
    if (!seller) return;
    seller.version = version;
    // A paused process loads the code later, perhaps after the next update: checkers distinguish
    // updates by hash.
    const build = seller.build = this.#modules.build();
    for (const [sim, publication] of seller.publications) {
      sim.process.enter(() => {
        const code = this.#modules.make(sim, publication, version, build);
        try {
          publication.listener().update(code);
        } catch (error) {
          if (!isAtlasError(error) || error.code !== "unavailable") throw error;
        }
      });
    }
  }

  #close(seller: SimSeller | undefined): void {
    if (!seller) return;
    seller.isOpen = false;
    this.sellers.splice(this.sellers.indexOf(seller), 1);
    for (const [sim, publication] of seller.publications) {
      sim.process.enter(() => {
        publication.isClosed = true;
        void publication.listener().close({ drainMs: DRAIN_MS });
      });
    }
  }

  #discover(trade: Trade): void {
    const slot = trade.node % this.#world.slots.length;
    const buyer = new SimBuyer(this.#world, slot, nameOf(trade.module), trade);
    this.buyers.push(buyer);
    const sim = this.#world.slot(slot).current;
    if (sim?.node) sim.process.enter(() => buyer.discover(sim));
  }

  #leave(buyer: SimBuyer | undefined): void {
    if (!buyer) return;
    this.buyers.splice(this.buyers.indexOf(buyer), 1);
    this.former.push(buyer);
    buyer.leave();
  }

  #call(buyer: SimBuyer | undefined, trade: Trade): void {
    const holder = buyer?.holder();
    if (!buyer || !holder) return;
    holder.sim.process.enter(() => {
      for (let i = 0; i < trade.count; i++) this.#callOf(buyer, holder.sim, trade, false);
    });
  }

  #callOf(buyer: SimBuyer, sim: SimNode, trade: Trade, isProbe: boolean): ModuleCallRecord {
    const { scheduler, trace } = this.#world;
    const { name, behavior, ms, timeoutMs, noWait, giveUpMs } = trade;
    const record: ModuleCallRecord = {
      id: this.#history.calls.length,
      process: sim.process.id,
      module: buyer.module,
      name,
      behavior,
      timeoutMs,
      noWait,
      isProbe,
      invokedAt: scheduler.now,
      heldMs: sim.process.heldMs,
      givenUpAt: Infinity,
      returnedAt: Infinity,
      outcome: "info",
      code: null,
      message: "",
      node: "",
      version: "",
      result: null,
      runs: [],
    };
    trace.note("call", record.id, sim.process.id, buyer.module, name, behavior, ms);
    this.#history.called(record);
    const returned = (): void => {
      record.returnedAt = scheduler.now;
      trace.note("return", record.id, record.outcome, record.code ?? record.node);
      this.#history.returned(record);
    };
    const options = { timeoutMs, noWait, ...giveUpMs > 0 && this.#giveUp(sim, record, giveUpMs) };
    const answer = buyer.proxyOf(sim)?.$plb.call(name, [record.id, behavior, ms], options);
    answer?.then((reply) => {
      Object.assign(record, { ...reply, outcome: "ok" });
      returned();
    }, (error: unknown) => {
      record.outcome = isAtlasError(error) && !error.maybeExecuted ? "fail" : "info";
      record.code = isAtlasError(error) ? error.code : "no AtlasError";
      record.message = messageOf(error);
      returned();
    });
    return record;
  }

  #giveUp(sim: SimNode, record: ModuleCallRecord, ms: number): { signal: AbortSignal } {
    const giver = new AbortController();
    this.#world.scheduler.after(ms, () =>
      sim.process.enter(() => {
        if (record.returnedAt < Infinity) return;
        record.givenUpAt = this.#world.scheduler.now;
        giver.abort();
      }));
    return { signal: giver.signal };
  }

  /** Reads the order books, for a checker. */
  #look({ node, module }: Trade): void {
    const sim = this.#world.slot(node).current;
    sim?.process.enter(() => {
      const { node } = sim;
      const looks = [
        node?.exchange(nameOf(module)).then((books) => this.#history.orderBooksRead(sim, books)),
        node?.modules(),
        node?.authorities(),
      ];
      for (const look of looks) {
        look?.catch((error) => {
          if (!isAtlasError(error) || error.code !== "unavailable") throw error;
        });
      }
    });
  }
}

/** The name of the module with this number. */
export function nameOf(module: number): string {
  return `goods-${module}`;
}

function of<T>(list: readonly T[], pick: number): T | undefined {
  return list[pick % Math.max(1, list.length)];
}
