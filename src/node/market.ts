/** Joins the market of modules to a node: its links, its registry and its lifetime. */
import type { App } from "../api/app.ts";
import type { NodeOptions, Role } from "../api/options.ts";
import { AtlasError } from "../errors.ts";
import { resolverOf } from "../lambda/exchange/bootstrap.ts";
import { Market } from "../lambda/market.ts";
import type { Links } from "../links/links.ts";
import { hasEnded, type Member } from "../model/member.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";

/** What a market needs of its node. */
export interface MarketWiring {
  readonly options: NodeOptions;
  readonly app: App;
  readonly links: Links;
  readonly membership: Membership;
  readonly deadlines: TimerWheel;
  /** The node's current life. */
  readonly life: () => NodeLife;
}

/**
 * Creates a node's market, not yet open. @throws AtlasError `bad_request` if an option isn't
 * allowed
 */
export function createMarket(
  { options, app, links, membership, deadlines, life }: MarketWiring,
): Market {
  const { bootstrap = "registry", region, node, clock, random, transport } = options;
  const isMe = (incarnation: string): boolean => incarnation === life().incarnation;
  /** Other nodes that are live authorities in the registry. */
  const authorities = (): Member[] =>
    [...membership.members()].filter(({ state, serves, incarnation }) =>
      !hasEnded(state) && serves?.includes("authority") && !isMe(incarnation)
    );
  return new Market({
    role: roleOf(options),
    resolve: resolverOf(bootstrap, authorities),
    modules: app.modules ?? {},
    clock,
    random,
    deadlines,
    self: () => ({ region, node, incarnation: life().incarnation, address: transport.address }),
    incarnation: () => life().incarnation,
    member: (incarnation) => membership.peek(incarnation),
    present: (incarnation) => links.present(incarnation),
    dial: (peer) => links.to(peer, life()),
    meet: (address) => links.dialAddress(address, life()),
    onEvent: (event) => options.onEvent?.(event),
  });
}

function roleOf({ role, bootstrap }: NodeOptions): Role {
  const given = role ?? (bootstrap === undefined ? "authority" : "worker");
  if (given === "authority" || given === "worker") return given;
  throw new AtlasError("bad_request", `role is ${given}, it must be authority or worker`);
}
