/**
 * Chooses which node to ask to activate a key that this node can't run itself.
 *
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998):
 * rendezvous hashing, so that callers who know the same members ask the same node first.
 */
import type { Member } from "../model/member.ts";
import { weigh } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Membership } from "../registry/membership.ts";

/** How long a member that refused is excluded, in ms. */
const EXCLUDE_MS = 500;

export class Placement {
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #region: string;
  /** Excluded members, and until when; bounded by the number of members. */
  readonly #excluded = new Map<string, number>();

  constructor(membership: Membership, clock: Clock, region: string) {
    this.#membership = membership;
    this.#clock = clock;
    this.#region = region;
  }

  /** Excludes a member for a while. */
  exclude(incarnation: string): void {
    const now = this.#clock.now();
    for (const [other, until] of this.#excluded) if (until <= now) this.#excluded.delete(other);
    this.#excluded.set(incarnation, now + EXCLUDE_MS);
  }

  /**
   * Whether any member runs resources of this type, or ran them while it was live. A type still
   * exists while all its nodes are gone.
   */
  areKnown(type: string): boolean {
    for (const { hosts } of this.#membership.members()) if (hosts.includes(type)) return true;
    return false;
  }

  /**
   * The best live member to run `key`, preferring this region's; undefined if no such member is
   * available.
   *
   * @param region only members of this one, if it is given.
   */
  pick(type: string, key: string, self: string, region: string | null): Member | undefined {
    let best: Member | undefined;
    let bestScore = -1;
    for (const member of this.#membership.members()) {
      if (region !== null && member.region !== region) continue;
      if (member.incarnation === self || !this.#canTake(member, type, region)) continue;
      const near = member.region === this.#region ? 2 ** 32 : 0;
      const score = near + weigh(`${key} ${member.incarnation}`);
      if (score > bestScore) [best, bestScore] = [member, score];
    }
    return best;
  }

  /**
   * The member of a region that the hash of `key` selects; includes this node if it can activate
   * the key. Keys spread evenly over all members that run the type, and few keys move when a member
   * joins or leaves. Undefined if no member runs the type.
   *
   * @param self this node's incarnation; null if it can't take the key.
   */
  spread(type: string, key: string, region: string, self: string | null): Member | undefined {
    let best: Member | undefined;
    let bestScore = -1;
    for (const member of this.#membership.members()) {
      if (member.region !== region) continue;
      if (member.incarnation !== self && !this.#canTake(member, type, region)) continue;
      // Hashed by name, so that a restarted node gets its keys back.
      const score = weigh(`${key} ${member.node}`);
      if (score > bestScore) [best, bestScore] = [member, score];
    }
    return best;
  }

  #canTake({ incarnation, state, hosts }: Member, type: string, region: string | null): boolean {
    // Heartbeats of members of another home region are not read here.
    const isAbroad = region !== null && region !== this.#region;
    return state === "live" && hosts.includes(type) &&
      (isAbroad || !this.#membership.isStalled(incarnation)) &&
      (this.#excluded.get(incarnation) ?? 0) <= this.#clock.now();
  }
}
