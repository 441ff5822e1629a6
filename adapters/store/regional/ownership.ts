/**
 * Ownership of keys across regions. A key's home is the region to which its latest departure
 * points.
 *
 * Takes claims, departures and lookups; gives ownerships as nodes know them. Each region that a
 * key has left has a departure in its store. Their epochs rise in the order of the moves, so a
 * departure older than the one that led to it belongs to an earlier stay, and the key is at home
 * there again.
 *
 * A moved key is claimed in four steps, each a compare-and-set on the one before: the claimer signs
 * the departure at the former home, writes an arrival that nobody else acts upon, copies the state,
 * and takes the key under one more epoch. After a crash in between, the next claimer continues from
 * the step that was reached.
 *
 * Source: `docs/design.md`, Regions and moves; Claims. For departures as forwarding addresses:
 * Fowler, "The complexity of using forwarding addresses for decentralized object finding" (1986).
 */
import type { Ownership } from "../../../src/model/ownership.ts";
import type { Claim, ClaimReply, Store } from "../../../src/ports/store.ts";
import { publicError, refused } from "../check.ts";
import { NO_STAMP } from "../lineage.ts";
import {
  arrival,
  ARRIVING,
  DEPARTED,
  departure,
  type Entry,
  entryOf,
  type Pointer,
  shortcut,
  type Stored,
} from "./entries.ts";
import type { ForwardingRepair } from "./forwarding_repair.ts";
import type { Homes } from "./homes.ts";
import type { RegionalStores } from "./region_stores.ts";
import type { RegistryIdentity } from "./registry_identity.ts";
import { arrivalOf, hasArrived, importState } from "./state_import.ts";

/** The most compare-and-sets that one claim may lose to concurrent changes. */
const MAX_ROUNDS = 8;

/** A key's home and the entry there. `pointer`: the move that led there, if any. */
export interface Found {
  readonly home: string;
  readonly entry: Exclude<Entry, { kind: "departed" }>;
  /**
   * A departure of an earlier stay that is still stored at the home, because no owner has arrived
   * yet.
   */
  readonly old: Stored | null;
  readonly pointer: Pointer | null;
}

export class RegionalOwnership {
  readonly #stores: RegionalStores;
  readonly #homes: Homes;
  readonly #self: string;
  readonly #repair: ForwardingRepair;
  readonly #identity: RegistryIdentity;
  #attempts = 0;

  constructor(
    stores: RegionalStores,
    homes: Homes,
    self: string,
    repair: ForwardingRepair,
    identity: RegistryIdentity,
  ) {
    this.#identity = identity;
    this.#stores = stores;
    this.#homes = homes;
    this.#self = self;
    this.#repair = repair;
  }

  /**
   * A key's owner, read in its home region.
   *
   * This region's store is asked together with the supposed home. If it says that the key's home is
   * here, no other region has to answer.
   *
   * @throws AtlasError that names an unreachable region
   */
  async locate(key: string): Promise<Found> {
    const known = this.#homes.moved(key);
    // A move that is not known to be complete may have been taken back since.
    const pointer = known?.isSettled ? known : null;
    const home = pointer?.to ?? this.#homes.first(key);
    if (home === this.#self) return await this.#follow(key, home, pointer);
    const abroad = this.#follow(key, home, pointer);
    const here = this.#here(key).catch(() => null);
    const first = await Promise.race([here, abroad.then(() => null, () => here)]);
    if (!first) return await abroad;
    if ("home" in first) return first;
    // The key left for that region, and may have moved on. Regions that know only earlier moves are
    // skipped.
    const found = await abroad.catch(() => null);
    if (found && (found.pointer?.at ?? 0) >= first.at) return found;
    return await this.#follow(key, first.to, first);
  }

  /**
   * What this region's store knows by itself: that the key is here, or the region that it moved to;
   * null: nothing.
   */
  async #here(key: string): Promise<Found | Pointer | null> {
    const [stored, arrived] = await this.#own((store) =>
      Promise.all([store.lookup(key), arrivalOf(store, key)])
    );
    const entry = entryOf(stored);
    if (entry.kind === "departed") return entry.pointer;
    // A departure is written before anything else, so a key that arrived and has none is here.
    const pointer = entry.kind === "arriving" ? entry.pointer : arrived && {
      to: this.#self,
      ...arrived,
    };
    if (!pointer) return null;
    this.#homes.learn(key, pointer, arrived !== null && arrived.at >= pointer.at);
    return { home: this.#self, entry, old: null, pointer };
  }

  /** Follows departures, beginning with the region to which `pointer` leads. */
  async #follow(key: string, home: string, known: Pointer | null): Promise<Found> {
    let region = home;
    let pointer = known;
    let first: Stored | null = null;
    for (let hops = 0; hops <= this.#stores.regions.length; hops++) {
      const entry = entryOf(await this.#stores.at(region, (store) => store.lookup(key)));
      const misplacedMove = misplaced(entry, region);
      if (misplacedMove) throw this.#identity.sharedRegistry(region, misplacedMove);
      if (entry.kind !== "departed" || (pointer && entry.pointer.at <= pointer.at)) {
        const found = foundIn(region, entry, pointer);
        this.#learn(key, found);
        if (first && hops > 1 && found.entry.kind === "owner") this.#shorten(key, first, found);
        return found;
      }
      if (region === this.#homes.first(key)) first = entry.stored;
      ({ pointer, pointer: { to: region } } = entry);
    }
    throw publicError(`${key} moves faster than it can be followed`);
  }

  /** As {@link Store.claim}, in this region's store. */
  async claim(claim: Claim, round = 0): Promise<ClaimReply> {
    const { key } = claim;
    const home = this.#homes.of(key);
    if (home !== this.#self) throw elsewhere(key, home);
    if (round >= MAX_ROUNDS) throw publicError(`${key} changes all the time`);
    const moved = this.#homes.moved(key);
    if (moved && !moved.isSettled) return await this.#arrive(claim, moved, round);
    return await this.#take(claim, round);
  }

  /** A plain claim. If the key once moved here, its departures elsewhere are kept in repair. */
  async #take(claim: Claim, round: number): Promise<ClaimReply> {
    const { key } = claim;
    // Sent at once, so that a store that batches steps sends both together.
    const claimed = this.#own((store) => store.claim(claim));
    const coming = this.#own((store) => arrivalOf(store, key));
    coming.catch(() => {});
    const reply = await claimed;
    const arrived = reply.won ? await coming : null;
    if (arrived && reply.owner) {
      this.#repair.hold(key, reply.owner, { to: this.#self, ...arrived });
    }
    return await this.#judge(claim, reply, round);
  }

  /** As {@link Store.depart}, from this region's store. */
  async depart(key: string, owner: Stored, region: string): Promise<boolean> {
    if (region === this.#self || !this.#stores.has(region)) {
      const others = this.#stores.regions.filter((it) => it !== this.#self).join(", ");
      throw refused("region", JSON.stringify(region), `another one of: ${others}`);
    }
    const rival = this.#repair.rivalOf(key);
    if (!rival) this.#identity.check(region);
    // An owner that yields to an owner in that region writes its departure before that owner
    // arrives.
    const at = rival && rival.epoch - 1;
    const claim = departure(key, owner, { to: region, from: this.#self, at });
    const { won, owner: stored } = await this.#own((store) => store.claim(claim));
    this.#repair.left(key, owner.epoch);
    if (!won || !stored) return false;
    this.#homes.learn(key, { to: region, from: this.#self, at: at ?? stored.epoch }, false);
    return true;
  }

  /** As {@link Store.recall}. */
  async recall(key: string, but: string | null): Promise<boolean> {
    const known = this.#homes.moved(key);
    const start = known?.isSettled === false ? known.from : this.#homes.of(key);
    const back = await takeBack(this.#stores, key, start, but);
    if (back) this.#homes.learn(key, back, true);
    return back !== null;
  }

  /** Interprets the answer to a plain claim. */
  async #judge(claim: Claim, reply: ClaimReply, round: number): Promise<ClaimReply> {
    if (reply.won || reply.quarantined) return reply;
    const entry = entryOf(reply.owner);
    if (entry.kind === "nobody" || entry.kind === "owner") return reply;
    if (entry.kind === "arriving") {
      const { owner, stored, pointer } = entry;
      if (!isMine(owner, claim)) return { won: false, owner };
      return await this.#bring(claim, stored, pointer, round);
    }
    const moved = this.#homes.moved(claim.key);
    const isOld = moved?.to === this.#self && entry.pointer.at <= moved.at;
    if (isOld && moved.isSettled && claim.expected === null) {
      // A restored departure of an earlier stay: the key has come back with its state.
      const over = { ...claim, expected: entry.stored, above: moved.at };
      const taken = await this.#own((store) => store.claim(over));
      return taken.won ? taken : await this.#judge(claim, taken, round + 1);
    }
    this.#homes.learn(claim.key, entry.pointer, false);
    const found = await this.locate(claim.key);
    if (found.home !== this.#self) return await elsewhereReply(claim.key, found);
    return await this.claim(claim, round + 1);
  }

  /** Claims a key that moved here and whose state may not be copied yet. */
  async #arrive(claim: Claim, pointer: Pointer, round: number): Promise<ClaimReply> {
    const { key, expected } = claim;
    const found = await this.locate(key);
    if (found.home !== this.#self) return await elsewhereReply(key, found);
    const { entry, old } = found;
    if (entry.kind === "arriving") {
      if (!isMine(entry.owner, claim)) return { won: false, owner: entry.owner };
      return await this.#bring(claim, entry.stored, entry.pointer, round);
    }
    // The key's owner claimed it together with its state.
    const isHere = entry.kind === "owner" ||
      old === null && await this.#own((store) => hasArrived(store, key, pointer.at));
    if (isHere) {
      this.#homes.learn(key, found.pointer ?? pointer, true);
      return await this.#take(claim, round);
    }
    if (expected !== null) return { won: false, owner: null };
    this.#identity.check(this.#self);
    const move = found.pointer ?? pointer;
    if (await this.#stores.at(move.from, (store) => sign(store, key, move))) {
      return await this.#bring(claim, old, move, round);
    }
    throw publicError(`${key} was recalled to ${move.from}, or has moved on`);
  }

  /** Writes an arrival over the present entry, copies the state, and takes the key. */
  async #bring(
    claim: Claim,
    expected: Claim["expected"],
    pointer: Pointer,
    round: number,
  ): Promise<ClaimReply> {
    const { key } = claim;
    if (expected?.incarnation.startsWith(ARRIVING)) await this.#checkSource(key, pointer.from);
    const arriving = arrival(claim, ++this.#attempts, expected, pointer);
    const arrived = await this.#own((store) => store.claim(arriving));
    const stored = arrived.owner;
    if (!arrived.won || !stored) {
      this.#homes.learn(key, pointer, false);
      return await this.#judge(claim, arrived, round + 1);
    }
    const { incarnation, epoch } = stored;
    const { at, from } = pointer;
    const { last = NO_STAMP } = arrived;
    await this.#stores.at(
      from,
      (source) =>
        this.#own((to) =>
          importState({ key, from: source, region: from, to, at, incarnation, epoch, last })
        ),
    );
    const own = { ...claim, expected: { incarnation, epoch } };
    const reply = await this.#own((store) => store.claim(own));
    if (!reply.won || !reply.owner) return await this.#judge(claim, reply, round + 1);
    this.#homes.learn(key, pointer, true);
    this.#repair.hold(key, reply.owner, pointer);
    return reply;
  }

  /** Refuses to continue a move whose source is this same registry under another name. */
  async #checkSource(key: string, from: string): Promise<void> {
    const entry = entryOf(await this.#stores.at(from, (store) => store.lookup(key)));
    const misplacedMove = misplaced(entry, from);
    if (misplacedMove) throw this.#identity.sharedRegistry(from, misplacedMove);
  }

  #learn(key: string, { entry, pointer }: Found): void {
    if (pointer) this.#homes.learn(key, pointer, entry.kind === "owner");
    else this.#homes.forget(key);
  }

  /** Makes the first home point directly to a key's home, for later lookups. */
  #shorten(key: string, first: Stored, { pointer }: Found): void {
    if (!pointer || pointer.to === this.#homes.first(key)) return;
    const claim = shortcut(key, first, pointer);
    // If this fails, lookups continue to follow all departures.
    this.#stores.at(this.#homes.first(key), (store) => store.claim(claim)).catch(() => {});
  }

  #own<T>(step: (store: Store) => Promise<T>): Promise<T> {
    return this.#stores.at(this.#self, step);
  }
}

/** The move in an entry that can't be in this region's own registry; null if the entry can be. */
function misplaced(entry: Entry, region: string): Pointer | null {
  const isSo = entry.kind === "departed" && entry.pointer.to === region ||
    entry.kind === "arriving" && entry.pointer.to !== region;
  return isSo ? entry.pointer : null;
}

/** Whether a claimer may continue an arrival: its own, or that of the owner that it expects. */
function isMine(owner: Ownership, { incarnation, expected }: Claim): boolean {
  if (owner.incarnation === incarnation) return true;
  return owner.incarnation === expected?.incarnation && owner.epoch === expected.epoch;
}

/**
 * What is found at a key's home. A departure that is stored there belongs to an earlier stay: the
 * key has come back since, and nobody owns it.
 */
function foundIn(home: string, entry: Entry, pointer: Pointer | null): Found {
  if (entry.kind !== "departed") return { home, entry, old: null, pointer };
  return { home, entry: { kind: "nobody" }, old: entry.stored, pointer };
}

/** The claim's answer if the key has moved: its owner there. */
function elsewhereReply(key: string, { home, entry }: Found): ClaimReply {
  if (entry.kind === "nobody") throw elsewhere(key, home);
  return { won: false, owner: entry.owner };
}

/** The error of a claim by a node that is not in the key's home region. */
function elsewhere(key: string, home: string): Error {
  return publicError(`${key} is at home in ${home}: a node there has to claim it`);
}

/**
 * Signs a key's departure in the store of the region it left. False: it was taken back, or moved
 * on.
 */
export async function sign(from: Store, key: string, pointer: Pointer): Promise<boolean> {
  const open = { incarnation: DEPARTED, epoch: pointer.at };
  const { won, owner } = await from.claim(shortcut(key, open, pointer));
  if (won) return true;
  const entry = entryOf(owner);
  return entry.kind === "departed" && entry.isSigned && entry.pointer.at === pointer.at;
}

/**
 * Takes an open departure back, in the region whose store has it, except a departure to `but`.
 * Gives the key's home and the epoch above which to claim; null if there was nothing to take back.
 *
 * @param start a region in which the key has been, from which its departures are followed.
 * @throws AtlasError that names an unreachable region
 */
export async function takeBack(
  stores: RegionalStores,
  key: string,
  start: string,
  but: string | null,
): Promise<Pointer | null> {
  const regions = new Set([start]);
  // Follows further departures, and ends if one leads back to an earlier stay.
  for (const region of regions) {
    const entry = entryOf(await stores.at(region, (store) => store.lookup(key)));
    if (entry.kind !== "departed") return null;
    const { stored: { incarnation, epoch }, pointer } = entry;
    if (entry.isSigned) {
      regions.add(pointer.to);
      continue;
    }
    if (pointer.to === but) return null;
    const isDone = await stores.at(region, (store) => store.release(key, incarnation, epoch));
    return isDone ? { to: region, from: pointer.to, at: epoch } : null;
  }
  return null;
}
