/**
 * The other regions' members, as last read. Reads them in the background when they are due. Members
 * die in their own region's registry only; an outage there leaves the last known members in place.
 */
import { MAX_CACHED_LOCATIONS } from "../../../src/limits.ts";
import type { Member } from "../../../src/model/member.ts";
import type { Membership, Observation, Unreadable } from "../../../src/ports/store.ts";
import type { RegionalStores } from "./region_stores.ts";

/** The incarnation under which a store is only read; no node has it, so nothing is renewed. */
export const OBSERVER = "observer";
/** The age at which a renewal reads a region's members again, in ms. */
export const MEMBERS_MAX_AGE_MS = 2_000;
/** The age at which they are read again if a caller waits for them, in ms. */
const WAITED_MAX_AGE_MS = 500;

interface CachedMembers {
  readAt: number;
  /** The read in progress. */
  reading: Promise<void> | null;
  known: Membership | null;
}

export class MemberCache {
  /** Rises whenever another region's members have changed. */
  changes = 0;
  readonly #stores: RegionalStores;
  readonly #now: () => number;
  readonly #onRead: (region: string, membership: Membership) => void;
  readonly #cached = new Map<string, CachedMembers>();
  /** The region of each known incarnation; oldest first. */
  readonly #regions = new Map<string, string>();

  /** @param onRead gets each region's members once they were read. */
  constructor(
    stores: RegionalStores,
    self: string,
    now: () => number,
    onRead: (region: string, membership: Membership) => void,
  ) {
    this.#onRead = onRead;
    this.#stores = stores;
    this.#now = now;
    for (const region of stores.regions) {
      if (region !== self) {
        this.#cached.set(region, { readAt: -Infinity, reading: null, known: null });
      }
    }
  }

  /** Reads what is due. @param isAsked whether a caller waits for it. Returns at once. */
  read(isAsked: boolean): void {
    for (const [region, cached] of this.#cached) this.#readIfDue(region, cached, isAsked);
  }

  /** A region's members, after a read if one is due. Never rejects. */
  async fresh(region: string): Promise<readonly Member[]> {
    const cached = this.#cached.get(region);
    if (!cached) return [];
    this.#readIfDue(region, cached, true);
    await cached.reading;
    return cached.known?.members ?? [];
  }

  members(): Member[] {
    return [...this.#cached.values()].flatMap(({ known }) => [...known?.members ?? []]);
  }

  /** Rows of other regions' members that can't be read. */
  unreadable(): Unreadable[] {
    return [...this.#cached].flatMap(([region, { known }]) =>
      (known?.unreadable ?? []).map((row) => ({ ...row, region }))
    );
  }

  /** The other region in whose registry an incarnation is, if it is known. */
  regionOf(incarnation: string): string | undefined {
    return this.#regions.get(incarnation);
  }

  /** Remembers that an incarnation is a member of another region. */
  noteRegion(region: string, incarnation: string): void {
    if (!this.#cached.has(region) || this.#regions.get(incarnation) === region) return;
    if (this.#regions.size >= MAX_CACHED_LOCATIONS) {
      this.#regions.delete(this.#regions.keys().next().value as string);
    }
    this.#regions.set(incarnation, region);
  }

  /** A heartbeat as a region's registry has it now. @throws AtlasError that names the region */
  async observe(region: string, incarnation: string): Promise<Observation | null> {
    const { watched: [seen = null] } = await this.#stores.at(
      region,
      (store) => store.renew(OBSERVER, 0, [incarnation]),
    );
    return seen;
  }

  /** Heartbeats from the cache. */
  recall(incarnations: readonly string[]): Observation[] {
    return [...this.members(), ...this.unreadable()]
      .filter(({ incarnation }) => incarnations.includes(incarnation))
      .map(({ incarnation, seq, state }) => ({ incarnation, seq, state }));
  }

  #readIfDue(region: string, cached: CachedMembers, isAsked: boolean): void {
    const due = this.#now() - (isAsked ? WAITED_MAX_AGE_MS : MEMBERS_MAX_AGE_MS);
    if (cached.reading === null && cached.readAt <= due) {
      cached.reading = this.#read(region, cached);
    }
  }

  async #read(region: string, cached: CachedMembers): Promise<void> {
    try {
      const membership = await this.#stores.at(region, (store) => store.members());
      // If two regions share a registry, it also has the other region's members.
      const members = membership.members.filter((member) => member.region === region);
      const isNews = cached.known
        ? membership.version !== cached.known.version
        : members.length > 0;
      if (isNews) this.changes++;
      cached.known = { ...membership, members };
      for (const { incarnation } of [...members, ...membership.unreadable ?? []]) {
        this.noteRegion(region, incarnation);
      }
      this.#onRead(region, membership);
    } catch {
      // The former members stay. The next read is due as usual.
    } finally {
      cached.readAt = this.#now();
      cached.reading = null;
    }
  }
}
