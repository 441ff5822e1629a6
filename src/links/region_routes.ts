/**
 * Routes to nodes of other regions.
 *
 * Takes a node and its region; gives the link to send over, and whether the node at its end is
 * to pass the call on. The direct link comes first. Where it fails, that is remembered for a
 * while, and calls go through the region's gateways, or any other of its nodes that can be
 * reached.
 *
 * Source: `docs/design.md`, Regions and moves.
 */
import { AtlasError, detailOf, messageOf } from "../errors.ts";
import {
  DETOUR_MS,
  DIRECT_PATIENCE_MS,
  MAX_DETOUR_MS,
  MAX_HOPS,
  MAX_LONE_DETOUR_MS,
  MAX_UNREACHABLE,
  SILENCE_MS,
} from "../limits.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Member } from "../model/member.ts";
import { nodeName } from "../model/call_path.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { LinkIdentity } from "../ports/transport.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import { backoffMs } from "../time/wait.ts";
import type { Gateways } from "./gateways.ts";
import type { Links, Session } from "./links.ts";

/** Which link to take, and whether the call is to be passed on at its end. */
export interface LinkRoute {
  readonly session: Session;
  readonly relay: boolean;
}

export interface RegionRoutesParts {
  readonly links: Links;
  readonly gateways: Gateways;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly random: Random;
  readonly life: () => NodeLife;
  /** Whether keys have homes: then any node there passes calls on. */
  readonly hasHomes: boolean;
  readonly onEvent: (event: NodeEvent) => void;
}

/** A straight road that was shut when it was last tried. */
interface FailedRoute {
  readonly member: Member;
  readonly failures: number;
  /** When it is tried again, on the monotonic clock. */
  readonly retryAt: number;
  readonly reason: string;
  /** The same as callers are told it. */
  readonly told: string;
}

export class RegionRoutes {
  readonly #parts: RegionRoutesParts;
  /** By incarnation, the one that failed longest ago first. */
  readonly #failed = new Map<string, FailedRoute>();

  constructor(parts: RegionRoutesParts) {
    this.#parts = parts;
  }

  /** The way to an incarnation of a region that can be taken at once; null where there is none. */
  ready(incarnation: string, region: string): LinkRoute | null {
    const { links, gateways, membership } = this.#parts;
    const straight = links.present(incarnation);
    if (straight && isGood(straight)) {
      this.#recovered(incarnation);
      return { session: straight, relay: false };
    }
    const detour = this.#failed.get(incarnation);
    const member = membership.peek(incarnation);
    // One that was never tried is worth the wait; one that is due is tried meanwhile.
    if (member && !detour) return null;
    const around = gateways.ready(region);
    if (!around) return null;
    if (member && detour && this.#isDue(detour)) void this.#dial(member);
    return { session: around, relay: true };
  }

  /**
   * A way to `wanted`, or where that is unknown or out of reach, to a node of its region
   * that knows more.
   *
   * @throws AtlasError `unavailable` where no node of the region can be reached now.
   */
  async find(wanted: Member | undefined, incarnation: string, region: string): Promise<LinkRoute> {
    const ready = this.ready(incarnation, region);
    if (ready) return ready;
    const straight = wanted && await this.#dial(wanted);
    if (straight) return { session: straight, relay: false };
    try {
      return { session: await this.around(region, incarnation), relay: true };
    } catch (error) {
      // Its silence may end; there is no other way.
      const silent = this.#parts.links.present(incarnation);
      if (silent?.takes) return { session: silent, relay: false };
      throw error;
    }
  }

  /**
   * A link to some node of a region that passes calls on: a gateway, else any other.
   *
   * @param except an incarnation that is out of reach.
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
    const because = (of: "told" | "reason", gateways: string): string => {
      const why = this.#reasons(region, of).join("; ") || "none that takes calls is known here";
      return trouble === null
        ? `no node of region ${region} can be reached, and it has no gateways here (${why})`
        : `${gateways}; nor any of its nodes (${why})`;
    };
    throw new AtlasError("unavailable", because("told", messageOf(trouble)), {
      cause: trouble ?? undefined,
      detail: because("reason", detailOf(trouble)),
    });
  }

  /** Whether calls to a node of another region could take another way than its own link. */
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

  /** Nothing comes over a node's link any more. */
  silent({ peer }: Session): void {
    const member = this.#parts.membership.peek(peer.incarnation);
    if (member) this.#failedRoute(member, `nothing came over its link for ${SILENCE_MS} ms`);
  }

  /** Something comes over it again. */
  heard({ peer }: Session): void {
    this.#recovered(peer.incarnation);
  }

  /** Why living nodes of a region are out of reach, of the latest few. */
  #reasons(region: string, of: "told" | "reason"): string[] {
    const reasons = new Set<string>();
    for (const [incarnation, { member, [of]: reason }] of [...this.#failed].reverse()) {
      const isLive = this.#parts.membership.peek(incarnation)?.state === "live";
      if (isLive && member.region === region && reasons.size < MAX_HOPS) reasons.add(reason);
    }
    return [...reasons];
  }

  /** Whether a member was out of reach lately. */
  isShut(incarnation: string): boolean {
    const detour = this.#failed.get(incarnation);
    return detour !== undefined && !this.#isDue(detour);
  }

  /** Live members of a region that may be reached, those with an open link first. */
  #others(region: string, except: string): Member[] {
    const { membership, links } = this.#parts;
    const others = [...membership.members()].filter((member) =>
      member.region === region && member.state === "live" && member.incarnation !== except &&
      !this.isShut(member.incarnation) && !links.present(member.incarnation)?.isUnresponsive
    );
    const isOpen = ({ incarnation }: Member): number => links.present(incarnation)?.takes ? 0 : 1;
    return others.sort((a, b) => isOpen(a) - isOpen(b));
  }

  /** The straight link to a member; null where it is shut, silent, or not open in time. */
  async #dial(member: Member): Promise<Session | null> {
    const { incarnation } = member;
    const { links, clock, life } = this.#parts;
    const present = links.present(incarnation);
    if (present) return isGood(present) ? present : null;
    if (this.isShut(incarnation)) return null;
    return await new Promise((resolve) => {
      let isOver = false;
      const fail = (error: unknown): void => {
        if (!isOver) this.#failedRoute(member, error);
        isOver = true;
        resolve(null);
      };
      const timer = clock.after(DIRECT_PATIENCE_MS, () => fail(null));
      links.to(member, life()).then((session) => {
        // Also where it came too late for this call: the next ones take it.
        this.#recovered(incarnation);
        resolve(session.takes ? session : null);
      }, fail).finally(() => timer.cancel());
    });
  }

  #isDue({ retryAt }: FailedRoute): boolean {
    return retryAt <= this.#parts.clock.now();
  }

  /** @param why null where it was only waited for in vain: what is known of it says more. */
  #failedRoute(member: Member, why: unknown): void {
    const { clock, random, gateways } = this.#parts;
    const { incarnation, region } = member;
    const before = this.#failed.get(incarnation);
    const late = `${nodeName(member)} gave no link within ${DIRECT_PATIENCE_MS} ms`;
    const reason = why === null ? before?.reason ?? late : detailOf(why);
    const told = why === null ? before?.told ?? late : messageOf(why);
    const failures = (before?.failures ?? -1) + 1;
    // Where there may be no way around, calls fail until the straight road is tried again.
    const most = gateways.has(region) ? MAX_DETOUR_MS : MAX_LONE_DETOUR_MS;
    const retryAt = clock.now() + backoffMs(random, failures, DETOUR_MS, most);
    this.#failed.delete(incarnation);
    if (this.#failed.size >= MAX_UNREACHABLE) {
      const [oldest] = this.#failed.keys();
      this.#failed.delete(oldest as string);
    }
    this.#failed.set(incarnation, { member, failures, retryAt, reason, told });
    if (reason !== before?.reason) this.#tell("warning", "road shut", member, { reason });
  }

  #recovered(incarnation: string): void {
    const detour = this.#failed.get(incarnation);
    if (!detour) return;
    this.#failed.delete(incarnation);
    this.#tell("info", "road open", detour.member, {});
  }

  #tell(
    level: NodeEvent["level"],
    event: string,
    member: Member,
    also: NodeEvent["fields"],
  ): void {
    const { life, onEvent } = this.#parts;
    // A node that ends shuts its own roads.
    if (!life().lease.holds()) return;
    const fields = { node: nodeName(member), address: member.address, ...also };
    onEvent({ level, event, fields });
  }
}

/** Whether calls can be sent over a link, and somebody seems to be at its end. */
function isGood(session: Session): boolean {
  return session.takes && !session.isUnresponsive;
}
