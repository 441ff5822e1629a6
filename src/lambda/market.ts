/**
 * The market of one node: publishes modules, buys capacity, and reports figures.
 *
 * Starts its processes when they are first needed, or when a message of a peer arrives: a node that
 * trades no module runs none of them. Source: `docs/design.md`, Modules.
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
import { makeProxy, type ProxyCall } from "../api/proxies.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_TRADERS } from "../limits.ts";
import type { ProcessMessage } from "../model/envelope.ts";
import { drainMsOf } from "../model/options.ts";
import { checkToken } from "../model/rrp.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { addressOf, AUTHORITY, BOOTSTRAP, BROKER } from "./bus/address.ts";
import { type BusLink, MessageBus, type MessageBusParts } from "./bus/message_bus.ts";
import { CallCounters, ModuleMetrics } from "./bus/metrics.ts";
import type { Process, ProcessRef } from "./bus/process.ts";
import { NO_OPTIONS } from "./buy/module_call.ts";
import { type PlbParts, PlbProcess } from "./buy/plb.ts";
import { SharedRequests } from "./buy/shared_requests.ts";
import { Authority } from "./exchange/authority.ts";
import { Bootstrap, type Resolve } from "./exchange/bootstrap.ts";
import { Broker } from "./exchange/broker.ts";
import { Introspection } from "./introspection.ts";
import { checkRequest, demandOf, offerOf } from "./market_options.ts";
import { ListenerProcess, listenerStateOf } from "./sell/listener.ts";

/** The dependencies of a market. */
export interface MarketParts extends MessageBusParts {
  readonly role: Role;
  readonly resolve: Resolve;
  readonly deadlines: TimerWheel;
  /** The app's modules; their keys name modules that have no name of their own. */
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
      this.#openBalancer({
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

  /**
   * Opens if a role or bootstrap is given, and publishes the app's modules that have a capacity.
   */
  openFor({ role, bootstrap }: { readonly role?: unknown; readonly bootstrap?: unknown }): void {
    if (role !== undefined || bootstrap !== undefined) this.open();
    for (const [name, module] of Object.entries(this.#parts.modules)) {
      if (module.capacity !== null) this.publish(module, { name });
    }
  }

  /** Starts the processes that every trader needs: broker, bootstrap, and the authority if any. */
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

  /** Tells the broker about the authority of this node. */
  #announce(): void {
    if (this.#parts.role !== "authority") return;
    const contact = this.#parts.self();
    const topology = { kind: "topology", contact, authorities: [contact], exchanges: [] } as const;
    this.#bus.send(addressOf("", BROKER), topology);
  }

  /** A message of a peer arrived. */
  arrived(message: ProcessMessage, link: BusLink): void {
    this.open();
    this.#bus.arrived(message, link);
  }

  /** A link to a peer closed. */
  closed(incarnation: string): void {
    if (this.#isOpen) this.#bus.closed(incarnation);
  }

  /** The membership view changed: there may be new authorities. */
  membersChanged(): void {
    if (this.#isOpen) this.#bus.send(addressOf("", BOOTSTRAP), { kind: "search", now: true });
  }

  /** The node has a new incarnation. */
  moved(): void {
    const traders = [...this.#listeners.keys(), ...this.#buyers.keys()];
    for (const { current } of traders) {
      this.#bus.send(current.address, {
        kind: "moved",
        reason: "its orders are to be placed again",
      });
    }
    this.membersChanged();
  }

  publish(module: Module, options: PublishOptions = {}): Listener {
    this.#checkOpen(this.#isDraining ? "the node is draining" : null);
    if (!isModule(module)) {
      throw new AtlasError("bad_request", "publish takes what defineModule makes");
    }
    const offer = offerOf(module, options);
    const name = this.#nameOf(module, options.name);
    if (this.#listeners.size >= MAX_TRADERS) throw tooMany("listeners");
    this.open();
    const { deadlines } = this.#parts;
    const closed = Promise.withResolvers<void>();
    const { counters, release } = this.#metrics.acquire(name);
    const { orders, lowWatermark } = offer;
    const state = listenerStateOf(offer.module);
    const onClosed = (): void => {
      release();
      this.#listeners.delete(ref);
      closed.resolve();
    };
    const make = (): ListenerProcess =>
      new ListenerProcess({ name, state, orders, lowWatermark, deadlines, counters, onClosed });
    const ref = { current: make() };
    const handle = this.#handleOf(name, ref, closed.promise);
    this.#listeners.set(ref, handle);
    this.#keep("listener", ref, make);
    return handle;
  }

  /** Starts a trader that is replaced when it fails. */
  #keep<P extends Process>(kind: string, ref: ProcessRef<P>, make: () => P): void {
    let isFirst = true;
    this.#bus.keep(`${kind}.${++this.#names}`, () => {
      if (!isFirst) ref.current = make();
      isFirst = false;
      return ref.current;
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
      () => ref.current,
      waitFor,
    );
    const ref: ProcessRef<PlbProcess> = this.#openBalancer({
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
      ref.current.close();
      throw error;
    }
    const handle: Plb = {
      capacity: () => ref.current.tokens,
      stats: () => ref.current.stats(),
      call: (name, args, options = NO_OPTIONS) => ref.current.call(name, args, options),
      resize: (capacity) => ref.current.resize(checkCapacity("capacity", capacity)),
      close: () => {
        ref.current.close();
        return closed.promise;
      },
    };
    const exports = (): readonly string[] => ref.current.exports;
    const call: ProxyCall = (name, args) => ref.current.callForResult(name, args);
    return makeProxy(handle, exports, call) as ModuleProxy<Module, Plb>;
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
    for (const { current } of this.#buyers.keys()) {
      const name = this.#metrics.nameOf(current.name);
      waiting.set(name, (waiting.get(name) ?? 0) + current.waiting);
    }
    return [...this.#metrics].map(([module, counters]) => ({
      ...counters,
      module,
      outstanding: counters.issued - counters.used - counters.revoked,
      waiting: waiting.get(module) ?? 0,
    }));
  }

  /** Calls made here that are not settled. */
  get inFlight(): number {
    let calls = 0;
    for (const { current } of this.#buyers.keys()) calls += current.inFlight;
    return calls;
  }

  /**
   * Stops selling and waits for what runs. Calls that wait for credit are rejected as not executed
   * once `turns` have ended, because a turn may need their result to finish.
   */
  async drain(turns: Promise<void>): Promise<void> {
    this.#isDraining = true;
    const sold = Promise.all(this.listeners().map((listener) => listener.close()));
    await turns;
    this.#refuseWaiting();
    await sold;
    this.#refuseWaiting();
  }

  /** Stops all processes. */
  stop(): void {
    this.#isClosed = true;
    this.#requests.stop();
    this.#bus.stop();
  }

  #refuseWaiting(): void {
    for (const { current } of this.#buyers.keys()) {
      const why = `no credit for ${current.name} arrived before the caller's node was drained`;
      current.refuseWaiting(new AtlasError("unavailable", why));
    }
  }

  /** Starts a load balancer, which buys at once. @throws AtlasError `overloaded` */
  #openBalancer(parts: Omit<PlbParts, "deadlines" | "counters" | "state">): ProcessRef<PlbProcess> {
    if (this.#buyers.size >= MAX_TRADERS) throw tooMany("buyers");
    const counters = new CallCounters(this.#metrics, parts.name);
    const { deadlines } = this.#parts;
    const state = { isClosing: false };
    const onClosed = (): void => {
      counters.end();
      this.#buyers.delete(ref);
      parts.onClosed();
    };
    const make = (): PlbProcess =>
      new PlbProcess({ ...parts, deadlines, counters, state, onClosed });
    const ref = { current: make() };
    this.open();
    this.#buyers.set(ref, counters);
    this.#keep("plb", ref, make);
    return ref;
  }

  #handleOf(name: string, ref: ProcessRef<ListenerProcess>, closed: Promise<void>): Listener {
    return {
      name,
      update(next) {
        if (!isModule(next)) {
          throw new AtlasError("bad_request", "update takes what defineModule makes");
        }
        if (ref.current.isClosing) {
          throw new AtlasError("unavailable", `the listener of ${name} was closed`);
        }
        ref.current.update(next);
      },
      close: async (options = {}) => {
        const drainMs = drainMsOf(options);
        ref.current.close();
        const late = this.#parts.clock.after(drainMs, () => ref.current.halt());
        await closed;
        late.cancel();
      },
      stats: () => ref.current.stats(),
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

  #checkOpen(refusal: string | null): void {
    const why = this.#isClosed ? "the node was closed" : refusal;
    if (why !== null) throw new AtlasError("unavailable", why);
  }
}

function tooMany(what: string): AtlasError {
  return new AtlasError("overloaded", `this node has ${MAX_TRADERS} ${what} of modules already`);
}

/** After the first grant, how long `discover` waits for the rest before it resolves, ms. */
const SETTLE_MS = 100;

/** What a waiter needs of a load balancer. */
export interface AwaitedCapacity {
  readonly tokens: number;
  readonly isSatisfied: boolean;
  /** The orders' terms as text, for errors. */
  readonly asked: string;
}

export class CapacityWaiter {
  readonly #clock: Clock;
  readonly #bought: () => AwaitedCapacity;
  readonly #waitFor: "some" | "all";
  readonly #done = Promise.withResolvers<void>();
  #settle: Timer | null = null;

  constructor(clock: Clock, bought: () => AwaitedCapacity, waitFor: "some" | "all") {
    this.#clock = clock;
    this.#bought = bought;
    this.#waitFor = waitFor;
    // The promise may be rejected before anyone awaits it.
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

  /** @throws AtlasError `unavailable` after `timeoutMs`, or `timeout` if `signal` aborts. */
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
