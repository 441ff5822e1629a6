/**
 * Restores departures that another region's store lost when a copy of it took over.
 *
 * Takes the keys that moved here and are owned by this node, and the lineage of each other region's
 * store. If that lineage changes, writes at that region that the key is here; if another owner
 * claimed the key while the departure was missing, reports that rival.
 *
 * New claims wait for the takeover time in a store that failed over. Meanwhile owners elsewhere
 * restore the departure, by compare-and-set and in the new lineage only. A node that takes a moved
 * key also checks the departure at the key's first home.
 *
 * If the entry there is a rival's, the higher epoch wins. Usually that is the rival's, because it
 * claimed after the failover had raised the term; then this node's owner stops. Otherwise the
 * departure replaces the rival's entry and that region's term is raised once more: its nodes
 * reassert what they own, and learn what they lost.
 *
 * Source: `docs/design.md`, Store failover; Regions and moves.
 */
import { hasEnded } from "../../../src/model/member.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import type { LineageName, Overtaken, Store } from "../../../src/ports/store.ts";
import { BrokenEntry, publicError } from "../check.ts";
import { type Entry, entryOf, type Pointer, shortcut, type Stored } from "./entries.ts";
import type { Homes } from "./homes.ts";
import { OBSERVER } from "./member_cache.ts";
import type { RegionalStores } from "./region_stores.ts";
import { arrivalOf } from "./state_import.ts";

/** A lineage id that no copy has: a store that gets it from a caller raises its term. */
const OVERRULED = "overruled";
/** The most departures that are being repaired in one region at once. */
const AT_ONCE = 256;
/** The most compare-and-sets that one repair may lose to concurrent changes before it waits. */
const MAX_ROUNDS = 4;

/** Former keys of this node whose departures it still repairs; the oldest are evicted. */
const MAX_FORMER = 10_000;

/** A key that moved here, and is or was owned here. */
interface MovedKey {
  readonly key: string;
  /** Null if it is no longer owned here. */
  readonly owner: Ownership | null;
  readonly pointer: Pointer;
  /** An owner of a higher epoch, found if the departure was missing. */
  rival: Ownership | null;
}

/** The repair of departures in another region's store. */
interface RegionRepair {
  /** The lineage id of the last read of its members. */
  copy: string | null;
  /** Whether that id has changed: departures written around the change may be missing. */
  hasChanged: boolean;
  /** Its lineage by its last answer; null: unknown. */
  known: LineageName | null;
  /** Keys whose departure is to be checked there. */
  readonly due: Set<string>;
  /** Incarnations that may not know yet that a departure replaced an ownership of theirs. */
  readonly overwritten: Set<string>;
  isBusy: boolean;
}

export class ForwardingRepair {
  readonly #stores: RegionalStores;
  readonly #homes: Homes;
  readonly #owned = new Map<string, MovedKey>();
  /** Keys without an owner here. Departures still lead to this region, and from it to others. */
  readonly #former = new Map<string, MovedKey>();
  readonly #regions = new Map<string, RegionRepair>();

  constructor(stores: RegionalStores, homes: Homes, self: string) {
    this.#stores = stores;
    this.#homes = homes;
    for (const region of stores.regions) {
      if (region === self) continue;
      const [due, overwritten] = [new Set<string>(), new Set<string>()];
      this.#regions.set(region, {
        copy: null,
        hasChanged: false,
        known: null,
        due,
        overwritten,
        isBusy: false,
      });
    }
  }

  /** Whether any key here needs departures elsewhere. */
  get isNeeded(): boolean {
    return this.#owned.size + this.#former.size > 0;
  }

  /** This node owns a key that moved here, as `pointer` says. Returns at once. */
  hold(key: string, owner: Ownership, pointer: Pointer): void {
    this.#owned.set(key, { key, owner, pointer, rival: null });
    this.#former.delete(key);
    const first = this.#homes.first(key);
    for (const [region, repair] of this.#regions) {
      if (region !== first && !repair.hasChanged) continue;
      repair.due.add(key);
      this.#work(region, repair);
    }
  }

  /** An ownership has ended, or may have been given up. */
  left(key: string, epoch: number): void {
    const moved = this.#owned.get(key);
    if (moved?.owner?.epoch !== epoch) return;
    this.#remember(moved);
  }

  #remember({ key, pointer }: MovedKey): void {
    this.#owned.delete(key);
    this.#former.delete(key);
    this.#former.set(key, { key, owner: null, pointer, rival: null });
    if (this.#former.size <= MAX_FORMER) return;
    this.#former.delete(this.#former.keys().next().value as string);
  }

  /** A new incarnation begins, which owns nothing. */
  clear(): void {
    for (const moved of [...this.#owned.values()]) this.#remember(moved);
  }

  /** A region's members were read, from the copy with this id. Returns at once. */
  membersRead(region: string, copy: string): void {
    const repair = this.#regions.get(region);
    if (!repair) return;
    if (repair.copy !== copy) {
      repair.hasChanged ||= repair.copy !== null;
      repair.copy = copy;
      for (const key of [...this.#owned.keys(), ...this.#former.keys()]) repair.due.add(key);
    }
    this.#work(region, repair);
  }

  /** Ownerships of this incarnation that a rival of a higher epoch has won. */
  overtaken(incarnation: string): Overtaken[] {
    const overtaken: Overtaken[] = [];
    for (const { key, owner, rival } of this.#owned.values()) {
      if (rival && owner?.incarnation === incarnation) {
        overtaken.push({ key, epoch: owner.epoch, winner: rival });
      }
    }
    return overtaken;
  }

  /** The rival of a higher epoch for a key; null: none is known. */
  rivalOf(key: string): Ownership | null {
    return this.#owned.get(key)?.rival ?? null;
  }

  /** Whether this is the ownership for which departures are kept here. */
  holds(key: string, owner: Ownership | null): boolean {
    const held = this.#owned.get(key)?.owner;
    return held?.epoch === owner?.epoch && held?.incarnation === owner?.incarnation;
  }

  /** Does the repairs that are due in a region. Never rejects. */
  async #work(region: string, repair: RegionRepair): Promise<void> {
    if (repair.isBusy || repair.due.size + repair.overwritten.size === 0) return;
    repair.isBusy = true;
    try {
      await this.#stores.at(region, async (store) => {
        const known = repair.known && { ...repair.known, waited: false };
        const { lineage } = await store.renew(OBSERVER, 0, [], known);
        repair.known = { id: lineage.id, term: lineage.term };
        const keys = [...repair.due];
        for (let at = 0; at < keys.length; at += AT_ONCE) {
          const share = keys.slice(at, at + AT_ONCE);
          await Promise.all(share.map((key) =>
            this.#repair(store, key, repair).catch((error) => {
              // The entry can't be read, so nothing can be written; lookups get the same error.
              if (error instanceof BrokenEntry) repair.due.delete(key);
              else throw error;
            })
          ));
        }
        if (repair.overwritten.size > 0) await raiseTerm(store, repair);
      });
    } catch {
      // The remaining repairs are due when the region's members can be read again.
    } finally {
      repair.isBusy = false;
    }
  }

  #movedKey(key: string): MovedKey | undefined {
    return this.#owned.get(key) ?? this.#former.get(key);
  }

  /** Makes lookups of a key in a region lead here, or records the rival that owns the key there. */
  async #repair(
    store: Store,
    key: string,
    { due, known, overwritten }: RegionRepair,
  ): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const moved = this.#movedKey(key);
      if (!moved) break;
      const { owner, pointer } = moved;
      const entry = entryOf(await store.lookup(key));
      if (this.#movedKey(key) !== moved) continue;
      if (entry.kind === "owner" && entry.owner.epoch > (owner?.epoch ?? pointer.at)) {
        if (owner) moved.rival = entry.owner;
        break;
      }
      // The same registry under another name: the entry is this node's own ownership.
      if (entry.kind === "owner" && this.holds(key, entry.owner)) break;
      const standing = missingDeparture(entry, moved);
      if (standing === false) break;
      // The key is unowned, but has come back to that region since: nothing is missing.
      if (standing === null && ((await arrivalOf(store, key))?.at ?? 0) >= pointer.at) break;
      const claim = shortcut(key, standing, pointer);
      const { won, quarantined } = await store.claim({ ...claim, lineage: known as LineageName });
      if (quarantined) throw publicError(`another copy of its data answers by now`);
      if (won) {
        if (entry.kind === "owner") overwritten.add(entry.owner.incarnation);
        break;
      }
      if (round === MAX_ROUNDS - 1) return;
    }
    due.delete(key);
  }
}

/**
 * The entry that a missing departure has to replace; null: no entry; false: no departure is
 * missing.
 */
function missingDeparture(entry: Entry, { pointer: { at } }: MovedKey): Stored | null | false {
  if (entry.kind === "nobody") return null;
  if (entry.kind === "owner") {
    // Usually the entry is an ownership from before the key left.
    const { incarnation, epoch } = entry.owner;
    return { incarnation, epoch };
  }
  // A departure of this same move may lack its signature: then the key could be taken back.
  const isOpen = entry.kind === "departed" && !entry.isSigned && entry.pointer.at === at;
  return isOpen || entry.pointer.at < at ? entry.stored : false;
}

/** Raises the term of the region of an overwritten owner, so that the owner's node reasserts. */
async function raiseTerm(store: Store, { overwritten }: RegionRepair): Promise<void> {
  const { watched, lineage: { term } } = await store.renew(OBSERVER, 0, [...overwritten]);
  if (watched.some(({ state }) => !hasEnded(state))) {
    await store.renew(OBSERVER, 0, [], { id: OVERRULED, term, waited: false });
  }
  overwritten.clear();
}
