/**
 * Decides where a call can go. Takes a key; gives the resource if it is on this node or can be
 * activated on it; else the link to its owner, to a node that has to activate it, or to a node of
 * its home region.
 *
 * A key whose home is another region is never activated here: only that region's nodes may own
 * it, and they decide whether its owner is alive.
 *
 * Source: `docs/design.md`, Claims; Regions and moves.
 */
import { AtlasError, detailOf, isAtlasError } from "../errors.ts";
import { MAX_HOPS } from "../limits.ts";
import type { Gateways } from "../links/gateways.ts";
import type { Links, Session } from "../links/links.ts";
import type { LinkRoute, RegionRoutes } from "../links/region_routes.ts";
import { regionOf } from "../model/call_path.ts";
import type { Member } from "../model/member.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { type Directory, suspected } from "../registry/directory.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import { pause } from "../time/wait.ts";
import { Placement } from "./placement.ts";

/**
 * How many times a region's members are read to find one, and the pause between two reads, in ms.
 */
const MEMBERS_ATTEMPTS = 4;
const MEMBERS_PAUSE_MS = 100;
/**
 * How long a call waits for a node of this region before it reports that the node doesn't answer,
 * in ms.
 */
const SILENCE_MS = 500;
/** The shortest interval between two reads of the members for unknown members elsewhere, in ms. */
const LEARN_MS = 5_000;

export interface LocatorParts {
  readonly host: Host;
  readonly store: Store;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly links: Links;
  readonly routes: RegionRoutes;
  readonly gateways: Gateways;
  readonly clock: Clock;
  readonly place: { readonly region: string; readonly node: string };
  /** This node's current life, held or lapsed. */
  readonly life: () => NodeLife;
}

/** A link for calls of one key, and the presumed owner. */
export interface Route extends LinkRoute {
  readonly owner: Ownership | null;
}

/** Where calls of one key can be sent now. */
export type Target = Activation | Route;

export class Locator {
  readonly #parts: LocatorParts;
  readonly #placement: Placement;
  #learntAt = -Infinity;

  constructor(parts: LocatorParts) {
    this.#parts = parts;
    this.#placement = new Placement(parts.membership, parts.clock, parts.place.region);
  }

  /**
   * Refuses a type that certainly no node runs. Nodes behind gateways may be unknown to this node.
   *
   * @throws AtlasError `not_found`
   */
  checkType(type: string): void {
    const { host, gateways } = this.#parts;
    if (!host.knows(type) && !this.#placement.areKnown(type) && gateways.isEmpty) {
      throw unknown(type);
    }
  }

  /** The other region that is a key's home; null if this region is its home, or it has no home. */
  remoteHomeOf(key: string): string | null {
    const home = this.#homeOf(key);
    return home === this.#parts.place.region ? null : home;
  }

  /** The only region that may own a key, as the store or else its type says; null: any region. */
  #homeOf(key: string): string | null {
    const { store, host } = this.#parts;
    const home = store.homeOf?.(key) ?? null;
    if (home !== null) return home;
    const placement = host.placement(typeOf(key));
    return typeof placement === "object" ? placement.region : null;
  }

  /**
   * A route to a node of another region that has to activate a key. That region's members may have
   * to be read first; the read is tried a few times.
   *
   * @throws AtlasError `unavailable`
   */
  async routeInRegion(key: string, region: string): Promise<Route> {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#askRemote(key, typeOf(key), region);
      } catch (error) {
        if (attempt >= MEMBERS_ATTEMPTS) throw error;
        await pause(this.#parts.clock, MEMBERS_PAUSE_MS * attempt);
      }
    }
  }

  /**
   * Checks that a key of another home region could be claimed in this region now: a node runs its
   * type, and the registry accepts a write in its slot.
   *
   * @throws AtlasError `unavailable`, saying what is missing
   */
  async checkClaim(key: string, type: string): Promise<void> {
    const { host, store, membership, life, place: { region } } = this.#parts;
    const { incarnation } = life();
    const obstacle = store.obstacleTo?.(region) ?? null;
    if (obstacle !== null) throw new AtlasError("unavailable", obstacle);
    if (!host.canHost(type, key) && !this.#placement.pick(type, key, incarnation, region)) {
      throw new AtlasError("unavailable", `no node of region ${region} can take ${key} now`);
    }
    membership.lineages.toClaim(key);
    // The release of an ownership that never existed: changes nothing.
    await store.release(key, incarnation, 0);
  }

  /** The route to a cached owner that can be used at once. */
  ready(owner: Ownership): LinkRoute | null {
    const region = regionOf(owner.rrp);
    if (region === this.#parts.place.region) return null;
    return this.#parts.routes.ready(owner.incarnation, region);
  }

  /** A node could not take or pass on a call: other nodes are preferred for a while. */
  exclude(session: Session): void {
    this.#placement.exclude(session.peer.incarnation);
    this.#parts.gateways.exclude(session);
  }

  /** Where a key's calls can be sent. @throws AtlasError, retryable if waiting may help. */
  async find(key: string, type: string): Promise<Target> {
    const { host, directory } = this.#parts;
    const here = host.find(key);
    if (here) return here;
    if (this.remoteHomeOf(key) !== null) return await this.#remote(key, type);
    let owner: Ownership | null = directory.cached(key);
    if (host.canStartOffline(type)) {
      const route = owner && await this.#inReach(key, owner);
      if (route) return route;
      const found = await host.startOffline(key, type, owner?.epoch ?? 0);
      if (found instanceof Activation) return found;
      directory.note(key, owner = found);
    }
    if (!owner && host.placement(type) === "spread") {
      const elsewhere = await this.#spread(key, type);
      if (elsewhere) return elsewhere;
    }
    if (!owner && host.canHost(type, key)) {
      const acquired = await host.acquire(key, type);
      if (acquired instanceof Activation) return acquired;
      directory.note(key, owner = acquired);
    }
    owner ??= await directory.locate(key);
    if (!owner) return await this.#ask(key, type);
    return await this.#follow(key, owner);
  }

  /**
   * The route to a cached owner while the store is out of reach, over an open link or a new one.
   * Null if the owner can't be reached. Only then may the key be activated on this node.
   *
   * @throws AtlasError `unavailable` if this node has begun another life meanwhile
   */
  async #inReach(key: string, owner: Ownership): Promise<Route | null> {
    const { membership, links, gateways, routes, life, place } = this.#parts;
    const { incarnation } = owner;
    const self = life();
    const present = links.present(incarnation);
    if (present?.acceptsRequests && !present.isUnresponsive) {
      return { session: present, relay: false, owner };
    }
    const member = membership.peek(incarnation);
    if (!member || incarnation === self.incarnation || this.#isNamesake(member)) return null;
    try {
      if (member.region !== place.region && gateways.has(member.region)) {
        return { ...await routes.find(member, incarnation, member.region), owner };
      }
      return { session: await this.#dial(member, key), relay: false, owner };
    } catch (error) {
      // The new life closed the dials of the former one, so the failure proves nothing about the
      // owner.
      if (life() !== self) throw error;
      return null;
    }
  }

  /** The route to an owner in this region's membership. */
  async #follow(key: string, owner: Ownership): Promise<Route> {
    const { directory, membership, links, gateways, routes, life, place } = this.#parts;
    const { incarnation } = owner;
    const member = membership.peek(incarnation) ?? await this.#peekAnew(incarnation);
    if (incarnation === life().incarnation || this.#isNamesake(member)) {
      // The key's entry names this node, in this life or a former one, but the key isn't active
      // here. The next attempt claims it again.
      directory.forget(key);
      const why = membership.leaseTrouble;
      throw new AtlasError("unavailable", `${key} is between two owners${why}`);
    }
    if (!member && membership.isUnreadable(incarnation)) {
      const session = links.present(incarnation);
      if (session?.acceptsRequests) return { session, relay: false, owner };
      throw new AtlasError(
        "unavailable",
        `the owner of ${key} can't be dialled: its row in the registry can't be read`,
      );
    }
    if (!member || membership.isKnownDead(incarnation)) {
      directory.forget(key);
      throw new AtlasError("unavailable", `the owner of ${key} is dead`);
    }
    const { region } = member;
    if (region !== place.region && gateways.has(region)) {
      return { ...await routes.find(member, incarnation, region), owner };
    }
    return { session: await this.#reach(member, key), relay: false, owner };
  }

  /** The route for a key of another home region: to its owner if known, else to a node there. */
  async #remote(key: string, type: string): Promise<Target> {
    const { directory, membership, routes, life, place, store } = this.#parts;
    let unread: AtlasError | null = null;
    const owner = directory.cached(key) ?? await this.#lookUp(key, (why) => unread = why);
    // The lookup may have found that the key has moved.
    const home = this.remoteHomeOf(key);
    if (home === null) return await this.find(key, type);
    const { incarnation = "", rrp = "" } = owner ?? {};
    const region = regionOf(rrp);
    const isHere = incarnation === life().incarnation ||
      (region === place.region && store.homeOf?.(key) === home);
    if (!owner || isHere || membership.isKnownDead(incarnation)) {
      if (owner) directory.forget(key);
      return await this.#askRemote(key, type, home).catch((error) => {
        throw unread ? alsoUnread(error, unread) : error;
      });
    }
    const member = membership.peek(incarnation) ?? await this.#learn(incarnation, region);
    return { ...await routes.find(member, incarnation, region), owner };
  }

  /**
   * A member of another region that this node doesn't know. The call waits for the read of it only
   * if no other node can help.
   */
  async #learn(incarnation: string, region: string): Promise<Member | undefined> {
    const { membership, gateways, clock } = this.#parts;
    if (!gateways.has(region)) {
      await membership.refreshAbroad(region);
      return membership.peek(incarnation);
    }
    if (clock.now() - this.#learntAt >= LEARN_MS) {
      this.#learntAt = clock.now();
      // The read serves later calls; this call goes through a gateway.
      membership.refreshAbroad(region);
    }
    return undefined;
  }

  /**
   * The owner in the home region's store; null also if that store can't be read but a node there
   * may know the owner; `unread` then gets the reason.
   */
  async #lookUp(key: string, unread: (why: AtlasError) => void): Promise<Ownership | null> {
    const { store, directory } = this.#parts;
    try {
      const owner = await store.lookup(key);
      if (owner) directory.note(key, owner);
      return owner;
    } catch (error) {
      if (!isAtlasError(error) || !error.retryable) throw error;
      unread(error);
      return null;
    }
  }

  /** The route to a node of the home region that activates a key, or passes its calls on. */
  async #askRemote(key: string, type: string, home: string): Promise<Route> {
    const { host, membership, routes, gateways, life } = this.#parts;
    const pick = () =>
      host.placement(type) === "spread"
        ? this.#placement.spread(type, key, home, null)
        : this.#placement.pick(type, key, life().incarnation, home);
    let member = pick();
    if (!member && !gateways.has(home)) {
      await membership.refreshAbroad(home);
      member = pick();
      if (!member && !host.knows(type) && !this.#placement.areKnown(type)) throw unknown(type);
    }
    // That node decides: it claims the key itself, or already knows its owner.
    const route = await routes.find(member, member?.incarnation ?? "", home);
    return { session: route.session, relay: true, owner: null };
  }

  /** The region whose nodes may be asked to activate a key; null: any. */
  #regionFor(key: string, type: string): string | null {
    const placement = this.#parts.host.placement(type);
    const stays = placement === "region" || placement === "spread";
    return this.#homeOf(key) ?? (stays ? this.#parts.place.region : null);
  }

  /**
   * The node that a key's hash selects; null if that is this node, or no other node can be reached.
   */
  async #spread(key: string, type: string): Promise<Route | null> {
    const { host, life, place } = this.#parts;
    const self = host.canHost(type, key) ? life().incarnation : null;
    for (let tries = 0; tries < MAX_HOPS; tries++) {
      const member = this.#placement.spread(type, key, place.region, self);
      if (!member || member.incarnation === self) return null;
      try {
        return { session: await this.#reach(member, key), relay: false, owner: null };
      } catch {
        this.#placement.exclude(member.incarnation);
      }
    }
    return null;
  }

  /**
   * The link to an owner, unless the link is unresponsive: callers then wait until it responds or
   * the owner is dead.
   */
  async #reach(member: Member, key: string): Promise<Session> {
    const { links, membership } = this.#parts;
    const present = links.present(member.incarnation);
    if (present && !membership.isStalled(member.incarnation)) return present;
    if (present) throw suspected(key);
    return await this.#dial(member, key);
  }

  /** A link to a member, unless it takes too long. @throws AtlasError `unavailable` */
  async #dial(member: Member, key: string): Promise<Session> {
    const { links, clock, life } = this.#parts;
    const silence = pause(clock, SILENCE_MS).then(() => {
      throw suspected(key);
    });
    return await Promise.race([links.to(member, life()), silence]);
  }

  /** Whether a member is an incarnation of this node: it is never dialled. */
  #isNamesake(member: Member | undefined): boolean {
    const { region, node } = this.#parts.place;
    return member?.region === region && member.node === node;
  }

  /** A member that may have joined since the members were last read. */
  async #peekAnew(incarnation: string): Promise<Member | undefined> {
    await this.#parts.membership.refresh();
    return this.#parts.membership.peek(incarnation);
  }

  /**
   * The route to a node that can activate a key which nobody owns and which this node can't
   * activate.
   */
  async #ask(key: string, type: string): Promise<Route> {
    const { life, host, membership } = this.#parts;
    const region = this.#regionFor(key, type);
    const pick = () => this.#placement.pick(type, key, life().incarnation, region);
    let member = pick();
    if (!member) {
      // A node may have joined since the last heartbeat.
      await membership.refresh();
      member = pick();
    }
    if (member) {
      // A node that runs the type also knows its placement.
      const relay = !host.knows(type);
      return { session: await this.#reach(member, key), relay, owner: null };
    }
    if (!host.knows(type) && !this.#placement.areKnown(type)) throw unknown(type);
    throw new AtlasError("unavailable", `no node can take ${key} now`);
  }
}

function typeOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf("/")));
}

/** `error` of a region's nodes, together with `unread`, the error of its registry. */
function alsoUnread(error: unknown, unread: AtlasError): unknown {
  if (!isAtlasError(error) || error.code !== "unavailable") return error;
  const { code, message, retryable, maybeExecuted } = error;
  const both = `${message}; and ${unread.message}`;
  const detail = `${detailOf(error)}; and ${detailOf(unread)}`;
  return new AtlasError(code, both, { retryable, maybeExecuted, cause: error, detail });
}

function unknown(type: string): AtlasError {
  return new AtlasError("not_found", `no node runs resources of type ${type}`);
}
