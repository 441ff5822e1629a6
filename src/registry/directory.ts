/**
 * Looks up the owner of a key, from this node's cache if that is allowed, else from the store.
 * Gives the verdict: how certain the answer is.
 *
 * Source: `docs/design.md`, Lookups and verdicts.
 */
import { AtlasError, isAtlasError } from "../errors.ts";
import { MAX_CACHED_LOCATIONS } from "../limits.ts";
import { hasEnded } from "../model/member.ts";
import {
  type Lookup,
  type Ownership,
  PlacedOwnership,
  Places,
  type Verdict,
} from "../model/ownership.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { quarantined } from "./lineage.ts";
import type { Membership } from "./membership.ts";

/** A cached owner. */
export class Location extends PlacedOwnership {
  /** When it was read, on the monotonic clock, at most 1 ms too early. */
  readonly at: number;

  constructor(key: string, epoch: number, place: ReturnType<Places["of"]>, at: number) {
    super(key, epoch, place);
    // A whole number needs no memory of its own.
    this.at = Math.floor(at);
  }
}

/** This node's own ownership of a key, and the time since when it has it. */
export interface OwnLocation {
  readonly owner: Ownership;
  readonly openedAt: number;
}

export class Directory {
  readonly #store: Store;
  readonly #membership: Membership;
  readonly #clock: Clock;
  /** Lookups that were answered `contested` and `quarantine`, or failed for that reason. */
  readonly stats: { contested: number; quarantined: number } = { contested: 0, quarantined: 0 };
  /** Oldest first, so that the first entry is the one to drop. */
  readonly #locations = new Map<string, Location>();
  readonly #places = new Places();

  constructor(store: Store, membership: Membership, clock: Clock) {
    this.#store = store;
    this.#membership = membership;
    this.#clock = clock;
  }

  get size(): number {
    return this.#locations.size;
  }

  /** The cached owner of a key, unless it is known to be dead. */
  cached(key: string): Location | null {
    const location = this.#locations.get(key);
    if (!location) return null;
    if (!this.#membership.isKnownDead(location.incarnation)) return location;
    this.#locations.delete(key);
    return null;
  }

  /** Caches an owner, unless a later one is known. */
  note(key: string, owner: Ownership): void {
    const known = this.#locations.get(key);
    if (known && known.epoch > owner.epoch) return;
    this.#locations.delete(key);
    if (this.#locations.size >= MAX_CACHED_LOCATIONS) {
      const [oldest] = this.#locations.keys();
      this.#locations.delete(oldest as string);
    }
    const place = this.#places.of(key, owner);
    this.#locations.set(key, new Location(key, owner.epoch, place, this.#clock.now()));
  }

  /** Drops a key's cached owner, unless its epoch is later than `epoch`. */
  forget(key: string, epoch: number = Infinity): void {
    const known = this.#locations.get(key);
    if (known && known.epoch <= epoch) this.#locations.delete(key);
  }

  /** The key's owner in the store; null if no live node owns it. */
  async locate(key: string): Promise<Ownership | null> {
    const owner = await this.#store.lookup(key);
    if (owner === null || await this.#membership.isDead(owner.incarnation)) return null;
    this.note(key, owner);
    return owner;
  }

  /**
   * Where a key lives and how certain that is.
   *
   * @param mine this node's own ownership of the key; null if it has none.
   * @throws AtlasError `unavailable` or `contested` only if `confirmed` is required.
   */
  async lookup(
    key: string,
    mine: OwnLocation | null,
    confirmed: boolean,
  ): Promise<Lookup> {
    const cached = confirmed ? null : this.lookupCached(key, mine, null);
    if (cached) return cached;
    const owner = mine?.owner ?? this.cached(key);
    const at = mine?.openedAt ?? this.#locations.get(key)?.at;
    try {
      const lookup = await this.#confirm(key, mine?.owner);
      if (confirmed && lookup.verdict === "suspect") throw suspected(key);
      if (confirmed && lookup.verdict === "contested") {
        throw new AtlasError("contested", `more than one node claims ${key}`);
      }
      if (confirmed && lookup.verdict === "quarantine") throw quarantined(key);
      return lookup;
    } catch (error) {
      if (confirmed || !isAtlasError(error) || error.code !== "unavailable") throw error;
      return this.#answer(key, owner, "suspect", at ?? this.#clock.now());
    }
  }

  /**
   * The answer from memory; null if that is not allowed now.
   *
   * @param checkedAt the present time, if the caller has just read it.
   */
  lookupCached(key: string, mine: OwnLocation | null, checkedAt: number | null): Lookup | null {
    // If a key can have two valid claims, the cache knows only one of them.
    const isOne = this.#store.recheckMs === undefined;
    if (!isOne || !this.#isTrusted(mine?.owner)) return null;
    const location = mine === null ? this.cached(key) : null;
    const owner = mine?.owner ?? location;
    if (!owner) return null;
    const now = checkedAt ?? this.#clock.now();
    if (!this.#membership.isReachable(now)) return null;
    if (this.#membership.isStalled(owner.incarnation, null, now)) return null;
    const at = mine?.openedAt ?? location?.at ?? now;
    return this.#answer(key, owner, "cached", at, now);
  }

  /**
   * Reads the owner, then whether it is alive. The order matters: dead is permanent, so an owner
   * that is alive at the second read was alive and the owner at the first. The second read also
   * reports the lineage: nothing that was read in an unsettled lineage is certain. For a key of
   * another region, both are read only from that region's registry.
   */
  async #confirm(key: string, mine: Ownership | undefined): Promise<Lookup> {
    const lineage = this.#membership.lineages.present;
    const owner = await this.#store.lookup(key);
    const at = this.#clock.now();
    const abroad = this.#membership.observeAbroad(key, owner);
    const member = await (abroad ?? this.#membership.observe(owner?.incarnation ?? ""));
    const isSame = lineage !== null && this.#membership.lineages.stands(lineage);
    if (!abroad && !(isSame && this.#isTrusted(mine, owner))) {
      this.stats.quarantined++;
      return this.#answer(key, owner, "quarantine", at);
    }
    if (owner === null) {
      this.forget(key);
      return this.#answer(key, null, "unowned", at);
    }
    if (hasEnded(member?.state)) return this.#answer(key, null, "unowned", at);
    this.note(key, owner);
    const isContested = owner.contested?.some(({ incarnation }) =>
      !this.#membership.isKnownDead(incarnation)
    );
    if (isContested) {
      this.stats.contested++;
      return this.#answer(key, owner, "contested", at);
    }
    const stalled = member?.state !== "live" ||
      this.#membership.isStalled(owner.incarnation, abroad && member);
    return this.#answer(key, owner, stalled ? "suspect" : "confirmed", at);
  }

  /**
   * Whether an entry is certain in the present lineage: the lineage is settled, or the entry names
   * this node.
   */
  #isTrusted(mine: Ownership | undefined, entry: Ownership | null | undefined = mine): boolean {
    const { lineages } = this.#membership;
    if (lineages.isSettled()) return true;
    return mine !== undefined && entry?.epoch === mine.epoch && this.#membership.hasAsserted();
  }

  #answer(
    key: string,
    owner: Ownership | null,
    verdict: Verdict,
    at: number,
    now: number = this.#clock.now(),
  ): Lookup {
    const ageMs = Math.max(0, now - at);
    return { key, rrp: owner?.rrp ?? null, epoch: owner?.epoch ?? 0, verdict, ageMs };
  }
}

/** The error for a step that waits for a member whose heartbeat has stopped. */
export function suspected(key: string): AtlasError {
  return new AtlasError("unavailable", `the owner of ${key} does not answer and is not dead yet`);
}
