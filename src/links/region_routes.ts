/**
 * Finds routes to nodes of other regions, and tells which regions are known.
 *
 * Takes a node and its region; gives the link to send over, and whether the node at its end has to
 * pass the call on. The direct link comes first. If it fails, that is remembered for a while, and
 * calls go through the region's gateways, or any other of its nodes that can be reached.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import { AtlasError, detailOf, messageOf } from "../errors.ts";
import {
  DIRECT_LINK_WAIT_MS,
  MAX_HOPS,
  MAX_LONE_ROUTE_RETRY_MS,
  MAX_ROUTE_RETRY_MS,
  MAX_UNREACHABLE,
  ROUTE_RETRY_MS,
  SILENCE_MS,
} from "../limits.ts";
import { nodeName } from "../model/call_path.ts";
import type { Member } from "../model/member.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import type { LinkIdentity } from "../ports/transport.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import { backoffMs } from "../time/wait.ts";
import type { Gateways } from "./gateways.ts";
import type { Links, Session } from "./links.ts";

/** The shortest interval between two scans of the members for their regions, in ms. */
const REGION_SCAN_MS = 1_000;

/** The link to use, and whether the node at its end has to pass the call on. */
export interface LinkRoute {
  readonly session: Session;
  readonly relay: boolean;
}

export interface RegionRoutesParts {
  /** This node's region. */
  readonly region: string;
  readonly store: Pick<Store, "regions">;
  readonly links: Links;
  readonly gateways: Gateways;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly random: Random;
  readonly life: () => NodeLife;
  /** Whether keys have home regions: then any node of a home region passes calls on. */
  readonly hasHomes: boolean;
  readonly onEvent: (event: NodeEvent) => void;
}

/** A direct link that could not be opened when it was last tried. */
interface FailedRoute {
  readonly member: Member;
  readonly failures: number;
  /** When it is tried again, on the monotonic clock. */
  readonly retryAt: number;
  readonly reason: string;
  /** The same reason, in a form fit for callers. */
  readonly publicReason: string;
}

export class RegionRoutes {
  readonly #parts: RegionRoutesParts;
  /** By incarnation, the earliest failure first. */
  readonly #failed = new Map<string, FailedRoute>();
  #regionsOfMembers: ReadonlySet<string> = new Set();
  #scannedAt = -Infinity;

  constructor(parts: RegionRoutesParts) {
    this.#parts = parts;
  }

  /**
   * Whether this node knows a region: its own, one in which keys may have their home, one that has
   * gateways, or one of a member.
   */
  knows(region: string): boolean {
    const { clock, store, membership, gateways } = this.#parts;
    if (region === this.#parts.region) return true;
    if (store.regions?.includes(region) || gateways.has(region)) return true;
    const now = clock.now();
    if (now - this.#scannedAt >= REGION_SCAN_MS) {
      this.#scannedAt = now;
      this.#regionsOfMembers = new Set([...membership.members()].map((member) => member.region));
    }
    return this.#regionsOfMembers.has(region);
  }

  /**
   * The route to an incarnation of a region that can be used at once; null if it has no such route.
   */
  ready(incarnation: string, region: string): LinkRoute | null {
    const { links, gateways, membership } = this.#parts;
    const straight = links.present(incarnation);
    if (straight && isGood(straight)) {
      this.#recovered(incarnation);
      return { session: straight, relay: false };
    }
    const failed = this.#failed.get(incarnation);
    const member = membership.peek(incarnation);
    // The call waits for a direct link that was never tried. A direct link whose retry is due is
    // tried in the background.
    if (member && !failed) return null;
    const around = gateways.ready(region);
    if (!around) return null;
    if (member && failed && this.#isDue(failed)) void this.#dial(member);
    return { session: around, relay: true };
  }

  /**
   * A route to `wanted`; if that is unknown or out of reach, to a node of its region that passes
   * the call on.
   *
   * @throws AtlasError `unavailable` if no node of the region can be reached now.
   */
  async find(wanted: Member | undefined, incarnation: string, region: string): Promise<LinkRoute> {
    const ready = this.ready(incarnation, region);
    if (ready) return ready;
    const straight = wanted && await this.#dial(wanted);
    if (straight) return { session: straight, relay: false };
    try {
      return { session: await this.around(region, incarnation), relay: true };
    } catch (error) {
      // The link may respond again, and no other route exists.
      const unresponsive = this.#parts.links.present(incarnation);
      if (unresponsive?.acceptsRequests) return { session: unresponsive, relay: false };
      throw error;
    }
  }

  /**
   * A link to some node of a region that passes calls on: a gateway, else any other.
   *
   * @param except an incarnation that can't be reached.
   * @throws AtlasError `unavailable`
   */
  async around(region: string, except: string): Promise<Session> {
    const { gateways } = this.#parts;
    let trouble: unknown = null;
    if (gateways.has(region)) {
      try {
        return await gateways.open(region);
      } catch (error) {
        trouble = error;
      }
    }
    let tries = 0;
    for (const member of this.#others(region, except)) {
      const session = await this.#dial(member);
      if (session) return session;
      if (++tries >= MAX_HOPS) break;
    }
    const because = (of: "publicReason" | "reason", gateways: string): string => {
      const why = this.#reasons(region, of).join("; ") ||
        "no node that passes calls on is known here";
      return trouble === null
        ? `no node of region ${region} can be reached, and it has no gateways here (${why})`
        : `${gateways}; nor any of its nodes (${why})`;
    };
    throw new AtlasError("unavailable", because("publicReason", messageOf(trouble)), {
      cause: trouble ?? undefined,
      detail: because("reason", detailOf(trouble)),
    });
  }

  /** Whether calls to a node of another region could take another route than its direct link. */
  hasGateway({ region, incarnation }: LinkIdentity): boolean {
    const { gateways, membership, hasHomes } = this.#parts;
    if (gateways.has(region)) return true;
    if (!hasHomes) return false;
    for (const member of membership.members()) {
      const isOther = member.incarnation !== incarnation && member.region === region;
      if (isOther && member.state === "live") return true;
    }
    return false;
  }

  /** A node's link is unresponsive. */
  silent({ peer }: Session): void {
    const member = this.#parts.membership.peek(peer.incarnation);
    if (member) this.#failedRoute(member, `nothing came over its link for ${SILENCE_MS} ms`);
  }

  /** A node's link responds again. */
  responsive({ peer }: Session): void {
    this.#recovered(peer.incarnation);
  }

  /** Why live nodes of a region can't be reached: the latest few reasons. */
  #reasons(region: string, of: "publicReason" | "reason"): string[] {
    const reasons = new Set<string>();
    for (const [incarnation, { member, [of]: reason }] of [...this.#failed].reverse()) {
      const isLive = this.#parts.membership.peek(incarnation)?.state === "live";
      if (isLive && member.region === region && reasons.size < MAX_HOPS) reasons.add(reason);
    }
    return [...reasons];
  }

  /** Whether a member could not be reached recently. */
  isDown(incarnation: string): boolean {
    const failed = this.#failed.get(incarnation);
    return failed !== undefined && !this.#isDue(failed);
  }

  /** Live members of a region that may be reached, those with an open link first. */
  #others(region: string, except: string): Member[] {
    const { membership, links } = this.#parts;
    const others = [...membership.members()].filter((member) =>
      member.region === region && member.state === "live" && member.incarnation !== except &&
      !this.isDown(member.incarnation) && !links.present(member.incarnation)?.isUnresponsive
    );
    const isOpen = ({ incarnation }: Member): number =>
      links.present(incarnation)?.acceptsRequests ? 0 : 1;
    return others.sort((a, b) => isOpen(a) - isOpen(b));
  }

  /** The direct link to a member; null if it failed, is unresponsive, or isn't open in time. */
  async #dial(member: Member): Promise<Session | null> {
    const { incarnation } = member;
    const { links, clock, life } = this.#parts;
    const present = links.present(incarnation);
    if (present) return isGood(present) ? present : null;
    if (this.isDown(incarnation)) return null;
    return await new Promise((resolve) => {
      let isOver = false;
      const fail = (error: unknown): void => {
        if (!isOver) this.#failedRoute(member, error);
        isOver = true;
        resolve(null);
      };
      const timer = clock.after(DIRECT_LINK_WAIT_MS, () => fail(null));
      links.to(member, life()).then((session) => {
        // Also recorded if it came too late for this call: later calls use it.
        this.#recovered(incarnation);
        resolve(session.acceptsRequests ? session : null);
      }, fail).finally(() => timer.cancel());
    });
  }

  #isDue({ retryAt }: FailedRoute): boolean {
    return retryAt <= this.#parts.clock.now();
  }

  /**
   * @param why null if the link was only not open in time: an earlier reason is more informative.
   */
  #failedRoute(member: Member, why: unknown): void {
    const { clock, random, gateways } = this.#parts;
    const { incarnation, region } = member;
    const before = this.#failed.get(incarnation);
    const late = `${nodeName(member)} gave no link within ${DIRECT_LINK_WAIT_MS} ms`;
    const reason = why === null ? before?.reason ?? late : detailOf(why);
    const publicReason = why === null ? before?.publicReason ?? late : messageOf(why);
    const failures = (before?.failures ?? -1) + 1;
    // If there may be no other route, calls fail until the direct link is tried again.
    const most = gateways.has(region) ? MAX_ROUTE_RETRY_MS : MAX_LONE_ROUTE_RETRY_MS;
    const retryAt = clock.now() + backoffMs(random, failures, ROUTE_RETRY_MS, most);
    this.#failed.delete(incarnation);
    if (this.#failed.size >= MAX_UNREACHABLE) {
      const [oldest] = this.#failed.keys();
      this.#failed.delete(oldest as string);
    }
    this.#failed.set(incarnation, { member, failures, retryAt, reason, publicReason });
    if (reason !== before?.reason) this.#tell("warning", "link to region down", member, { reason });
  }

  #recovered(incarnation: string): void {
    const failed = this.#failed.get(incarnation);
    if (!failed) return;
    this.#failed.delete(incarnation);
    this.#tell("info", "link to region up", failed.member, {});
  }

  #tell(
    level: NodeEvent["level"],
    event: string,
    member: Member,
    also: NodeEvent["fields"],
  ): void {
    const { life, onEvent } = this.#parts;
    // A node that is ending breaks its own links.
    if (!life().lease.holds()) return;
    const fields = { node: nodeName(member), address: member.address, ...also };
    onEvent({ level, event, fields });
  }
}

/** Whether a link is open and responsive. */
function isGood(session: Session): boolean {
  return session.acceptsRequests && !session.isUnresponsive;
}
