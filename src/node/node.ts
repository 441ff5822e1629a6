/**
 * Wires a node together out of injected ports, and begins and ends its lives: each is one
 * incarnation with its lease.
 *
 * A lapse of the lease ends a life: everything that it owned stops, and the node registers under
 * a new incarnation as soon as the store lets it.
 *
 * Source: `docs/design.md`, Membership and leases.
 */
import { type App, resolveTypes } from "../api/app.ts";
import type { DrainOptions } from "../api/calls.ts";
import type { ModuleAtlas } from "../api/modules.ts";
import type { AtlasNode, NodeEvent, NodeState, NodeStats } from "../api/node.ts";
import { checkNodeOptions, type NodeOptions } from "../api/options.ts";
import { AtlasError, detailOf, isAtlasError } from "../errors.ts";
import type { Market } from "../lambda/market.ts";
import { scopedModules } from "../lambda/scoped_modules.ts";
import { DEFAULT_LOOKUP_MS, GOODBYE_WAIT_MS } from "../limits.ts";
import { DeadPeers } from "../links/link_monitor.ts";
import { Links } from "../links/links.ts";
import { internalKind, notForClients } from "../model/internal_methods.ts";
import type { MemberInfo } from "../model/member.ts";
import { drainMsOf } from "../model/options.ts";
import { checkToken } from "../model/rrp.ts";
import type { Transport } from "../ports/transport.ts";
import { Claims } from "../registry/claims.ts";
import { Directory } from "../registry/directory.ts";
import { withGuardedStore } from "../registry/guarded_store.ts";
import { Lease, type NodeLife, type Timing, timing } from "../registry/lease.ts";
import { Membership } from "../registry/membership.ts";
import type { Activation } from "../resource/activation.ts";
import { checkDrain, Host } from "../resource/host.ts";
import { currentTurn } from "../resource/turn.ts";
import { tellWinner } from "../routing/dispatcher.ts";
import type { InboundRequests } from "../routing/inbound.ts";
import type { Router } from "../routing/router.ts";
import { SocketServer } from "../sockets/socket_server.ts";
import { TimerWheel } from "../time/timer_wheel.ts";
import { backoffMs, pause, within } from "../time/wait.ts";
import { type CallBackend, contextOf, makeFacade } from "./facade.ts";
import { countOwned, KeyCache, listOwned, lookupCached, lookupFrom } from "./lookup.ts";
import { createMarket } from "./market.ts";
import { createRouting, type Routing } from "./routing.ts";

/**
 * Starts a node of `app`; it is registered and serving when this resolves.
 *
 * @throws AtlasError `bad_request` or `invalid_rrp` if an option isn't allowed, `unavailable` if
 * the store can't be reached.
 */
export async function createNode<A extends App>(
  app: A,
  options: NodeOptions,
): Promise<AtlasNode<A>> {
  const node = new NodeProcess(app, withGuardedStore(checkNodeOptions(options)));
  await node.start();
  return node.facade() as AtlasNode<A>;
}

class NodeProcess implements CallBackend {
  readonly #options: NodeOptions;
  readonly #timing: Timing;
  readonly #types: string[];
  readonly #membership: Membership;
  readonly #claims: Claims;
  readonly #directory: Directory;
  readonly #host: Host;
  readonly #links: Links;
  readonly #deadPeers: DeadPeers;
  readonly #inbound: InboundRequests;
  readonly #routing: Routing;
  readonly #router: Router;
  readonly #market: Market;
  readonly #sockets: SocketServer;
  readonly #deadlines: TimerWheel;
  readonly #keys = new KeyCache();
  #life: NodeLife;
  /** `fenced` also before the first life has begun. */
  #state: NodeState = "fenced";
  #lapses = 0;
  #drained: Promise<void> | null = null;
  readonly #closed: Promise<AtlasError | null>;
  #resolveClosed!: (error: AtlasError | null) => void;

  constructor(app: App, options: NodeOptions) {
    const { region, node, store, transport, clock, context, random, lease } = options;
    checkToken("region", region);
    checkToken("node", node);
    this.#options = options;
    this.#timing = timing(lease);
    this.#closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    const types = resolveTypes(app, { region, node });
    this.#types = [...types.keys()];
    const onEvent = (event: NodeEvent): void => options.onEvent?.(event);
    // `left` doesn't count: such a peer may still forward, answers may be on their way, and it
    // closes the link itself.
    const isDead = (peer: string): boolean => this.#membership.peek(peer)?.state === "dead";
    this.#deadlines = new TimerWheel(clock);
    this.#membership = new Membership(store, clock, this.#timing, {
      onEvent,
      holder: () => this.#host,
      onChange: () => {
        this.#deadPeers.look();
        this.#market.membersChanged();
      },
    });
    this.#claims = new Claims(store, this.#membership, clock, random);
    this.#directory = new Directory(store, this.#membership, clock);
    this.#host = new Host({
      types,
      place: { region, node },
      store,
      clock,
      context,
      random,
      claims: this.#claims,
      leaseTrouble: () => this.#membership.leaseTrouble,
      deadlines: this.#deadlines,
      facadeFor: (from) => makeFacade(this, this.#modulesFor(from), () => contextOf(from)),
      isDead,
      tellWinner: (key, loser) => tellWinner(this.#router, key, loser),
      onEvent,
    });
    this.#links = this.#newLinks(transport);
    this.#deadPeers = new DeadPeers(clock, this.#links, isDead);
    const wiring = {
      options,
      membership: this.#membership,
      links: this.#links,
      deadlines: this.#deadlines,
      life: () => this.#life,
    };
    this.#routing = createRouting({
      ...wiring,
      host: this.#host,
      directory: this.#directory,
      drain: (options) => this.drain(options),
    });
    this.#router = this.#routing.router;
    this.#inbound = this.#routing.inbound;
    this.#sockets = new SocketServer({
      clock,
      random,
      deadlines: this.#deadlines,
      router: this.#router,
      locator: this.#routing.locator,
      callForClient: this.call,
      life: () => this.#life,
    });
    this.#market = createMarket({ ...wiring, app });
    this.#life = this.#newLife();
  }

  #newLinks(transport: Transport): Links {
    return new Links(transport, {
      request: (request, session) => this.#inbound.request(request, session),
      cancel: (id, session) => this.#inbound.cancel(id, session),
      toProcess: (message, session) => this.#market.arrived(message, session),
      closed: (session) => {
        this.#inbound.closed(session);
        this.#market.closed(session.peer.incarnation);
      },
      reachable: (incarnation) => this.#membership.trust(incarnation),
      unreachable: (incarnation) => this.#membership.suspect(incarnation),
    });
  }

  /** The node as users see it. */
  facade(): AtlasNode {
    const calls = makeFacade(this, this.#market, () => null);
    const { region, node } = this.#options;
    const facade: Omit<AtlasNode, "incarnation" | "state"> = {
      ...calls,
      region,
      node,
      closed: this.#closed,
      publish: (module, options) => this.#market.publish(module, options),
      discover: (name, options) => this.#market.discover(name, options),
      listeners: () => this.#market.listeners(),
      move: this.#routing.move,
      knowsRegion: (region) => this.#routing.routes.knows(region),
      accept: (type, id, options) => this.#sockets.accept(type, id, options),
      stats: () => this.stats(),
      drain: (options) => this.drain(options),
      drainNodes: this.#routing.drainNodes,
      close: (options?: { drainMs?: number }) => this.close(options),
    };
    return Object.defineProperties(facade, {
      incarnation: { get: () => this.#life.incarnation, enumerable: true },
      state: { get: () => this.#state, enumerable: true },
    }) as AtlasNode;
  }

  /** Starts the first life. */
  async start(): Promise<void> {
    try {
      await this.#begin();
      this.#market.openFor(this.#options);
    } catch (error) {
      await this.#end(null);
      throw error;
    }
  }

  // The back end of facades.

  readonly call: CallBackend["call"] = (target, method, args, options, context) =>
    internalKind(method) === null
      ? this.#router.call(target, method, args, options, context)
      : Promise.reject(notForClients(target.type, method));

  readonly result: CallBackend["result"] = (target, method, args, options, context) =>
    internalKind(method) === null
      ? this.#router.call(target, method, args, options, context, true)
      : Promise.reject(notForClients(target.type, method));

  readonly lookup: CallBackend["lookup"] = (type, id, options) => {
    const key = this.#keys.of(type, id);
    const isConfirmed = options.require === "confirmed";
    const known = isConfirmed ? null : lookupCached(this.#host, this.#directory, key);
    if (known) return Promise.resolve(known);
    const looked = lookupFrom(this.#host, this.#directory, key, isConfirmed);
    const { timeoutMs = DEFAULT_LOOKUP_MS } = options;
    return within(this.#options.clock, timeoutMs, looked, `the lookup of ${key}`);
  };

  readonly members: CallBackend["members"] = async () =>
    (await this.#options.store.members()).members;

  readonly resources: CallBackend["resources"] = (prefix, page) =>
    listOwned(this.#options.store, prefix, page);

  readonly count: CallBackend["count"] = (prefix, { timeoutMs = DEFAULT_LOOKUP_MS }) => {
    const { store, clock } = this.#options;
    const counted = countOwned(store, clock, prefix, timeoutMs);
    return within(clock, timeoutMs, counted, `the count of ${prefix}`);
  };

  stats(): NodeStats {
    const { lease } = this.#life;
    return {
      resources: this.#host.size,
      inFlight: this.#router.inFlight,
      links: this.#links.size,
      cachedLocations: this.#directory.size,
      leaseLeftMs: this.#state === "serving" || this.#state === "draining" ? lease.leftMs() : 0,
      ...this.#claims.stats,
      ...this.#host.stats,
      offlineResources: this.#host.reconciliation.size,
      ...this.#directory.stats,
      ...this.#router.stats,
      ...this.#inbound.stats,
      lapses: this.#lapses,
      ...this.#membership.stats,
      ...this.#market.stats(),
      ...this.#sockets.stats,
    };
  }

  /** Releases everything and leaves, and then only forwards; or releases what a prefix matches. */
  async drain(options?: DrainOptions): Promise<void> {
    if (options !== undefined) await this.#host.drainPrefix(checkDrain(options));
    else await (this.#drained ??= this.#drain());
  }

  async #drain(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "draining";
    this.#tell("info", "draining", { resources: this.#host.size });
    await this.#sockets.drain();
    await this.#market.drain(this.#host.drain());
    // The node fences itself before it leaves the store: from here on it owns nothing.
    this.#membership.stop();
    this.#life.lease.lapse();
    const heard = this.#links.goodbye();
    try {
      await this.#membership.leave(this.#member(this.#life));
      this.#tell("info", "left", { incarnation: this.#life.incarnation });
    } catch (error) {
      this.#tell("warning", "leaving failed", { reason: detailOf(error) });
    }
    // If the node ended before its last answers arrive, callers could not know whether their
    // calls were executed.
    await within(this.#options.clock, GOODBYE_WAIT_MS, heard, "the goodbye").catch(() => {});
  }

  /**
   * Modules for a resource: its calls end with their turn, its capacity is returned when it stops.
   */
  #modulesFor(from: Activation): ModuleAtlas {
    const { clock, context } = this.#options;
    return scopedModules(this.#market, {
      // Capacity that was bought in one turn may be used in later ones, and between turns.
      leftMs: () => (currentTurn(context, from)?.call?.deadline ?? Infinity) - clock.now(),
      lifetime: () => from.lifetime,
    });
  }

  async close(options: { drainMs?: number } = {}): Promise<void> {
    const drainMs = drainMsOf(options);
    if (this.#state !== "closed") {
      const { clock } = this.#options;
      const until = clock.now() + drainMs;
      // The keys of resources that can't be drained in time become free when the lease ends.
      await within(clock, drainMs, this.drain(), "the drain").catch(() => {});
      const isBusy = (): boolean => this.#router.inFlight + this.#market.inFlight > 0;
      while (isBusy() && clock.now() < until) await pause(clock, 5);
      await this.#end(null);
    }
    await this.#closed;
  }

  #newLife(): NodeLife {
    const { clock, random } = this.#options;
    const life: NodeLife = {
      incarnation: random.uuid(),
      lease: new Lease(clock, this.#timing, () => this.#lapsed(life)),
    };
    return life;
  }

  /** Opens links and registers, as the current life. */
  async #begin(): Promise<void> {
    const { region, node } = this.#options;
    const life = this.#life;
    const { incarnation } = life;
    await this.#links.open({ region, node, incarnation }, life);
    await this.#membership.join(life, this.#member(life));
    this.#host.open(life);
    // A draining node comes back only to commit the turns in its offline logs.
    if (this.#state !== "fenced") return;
    this.#market.moved();
    this.#state = "serving";
    this.#tell("info", "serving", { incarnation });
  }

  /** The member that a life of this node registers. */
  #member({ incarnation }: NodeLife): MemberInfo {
    const { region, node, transport: { address } } = this.#options;
    return {
      incarnation,
      region,
      node,
      address,
      hosts: this.#types,
      ...this.#market.role === "authority" && { serves: ["authority"] },
    };
  }

  /** The lease has ended: by time, by the store, or by this node itself. */
  #lapsed(life: NodeLife): void {
    if (life !== this.#life || !(this.#state === "serving" || this.#isReconciling())) return;
    if (this.#state === "serving") this.#state = "fenced";
    this.#lapses++;
    const { incarnation } = life;
    this.#tell("warning", "lease lapsed", { incarnation, resources: this.#host.size });
    this.#membership.stop();
    this.#host.abandon(!this.#membership.isReachable());
    this.#comeBack(life);
  }

  /** Whether the node drains while turns that it answered are not in the store yet. */
  #isReconciling(): boolean {
    return this.#state === "draining" && this.#host.reconciliation.hasTurns;
  }

  /** Ends the former life in the store, so that its keys are free at once; begins another. */
  async #comeBack(former: NodeLife): Promise<void> {
    const { clock, random } = this.#options;
    /** This node's incarnations that may still be live in the store. */
    const past = new Map([[former.incarnation, this.#member(former)]]);
    const isDue = (): boolean => this.#state === "fenced" || this.#isReconciling();
    for (let attempt = 0; isDue(); attempt++) {
      try {
        for (const life of past.values()) await this.#membership.leave(life);
        if (!isDue()) return;
        this.#life = this.#newLife();
        past.set(this.#life.incarnation, this.#member(this.#life));
        return await this.#begin();
      } catch (error) {
        this.#tell("warning", "coming back failed", { reason: detailOf(error) });
        if (isAtlasError(error) && error.code === "node_name_taken") return await this.#end(error);
        await pause(clock, backoffMs(random, attempt, 50, this.#timing.heartbeatMs / 2));
      }
    }
  }

  async #end(error: AtlasError | null): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#sockets.close();
    this.#membership.stop();
    this.#life.lease.lapse();
    this.#router.close();
    this.#routing.gateways.close();
    this.#market.stop();
    this.#deadlines.close();
    this.#host.abandon(false);
    this.#host.stop();
    await this.#options.transport.close();
    this.#tell(error ? "error" : "info", "closed", { reason: error?.message ?? null });
    this.#resolveClosed(error);
  }

  #tell(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
    this.#options.onEvent?.({ level, event, fields });
  }
}
