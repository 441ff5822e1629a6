/** Wires a node's router and the components behind it from the node's parts and options. */
import { checkTimeout, type DrainOptions } from "../api/calls.ts";
import type { AtlasNode } from "../api/node.ts";
import type { NodeOptions } from "../api/options.ts";
import { AtlasError } from "../errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_GATEWAYS } from "../limits.ts";
import { Gateways } from "../links/gateways.ts";
import { LinkMonitor } from "../links/link_monitor.ts";
import type { Links } from "../links/links.ts";
import { RegionRoutes } from "../links/region_routes.ts";
import { nodeName } from "../model/call_path.ts";
import { ACTIVATE, MIGRATE } from "../model/internal_methods.ts";
import type { NodeEvent } from "../model/node_event.ts";
import { checkToken, resourceKey } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { Directory } from "../registry/directory.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import type { Host } from "../resource/host.ts";
import { CallerAffinity } from "../routing/caller_affinity.ts";
import { Dispatcher } from "../routing/dispatcher.ts";
import { Drains } from "../routing/drains.ts";
import { InboundRequests } from "../routing/inbound.ts";
import { Locator } from "../routing/locator.ts";
import { callBack, checkRegion, Migration, prove } from "../routing/migration.ts";
import { Router } from "../routing/router.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";

/** What a router needs of its node. */
export interface RoutingWiring {
  readonly options: NodeOptions;
  readonly host: Host;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly links: Links;
  readonly deadlines: TimerWheel;
  /** The node's current life. */
  readonly life: () => NodeLife;
  /** Drains this node. */
  readonly drain: (options?: DrainOptions) => Promise<void>;
}

/** The parts of routing that a node uses. */
export interface Routing {
  readonly router: Router;
  readonly inbound: InboundRequests;
  readonly locator: Locator;
  readonly gateways: Gateways;
  readonly routes: RegionRoutes;
  /** Moves a resource to another region. */
  readonly move: AtlasNode["move"];
  /** Drains nodes. */
  readonly drainNodes: AtlasNode["drainNodes"];
}

/** @throws AtlasError `bad_request` or `invalid_rrp` if the option `gateways` isn't allowed */
export function createRouting(wiring: RoutingWiring): Routing {
  const { options, links, membership, life } = wiring;
  const { region, node, store, clock, random } = options;
  const place = { region, node };
  const onEvent = (event: NodeEvent): void => options.onEvent?.(event);
  const gateways = new Gateways({
    gateways: checkGateways(options.gateways),
    region,
    clock,
    random,
    dialAddress: (address) => links.dialAddress(address, life()),
    onEvent,
  });
  const hasHomes = store.homeOf !== undefined;
  const routes = new RegionRoutes({
    region,
    store,
    links,
    gateways,
    membership,
    clock,
    random,
    life,
    hasHomes,
    onEvent,
  });
  const drains = new Drains({ ...wiring, store, clock, place, routes, onEvent });
  const locator = new Locator({ ...wiring, store, clock, place, routes, gateways });
  const migration = new Migration({
    ...wiring,
    store,
    locator,
    place,
    checkClaimIn: (key, { session }) => prove(key, session, nodeName(place), clock),
    ask: (key, route) => router.ask(key, ACTIVATE, route),
    onEvent,
  });
  const dispatcher = new Dispatcher({
    migration,
    affinity: new CallerAffinity(clock, region),
    locator,
    drains,
    clock,
    stats: wiring.host.stats,
    onEvent,
  });
  const router: Router = new Router({
    ...wiring,
    clock,
    random,
    place,
    locator,
    dispatcher,
    onEvent,
  });
  const inbound = new InboundRequests({ ...wiring, clock, locator, router, dispatcher });
  links.watch = monitorOf(region, clock, links, { routes, gateways, router });
  const move = moveBy(router, store, clock);
  const drainNodes: AtlasNode["drainNodes"] = (what) => drains.drainNodes(what);
  return { router, inbound, locator, gateways, routes, move, drainNodes };
}

/** Calls of an unresponsive link go another way if there is one, in the order of their keys. */
function monitorOf(
  region: string,
  clock: Clock,
  links: Links,
  { routes, gateways, router }: { routes: RegionRoutes; gateways: Gateways; router: Router },
): LinkMonitor {
  return new LinkMonitor({
    clock,
    region,
    hasOtherRoute: (peer) => routes.hasGateway(peer),
    onUnresponsive: (session) => {
      routes.silent(session);
      router.callOrder.stuck(session);
    },
    onResponsive: (session) => {
      routes.responsive(session);
      gateways.responsive(session);
      const isStraight = links.present(session.peer.incarnation) === session;
      router.resume(router.callOrder.release(session, isStraight));
    },
  });
}

/** Takes back a departure that is not signed yet, then has the owner move the resource. */
function moveBy(router: Router, store: Store, clock: Clock): AtlasNode["move"] {
  return async (type, id, to, options = {}) => {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = checkTimeout(options);
    const target = { type, key: resourceKey(type, id) };
    checkRegion(store, to);
    const since = clock.now();
    await callBack(store, clock, target.key, to, timeoutMs / 2);
    const left = { ...options, timeoutMs: Math.max(1, timeoutMs - (clock.now() - since)) };
    const { rrp, epoch } = await router.call(target, MIGRATE, [to], left, null);
    return { rrp, epoch };
  };
}

function checkGateways(given: NodeOptions["gateways"] = {}): Record<string, readonly string[]> {
  if (typeof given !== "object" || given === null) {
    throw new AtlasError("bad_request", "gateways must be { <region>: [<address>, …] }");
  }
  const checked: Record<string, readonly string[]> = {};
  for (const [region, addresses] of Object.entries(given)) {
    checkToken("region", region);
    const isList = Array.isArray(addresses) && addresses.length >= 1 &&
      addresses.length <= MAX_GATEWAYS &&
      addresses.every((address) => typeof address === "string" && address !== "");
    if (!isList) {
      const shown = JSON.stringify(addresses)?.slice(0, 80);
      throw new AtlasError(
        "bad_request",
        `gateways of region ${region} are ${shown}: they must be 1 to ${MAX_GATEWAYS} addresses`,
      );
    }
    checked[region] = [...new Set(addresses)];
  }
  return checked;
}
