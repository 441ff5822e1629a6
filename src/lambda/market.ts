/**
 * The market of one node: its parts, and how users of modules reach them.
 *
 * Takes what users publish, discover and want to see; opens the parts that it needs for
 * that, the first time it is needed (or a peer's letter comes): a node that trades in
 * nothing has nothing of this running.
 *
 * Source: design §5.
 */
import { checkCapacity, isModule, type Module, type ModuleMap } from "../api/module.ts";
import type {
  DiscoverOptions,
  Listener,
  MarketStats,
  ModuleFigures,
  ModuleNode,
  ModuleProxy,
  Plb,
  PublishOptions,
} from "../api/modules.ts";
import type { Role } from "../api/options.ts";
import { makeProxy } from "../api/proxies.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_TRADERS } from "../limits.ts";
import type { Post as PostMessage } from "../model/envelope.ts";
import { drainMsOf } from "../model/options.ts";
import { checkToken } from "../model/rrp.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { addressOf, AUTHORITY, BOOTSTRAP, BROKER } from "./bus/address.ts";
import { type BusLink, MessageBus, type MessageBusParts } from "./bus/message_bus.ts";
import type { Process, ProcessRef } from "./bus/process.ts";
import { type PlbParts, PlbProcess } from "./buy/plb.ts";
import { SharedRequests } from "./buy/shared_requests.ts";
import { Authority } from "./exchange/authority.ts";
import { Bootstrap, type Resolve } from "./exchange/bootstrap.ts";
import { Broker } from "./exchange/broker.ts";
import { Introspection } from "./introspection.ts";
import { checkRequest, demandOf, offerOf } from "./market_options.ts";
import { CallCounters, ModuleMetrics } from "./metrics.ts";
import { ListenerProcess, stockOf } from "./sell/listener.ts";

/** What a market is made of. */
export interface MarketParts extends MessageBusParts {
  readonly role: Role;
  readonly resolve: Resolve;
  readonly deadlines: TimerWheel;
  /** The app's modules: names of those that have none of their own. */
  readonly modules: ModuleMap;
}

export class Market implements ModuleNode {
  readonly #parts: MarketParts;
  readonly #bus: MessageBus;
  readonly #metrics = new ModuleMetrics();
  readonly #listeners = new Map<ProcessRef<ListenerProcess>, Listener>();
  readonly #buyers = new Map<ProcessRef<PlbProcess>, CallCounters>();
  readonly #introspection: Introspection;
  readonly #requests: SharedRequests;
  #isOpen = false;
  #isDraining = false;
  #isClosed = false;
  #names = 0;

  constructor(parts: MarketParts) {
    this.#parts = parts;
    this.#bus = new MessageBus(parts);
    this.#introspection = new Introspection(this.#bus, parts.clock);
    this.#requests = new SharedRequests(parts.clock, (name, range) =>
      this.#buyer({
        name,
        orders: [{ range, wanted: 1, asked: 1, prefer: "near" }],
        bias: "none",
        noWait: false,
        callTimeoutMs: DEFAULT_TIMEOUT_MS,
        onChange: () => {},
        onClosed: () => {},
      }));
  }

  get role(): Role {
    return this.#parts.role;
  }

  /** Opens where a role or bootstrap is given, and offers the app's modules that name a capacity. */
  openFor({ role, bootstrap }: { readonly role?: unknown; readonly bootstrap?: unknown }): void {
    if (role !== undefined || bootstrap !== undefined) this.open();
    for (const [name, module] of Object.entries(this.#parts.modules)) {
      if (module.capacity !== null) this.publish(module, { name });
    }
  }

  /** Opens what every trader needs. */
  open(): void {
    if (this.#isOpen || this.#isClosed) return;
    this.#isOpen = true;
    const bootstrap = addressOf("", BOOTSTRAP);
    this.#bus.keep(BROKER, () => new Broker(bootstrap), () => {
      this.#announce();
      this.moved();
    });
    if (this.#parts.role === "authority") {
      this.#bus.keep(AUTHORITY, () => new Authority(bootstrap), () => this.#announce());
    }
    this.#announce();
    const meet = (address: string): Promise<string | null> => this.#bus.meet(address);
    this.#bus.keep(BOOTSTRAP, () => new Bootstrap(this.#parts.resolve, meet));
  }

  /** Tells the broker of the authority of this node. */
  #announce(): void {
    if (this.#parts.role !== "authority") return;
    const contact = this.#parts.self();
    const news = { kind: "news", contact, authorities: [contact], exchanges: [] } as const;
    this.#bus.send(addressOf("", BROKER), news);
  }

  /** A peer's letter came. */
  arrived(message: PostMessage, line: BusLink): void {
    this.open();
    this.#bus.arrived(message, line);
  }

  /** A link to a peer closed. */
  closed(incarnation: string): void {
    if (this.#isOpen) this.#bus.closed(incarnation);
  }

  /** The registry's roll changed: authorities may have come. */
  membersChanged(): void {
    if (this.#isOpen) this.#bus.send(addressOf("", BOOTSTRAP), { kind: "search", now: true });
  }

  /** The node has another incarnation. */
  moved(): void {
    const traders = [...this.#listeners.keys(), ...this.#buyers.keys()];
    for (const { part } of traders) {
      this.#bus.send(part.address, { kind: "moved", reason: "its orders are to be placed again" });
    }
    this.membersChanged();
  }

  publish(module: Module, options: PublishOptions = {}): Listener {
    this.#checkOpen(this.#isDraining ? "the node drains" : null);
    if (!isModule(module)) {
      throw new AtlasError("bad_request", "publish takes what defineModule makes");
    }
    const offer = offerOf(module, options);
    const name = this.#nameOf(module, options.name);
    if (this.#listeners.size >= MAX_TRADERS) throw tooMany("listeners");
    this.open();
    const { deadlines } = this.#parts;
    const closed = Promise.withResolvers<void>();
    const { meter, release } = this.#metrics.take(name);
    const { orders, lowWatermark } = offer;
    const stock = stockOf(offer.module);
    const onClosed = (): void => {
      release();
      this.#listeners.delete(holder);
      closed.resolve();
    };
    const make = (): ListenerProcess =>
      new ListenerProcess({ name, stock, orders, lowWatermark, deadlines, meter, onClosed });
    const holder = { part: make() };
    const handle = this.#handleOf(name, holder, closed.promise);
    this.#listeners.set(holder, handle);
    this.#keep("listener", holder, make);
    return handle;
  }

  /** Opens a trader, and another one in its place where it fails. */
  #keep<P extends Process>(kind: string, holder: ProcessRef<P>, make: () => P): void {
    let isFirst = true;
    this.#bus.keep(`${kind}.${++this.#names}`, () => {
      if (!isFirst) holder.part = make();
      isFirst = false;
      return holder.part;
    });
  }

  async discover<M extends string>(
    name: M,
    options: DiscoverOptions = {},
  ): Promise<ModuleProxy<Module, Plb>> {
    this.#checkOpen(null);
    checkToken("module", name);
    const { parts, timeoutMs, waitFor, signal } = demandOf(options);
    const closed = Promise.withResolvers<void>();
    const bought: CapacityWaiter = new CapacityWaiter(
      this.#parts.clock,
      () => holder.part,
      waitFor,
    );
    const holder: ProcessRef<PlbProcess> = this.#buyer({
      ...parts,
      name,
      onChange: () => bought.changed(),
      onClosed: () => {
        bought.closed();
        closed.resolve();
      },
    });
    try {
      await bought.wait(timeoutMs, signal);
    } catch (error) {
      holder.part.close();
      throw error;
    }
    const handle: Plb = {
      capacity: () => holder.part.tokens,
      stats: () => holder.part.stats(),
      call: (name, args, options = {}) => holder.part.call(name, args, options),
      resize: (capacity) => holder.part.resize(checkCapacity("capacity", capacity)),
      close: () => {
        holder.part.close();
        return closed.promise;
      },
    };
    return makeProxy(handle, () => holder.part.exports) as ModuleProxy<Module, Plb>;
  }

  readonly request: ModuleNode["request"] = async (module, name, args, options = {}) => {
    this.#checkOpen(null);
    return await this.#requests.request(module, name, args, checkRequest(options));
  };

  listeners(): readonly Listener[] {
    return [...this.#listeners.values()];
  }

  readonly modules: ModuleNode["modules"] = async () => {
    this.#checkOpen(null);
    this.open();
    return await this.#introspection.modules();
  };

  readonly exchange: ModuleNode["exchange"] = async (name) => {
    this.#checkOpen(null);
    checkToken("module", name);
    this.open();
    return await this.#introspection.exchange(name);
  };

  readonly authorities: ModuleNode["authorities"] = async () => {
    this.#checkOpen(null);
    this.open();
    return await this.#introspection.authorities();
  };

  stats(): MarketStats {
    const total = this.#metrics.total(this.#buyers.values());
    const { issued, used, revoked, granted, running, calls, waits, waitedMs } = total;
    const modules = this.#figures();
    return {
      modules,
      moduleRunning: running,
      moduleWaiting: modules.reduce((sum, { waiting }) => sum + waiting, 0),
      creditsGranted: granted,
      creditsOutstanding: issued - used - revoked,
      creditsIssued: issued,
      creditsUsed: used,
      creditsRevoked: revoked,
      moduleCalls: calls,
      moduleWaits: waits,
      moduleWaitedMs: waitedMs,
    };
  }

  #figures(): ModuleFigures[] {
    const waiting = new Map<string, number>();
    for (const { part } of this.#buyers.keys()) {
      const name = this.#metrics.nameOf(part.name);
      waiting.set(name, (waiting.get(name) ?? 0) + part.waiting);
    }
    return [...this.#metrics].map(([module, meter]) => ({
      ...meter,
      module,
      outstanding: meter.issued - meter.used - meter.revoked,
      waiting: waiting.get(module) ?? 0,
    }));
  }

  /** Calls made here that are not settled. */
  get inFlight(): number {
    let calls = 0;
    for (const { part } of this.#buyers.keys()) calls += part.inFlight;
    return calls;
  }

  /**
   * Offers nothing any more, and waits for what runs. Whoever waits for credit is refused,
   * surely not executed, once `turns` have ended: a turn may need it for its end.
   */
  async drain(turns: Promise<void>): Promise<void> {
    this.#isDraining = true;
    const sold = Promise.all(this.listeners().map((listener) => listener.close()));
    await turns;
    this.#refuseWaiting();
    await sold;
    this.#refuseWaiting();
  }

  /** Ends everything. */
  stop(): void {
    this.#isClosed = true;
    this.#requests.stop();
    this.#bus.stop();
  }

  #refuseWaiting(): void {
    for (const { part } of this.#buyers.keys()) {
      const why = `no credit for ${part.name} came before its caller's node was drained`;
      part.refuseWaiting(new AtlasError("unavailable", why));
    }
  }

  /** Opens a balancer, which begins to buy at once. @throws AtlasError `overloaded` */
  #buyer(parts: Omit<PlbParts, "deadlines" | "tally" | "state">): ProcessRef<PlbProcess> {
    if (this.#buyers.size >= MAX_TRADERS) throw tooMany("buyers");
    const tally = new CallCounters(this.#metrics, parts.name);
    const { deadlines } = this.#parts;
    const state = { isClosing: false };
    const onClosed = (): void => {
      tally.end();
      this.#buyers.delete(holder);
      parts.onClosed();
    };
    const make = (): PlbProcess => new PlbProcess({ ...parts, deadlines, tally, state, onClosed });
    const holder = { part: make() };
    this.open();
    this.#buyers.set(holder, tally);
    this.#keep("plb", holder, make);
    return holder;
  }

  #handleOf(name: string, holder: ProcessRef<ListenerProcess>, closed: Promise<void>): Listener {
    return {
      name,
      update(next) {
        if (!isModule(next)) {
          throw new AtlasError("bad_request", "update takes what defineModule makes");
        }
        if (holder.part.isClosing) {
          throw new AtlasError("unavailable", `the listener of ${name} was closed`);
        }
        holder.part.update(next);
      },
      close: async (options = {}) => {
        const drainMs = drainMsOf(options);
        holder.part.close();
        const late = this.#parts.clock.after(drainMs, () => holder.part.halt());
        await closed;
        late.cancel();
      },
      stats: () => holder.part.stats(),
    };
  }

  #nameOf(module: Module, given: string | undefined): string {
    const [key] = Object.entries(this.#parts.modules).find(([, it]) => it === module) ?? [];
    const name = given ?? module.name ?? key;
    if (name !== undefined) return checkToken("module", name);
    throw new AtlasError(
      "bad_request",
      "the module has no name: give it one, put it into the app's modules, or publish it with { name }",
    );
  }

  #checkOpen(trouble: string | null): void {
    const why = this.#isClosed ? "the node was closed" : trouble;
    if (why !== null) throw new AtlasError("unavailable", why);
  }
}

function tooMany(what: string): AtlasError {
  return new AtlasError("overloaded", `${MAX_TRADERS} ${what} of modules are on this node already`);
}

/** How long the rest of an order may take before the first of it is made do with, ms. */
const SETTLE_MS = 100;

/** A balancer, as far as it is waited for. */
export interface Bought {
  readonly tokens: number;
  readonly isSatisfied: boolean;
  /** What was asked for, in words. */
  readonly asked: string;
}

export class CapacityWaiter {
  readonly #clock: Clock;
  readonly #bought: () => Bought;
  readonly #waitFor: "some" | "all";
  readonly #done = Promise.withResolvers<void>();
  #settle: Timer | null = null;

  constructor(clock: Clock, bought: () => Bought, waitFor: "some" | "all") {
    this.#clock = clock;
    this.#bought = bought;
    this.#waitFor = waitFor;
    // It may fail before anybody waits.
    this.#done.promise.catch(() => {});
  }

  changed(): void {
    const { tokens, isSatisfied } = this.#bought();
    if (isSatisfied) return this.#done.resolve();
    if (this.#waitFor === "all" || tokens === 0) return;
    this.#settle ??= this.#clock.after(SETTLE_MS, () => this.#done.resolve());
  }

  closed(): void {
    this.#settle?.cancel();
    this.#done.reject(new AtlasError("unavailable", "the node was closed"));
  }

  /** @throws AtlasError `unavailable` after `timeoutMs`, or `timeout` where `signal` aborts. */
  async wait(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const late = this.#clock.after(timeoutMs, () => this.#reject("unavailable", timeoutMs));
    const onAbort = (): void => {
      const message = "the caller gave up waiting for capacity";
      this.#done.reject(new AtlasError("timeout", message, { cause: signal?.reason }));
    };
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#done.promise;
    } finally {
      late.cancel();
      this.#settle?.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #reject(code: "unavailable", timeoutMs: number): void {
    const all = this.#waitFor === "all" ? "all of it " : "";
    const message = `nobody sold ${all}within ${Math.round(timeoutMs)} ms: ${this.#bought().asked}`;
    this.#done.reject(new AtlasError(code, message));
  }
}
