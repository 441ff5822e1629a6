/**
 * Lists what is wrong in a market after healing, once it should be at rest.
 *
 * Compares what every node holds, and what its authorities and exchanges answer, with what the
 * remaining publications and buyers imply. An empty list: the market is at rest.
 */
import type { AtlasNode } from "../../src/api/node.ts";
import type {
  ExchangeView,
  ListenerChannelStats,
  ListenerStats,
  OrderView,
  PlbStats,
} from "../../src/api/modules.ts";
import { accepts, compareVersions } from "../../src/api/module.ts";
import type { SimNode, Slot, World } from "../engine/world.ts";
import type { BoughtProxy, SimBuyer } from "./buyers.ts";
import type { MarketShape } from "../plan/market_plan.ts";
import type { Traders } from "./traders.ts";

/** The number of exchanges of a module, if there are as many authorities. */
const EXCHANGES = 2;

/** The most links between two nodes: both may dial at once, for messages and to identify a peer. */
const LINKS = 4;

/** A listener and its node. */
interface ListenerAt extends ListenerStats {
  readonly sim: SimNode;
  readonly region: string;
}

/** A buyer and its node. */
interface Buyer {
  readonly buyer: SimBuyer;
  readonly holder: BoughtProxy;
  readonly region: string;
  /** Null while it waits for its first capacity. */
  readonly stats: PlbStats | null;
}

export class FinalStateCheck {
  readonly #world: World;
  readonly #traders: Traders;
  readonly #lives: ReadonlyMap<string, string>;
  readonly #shape: MarketShape;

  constructor(world: World, traders: Traders, shape: MarketShape) {
    this.#world = world;
    this.#traders = traders;
    this.#lives = world.network.lives;
    this.#shape = shape;
  }

  /** Lists everything that is wrong; reads the order books only if nothing else is wrong. */
  async check(): Promise<string[]> {
    const wrong = [...this.#missing(), ...this.#surplusLinks()];
    if (wrong.length > 0) return wrong;
    const listeners = this.#listeners();
    const buyers = this.#buyers();
    wrong.push(
      ...buyers.flatMap((buyer) => unmet(buyer, listeners)),
      ...buyers.flatMap(restless),
      ...this.#unpaired(listeners, buyers),
      ...this.#leftovers(),
    );
    return wrong.length > 0 ? wrong : await this.#wrongOrderBooks(listeners, buyers);
  }

  /** Whether every node from number `from` on knows all authorities among these. */
  async haveMet(from: number): Promise<boolean> {
    const nodes = this.#slots.filter(({ index }) => index >= from);
    const authorities = nodes.filter(({ index }) => this.#shape.roles[index] === "authority")
      .map(({ current }) => current?.node?.incarnation);
    const known = await Promise.all(nodes.map(({ current }) => knownTo(current)));
    return known.every((known) =>
      authorities.every((it) => it !== undefined && known.includes(it))
    );
  }

  /** Nodes that don't serve, and traders that have not begun or not ended. */
  #missing(): string[] {
    const wrong = this.#slots.filter(({ current }) => current?.node?.state !== "serving")
      .map(({ name }) => `${name} is not serving`);
    for (const { slot, trade, publications } of this.#traders.sellers) {
      const sim = this.#world.slot(slot).current;
      if (!sim || publications.has(sim)) continue;
      wrong.push(`goods-${trade.module} is not published on node-${slot}`);
    }
    for (const { holders, module } of this.#traders.former) {
      for (const { sim, isClosed } of holders.values()) {
        if (isClosed || !sim.process.isAlive) continue;
        wrong.push(`a buyer of ${module} at ${sim.process.id} was closed, and has not ended`);
      }
    }
    return wrong;
  }

  /** The node names whose machines still exist. */
  get #slots(): Slot[] {
    return this.#world.slots.filter(({ isGone }) => !isGone);
  }

  /** Links that are not needed. */
  #surplusLinks(): string[] {
    const { network, slots } = this.#world;
    const most = LINKS * (slots.length - 1);
    return [...this.#world.nodes()].flatMap(({ process, node }) => {
      // These will be closed, and calls over the peer's other link fail with them.
      const orphans = network.orphans(process);
      if (orphans > 0) return [`${process.id} has ${orphans} links whose other end is gone`];
      const links = node?.stats().links ?? 0;
      return links > most ? [`${process.id} has ${links} links to ${slots.length - 1} nodes`] : [];
    });
  }

  #listeners(): ListenerAt[] {
    return this.#world.slots.flatMap(({ current, region }) =>
      current?.node?.listeners().map((it) => ({ ...it.stats(), sim: current, region })) ?? []
    );
  }

  #buyers(): Buyer[] {
    return this.#traders.buyers.flatMap((buyer) => {
      const { current, region } = this.#world.slot(buyer.slot);
      const holder = current ? buyer.holders.get(current) : undefined;
      return holder ? [{ buyer, holder, region, stats: holder.proxy?.$plb.stats() ?? null }] : [];
    });
  }

  /** Channels that only one end knows, or on which the ends disagree. */
  #unpaired(listeners: readonly ListenerAt[], buyers: readonly Buyer[]): string[] {
    const sold = new Map<string, ListenerChannelStats>(
      listeners.flatMap((listener) =>
        listener.channels.map((it) => [`${listener.sim.process.id}/${it.channel}`, it] as const)
      ),
    );
    const wrong: string[] = [];
    for (const { stats, holder } of buyers) {
      for (const { channel, incarnation, grant, allowed, used } of stats?.channels ?? []) {
        const name = `${this.#lives.get(incarnation)}/${channel}`;
        const listenerEnd = sold.get(name);
        sold.delete(name);
        const where = `${name} of a buyer at ${holder.sim.process.id}`;
        if (!listenerEnd) wrong.push(`${where} has no seller`);
        else if (listenerEnd.grant !== grant) {
          wrong.push(`${where} is of ${grant}, sold as ${listenerEnd.grant}`);
        } else if (
          listenerEnd.used !== used || listenerEnd.issued - listenerEnd.revoked < allowed
        ) {
          wrong.push(
            `${where} sent ${used} of ${allowed}; ${listenerEnd.used} of ${listenerEnd.issued} came`,
          );
        }
      }
    }
    // Buyers that have no proxy yet may hold channels.
    const begun = new Set(
      buyers.filter(({ stats }) => stats === null).map(({ holder }) => holder.sim.process.id),
    );
    for (const [name, { buyer }] of sold) {
      const of = buyer === "" ? name.slice(0, name.indexOf("/")) : this.#lives.get(buyer);
      if (of === undefined || !begun.has(of)) wrong.push(`${name} has no buyer`);
    }
    return wrong;
  }

  /** Calls that nodes still hold although no caller waits for them. */
  #leftovers(): string[] {
    return [...this.#world.nodes()].flatMap(({ process, node }) => {
      const { moduleRunning = 0, moduleWaiting = 0 } = node?.stats() ?? {};
      const wrong: string[] = [];
      if (moduleRunning > 0) wrong.push(`${moduleRunning} requests run at ${process.id}`);
      if (moduleWaiting > 0) wrong.push(`${moduleWaiting} calls wait at ${process.id}`);
      return wrong;
    });
  }

  async #wrongOrderBooks(
    listeners: readonly ListenerAt[],
    buyers: readonly Buyer[],
  ): Promise<string[]> {
    const answers = await Promise.all(
      this.#slots.map(({ current, name }) => {
        const node = current?.node;
        if (!node) return [`${name} is gone`];
        // A process that ends before it answers is left out.
        const gone = new Promise<string[]>((resolve) =>
          current.process.onEnd(() => resolve([`${name} went`]))
        );
        return Promise.race([gone, this.#ask(name, node, listeners, buyers)]);
      }),
    );
    return answers.flat();
  }

  /** What is wrong in what authorities and exchanges answer one node. */
  async #ask(
    name: string,
    node: AtlasNode,
    listeners: readonly ListenerAt[],
    buyers: readonly Buyer[],
  ): Promise<string[]> {
    const slots = this.#slots;
    const { roles, modules } = this.#shape;
    const expected = slots.filter(({ index }) => roles[index] === "authority")
      .map(({ current }) => current?.node?.incarnation);
    const views = await node.authorities();
    const wrong: string[] = [];
    for (const incarnation of expected) {
      const view = views.find((view) => view.incarnation === incarnation);
      if (!view) wrong.push(`${name} does not know authority ${incarnation}`);
      else if (view.authorities !== expected.length - 1) {
        wrong.push(
          `authority ${incarnation} knows ${view.authorities} others of ${expected.length}`,
        );
      } else if (view.brokers !== slots.length) {
        wrong.push(`authority ${incarnation} knows ${view.brokers} of ${slots.length} brokers`);
      }
    }
    if (views.length > expected.length) wrong.push(`${name} knows ${views.length} authorities`);
    for (let module = 0; module < modules && wrong.length === 0; module++) {
      const books = await node.exchange(`goods-${module}`);
      wrong.push(
        ...orderBookErrors(`goods-${module}`, books, expected.length, listeners, buyers)
          .map((what) => `${name}: ${what}`),
      );
    }
    return wrong;
  }
}

/** The authorities that answer a node; none if it ends before. */
function knownTo(sim: SimNode | null): Promise<readonly string[]> {
  return new Promise((resolve) => {
    if (!sim?.node) return resolve([]);
    sim.process.onEnd(() => resolve([]));
    sim.node.authorities().then(
      (views) => resolve(views.map(({ incarnation }) => incarnation)),
      () => resolve([]),
    );
  });
}

/** Capacity that a buyer's orders lack or have in excess, if that could be corrected. */
function unmet(bought: Buyer, listeners: readonly ListenerAt[]): string[] {
  const { buyer, holder, stats } = bought;
  const { capacity } = buyer.trade;
  const who = `a buyer of ${buyer.module} at ${holder.sim.process.id}`;
  const wrong = buyer.ranges.flatMap((range, at) => {
    const wanted = at === 0 ? capacity : 1;
    const granted = stats?.orders[at]?.granted ?? 0;
    return unmetFor(bought, listeners, range === "" ? null : range, wanted, granted)
      .map((what) => `${who}, ${range || "any version"}, ${what}`);
  });
  if (wrong.length > 0 || !stats) return wrong;
  if (stats.channels.some(({ draining }) => draining)) return [`${who} has a channel that drains`];
  return buyer.ranges.length > 1 ? [] : better(bought, listeners).map((what) => `${who} ${what}`);
}

function unmetFor(
  { buyer, region }: Buyer,
  listeners: readonly ListenerAt[],
  range: string | null,
  wanted: number,
  granted: number,
): string[] {
  if (granted > wanted) return [`has ${granted}, and wanted ${wanted}`];
  const [free] = suitable(listeners, buyer.module, range).filter((listener) =>
    freeFor(listener, region) > 0
  );
  if (granted === wanted || !free) return [];
  return [
    `has ${granted} of ${wanted}, while ${
      freeFor(free, region)
    } are free at ${free.sim.process.id}`,
  ];
}

/** Available capacity that a buyer with one order prefers over capacity that it has. */
function better({ buyer, region, stats }: Buyer, listeners: readonly ListenerAt[]): string[] {
  const { range, prefer } = buyer.trade;
  const free = suitable(listeners, buyer.module, range === "" ? null : range)
    .filter((listener) => freeFor(listener, region) > 0);
  const channels = stats?.channels ?? [];
  const isNewer = (listener: ListenerAt, version: string): boolean =>
    range === "" && compareVersions(listener.version, version) > 0;
  const old = channels.find(({ version }) => free.some((listener) => isNewer(listener, version)));
  if (old) return [`has ${old.version}, while newer is free`];
  const far = channels.find((channel) =>
    channel.region !== region &&
    free.some((listener) =>
      listener.region === region && (range !== "" || listener.version === channel.version)
    )
  );
  return prefer === "near" && far ? ["has some far away, while near is free"] : [];
}

/** The free capacity of a listener for buyers of a region. */
function freeFor({ orders }: ListenerAt, region: string): number {
  return orders.filter(({ regions }) => regions.length === 0 || regions.includes(region))
    .reduce((sum, { capacity, granted }) => sum + capacity - granted, 0);
}

/** Listeners that match an order. */
function suitable(
  listeners: readonly ListenerAt[],
  module: string,
  range: string | null,
): ListenerAt[] {
  return listeners.filter((listener) =>
    listener.module === module && accepts(range, listener.version)
  );
}

/** Capacity that a buyer has bought and can't use. */
function restless({ buyer, holder, stats }: Buyer): string[] {
  if (!stats) return [];
  const { tokens, granted, waiting, running } = stats;
  const who = `a buyer of ${buyer.module} at ${holder.sim.process.id}`;
  if (waiting + running > 0) return [`${who} has ${waiting} calls waiting and ${running} running`];
  return tokens === granted ? [] : [`${who} has ${tokens} tokens of ${granted}`];
}

function orderBookErrors(
  module: string,
  books: readonly ExchangeView[],
  authorities: number,
  listeners: readonly ListenerAt[],
  buyers: readonly Buyer[],
): string[] {
  const selling = listeners.filter((listener) => listener.module === module);
  const buying = buyers.filter(({ buyer }) => buyer.module === module);
  const isTraded = selling.length + buying.length > 0;
  const expected = isTraded ? Math.min(EXCHANGES, authorities) : 0;
  if (books.length !== expected) {
    const where = books.map(({ node }) => node).join();
    return [`${module} has ${books.length} exchanges (on ${where}), not ${expected}`];
  }
  return books.flatMap(({ node, orders }) => {
    const wrong: string[] = [];
    const sells = orders.filter(({ side }) => side === "sell");
    const offered = selling.flatMap(({ sim, orders, version }) =>
      orders.map(({ capacity, granted }) =>
        `${sim.node?.incarnation} ${capacity - granted} of ${version}`
      )
    );
    const told = sells.map(({ incarnation, quantity, version }) =>
      `${incarnation} ${quantity} of ${version}`
    );
    if (offered.sort().join() !== told.sort().join()) {
      wrong.push(
        `the exchange of ${module} on ${node} has offers ${told}, and there are ${offered}`,
      );
    }
    for (const { held, side, id, incarnation } of orders) {
      if (held > 0) {
        wrong.push(`${held} of ${side} order ${id} of ${incarnation} are held on ${node}`);
      }
    }
    return [...wrong, ...wrongBuys(node, orders.filter(({ side }) => side === "buy"), buying)];
  });
}

/** Buy orders that don't match the buyers; a buyer without any capacity yet may have one. */
function wrongBuys(node: string, orders: readonly OrderView[], buying: readonly Buyer[]): string[] {
  const wrong: string[] = [];
  const nodes = new Set([
    ...orders.map(({ incarnation }) => incarnation),
    ...buying.map(({ holder }) => holder.sim.node?.incarnation ?? ""),
  ]);
  for (const incarnation of nodes) {
    const here = buying.filter(({ holder }) => holder.sim.node?.incarnation === incarnation);
    const sum = (some: readonly Buyer[]): number =>
      some.reduce((orders, { buyer }) => orders + buyer.ranges.length, 0);
    const sure = sum(here.filter(({ stats }) => stats !== null));
    const most = sum(here);
    const count = orders.filter((order) => order.incarnation === incarnation).length;
    if (count >= sure && count <= most) continue;
    wrong.push(
      `the exchange on ${node} has ${count} buy orders of ${incarnation}, not ${sure} to ${most}`,
    );
  }
  return wrong;
}
