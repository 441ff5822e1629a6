/**
 * Which regions a node knows: its own, those where keys may have their home, those that have
 * gateways, and those of all members that it has heard of.
 */
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { Membership } from "../registry/membership.ts";
import type { Gateways } from "../links/gateways.ts";

/** The shortest interval between two scans of the members, in ms. */
const LOOK_MS = 1_000;

export interface KnownRegionsParts {
  readonly clock: Clock;
  readonly store: Pick<Store, "regions">;
  readonly membership: Pick<Membership, "members">;
  readonly gateways: Pick<Gateways, "has">;
  /** The node's own region. */
  readonly region: string;
}

export class KnownRegions {
  readonly #parts: KnownRegionsParts;
  #ofMembers: ReadonlySet<string> = new Set();
  #lookedAt = -Infinity;

  constructor(parts: KnownRegionsParts) {
    this.#parts = parts;
  }

  has(region: string): boolean {
    const { clock, store, membership, gateways } = this.#parts;
    if (region === this.#parts.region) return true;
    if (store.regions?.includes(region) || gateways.has(region)) return true;
    const now = clock.now();
    if (now - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = now;
      this.#ofMembers = new Set([...membership.members()].map((member) => member.region));
    }
    return this.#ofMembers.has(region);
  }
}
