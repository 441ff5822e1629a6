/**
 * The port for the registry's store.
 *
 * It keeps three things: who is a member, who owns which key, and each resource's state. Keys are
 * ASCII without white space. Fields and values are any well-formed Unicode, NUL included; the core
 * encodes.
 *
 * A step is one call of a method that returns a promise. Each step MUST be atomic and take effect
 * between its call and its answer, reads included (linearizable): on each key, and on membership as
 * a whole. So every answer MUST come from the copy that takes the writes, never from a replica.
 * Exceptions: {@link Store.reassert} and {@link Store.kept} are one step for each key that they
 * name, and {@link Store.list} is none. A store with {@link Store.homeOf} meets this in each
 * region's registry, a store with {@link Store.recheckMs} at each master.
 *
 * Every step is safe to repeat, also late. As long as nothing else has changed since, a repeat is
 * answered like the first call, except that {@link Store.release} answers false.
 *
 * A store may be replaced by a copy of itself that lacks the latest writes (a Redis replica that
 * was promoted, a file that was restored from a backup). Each such copy is a lineage of its own,
 * see {@link Lineage}: a store MUST name the one that answers, and MUST compare a claim's lineage
 * with it in the same atomic step. A lineage that isn't settled refuses nothing: nodes wait by
 * themselves. If a store is told to wait for replicas, it answers a step that writes once enough of
 * them have it, else it rejects with `unavailable`; the step may count nevertheless.
 *
 * A rejected promise MUST be an AtlasError:
 *
 * - `bad_request` if an argument isn't allowed (`adapters/store/check.ts`). Nothing was applied.
 * - `unavailable` if the store can't be reached, answers too late or was closed. The step may have
 *   been applied, or may still be applied.
 * - `StepRefused` (`src/model/refusal.ts`), which is `unavailable` too, SHOULD be given if it is
 *   certain that the step was not applied and won't be, because the backend refused it or never got
 *   it. Only then may an owner give a commit up before its lease ends.
 *
 * A method MUST NOT answer as if something didn't exist because it couldn't be read.
 *
 * Others may write to the backend. What they wrote and can't be read MUST affect nothing else: a
 * step on exactly that key rejects with `unavailable`, not retryable, naming the key and the
 * reason; a listing and the list of members leave the entry out and name it. Membership's counters
 * are repaired by the next step that needs them; an epoch counter is never repaired, because epochs
 * must not fall.
 *
 * `test/conformance/store.ts` checks this on every store, as far as a test can cause it there.
 *
 * Source: `docs/design.md`, Names and epochs; Membership and leases; Claims; State; Store failover.
 */
import type { AtlasError } from "../errors.ts";
import type { OwnerKnows } from "../model/lost_turns.ts";
import type { Member, MemberInfo, MemberState } from "../model/member.ts";
import type { Ownership } from "../model/ownership.ts";

/** The registry's store. See the file's head for what every method MUST hold. */
export interface Store {
  /**
   * `down` if the adapter knows that its backend can't be reached now, or was closed; else `up`.
   * Answers at once.
   */
  status(): "up" | "down";

  /**
   * The key's home: the region whose nodes alone may own it now. Null, or a store without this
   * method: nodes of any region may. Answers at once, by what this handle knows; a
   * {@link Store.lookup} may update that.
   */
  homeOf?(key: string): string | null;

  /** Stores with home regions only: the regions that can be a home. */
  readonly regions?: readonly string[];

  /**
   * How often an owner MUST check whether a greater claim than its own exists, in ms. Only for
   * stores of several masters, which have no single write order: two claims of one key may both
   * have been won, and the greater one, by epoch and then by incarnation, is the owner. Absent: a
   * key has one owner at most.
   */
  readonly recheckMs?: number;

  // Membership.

  /**
   * Adds a member. In this order:
   *
   * - If its incarnation is known, answers `registered` if it is `live`, else `fenced`. Changes
   *   nothing, except that a live member's row that others overwrote is written again.
   * - With `ifFree`, answers `name_taken` if another `live` incarnation has the same region and
   *   node, and changes nothing.
   * - Else adds it as `live` with seq 0, makes every other `live` incarnation of its region and
   *   node `superseded`, and answers `registered`. Of the `dead` and `left` members it keeps those
   *   that ended last, `MAX_DEAD_MEMBERS` of them, and drops the others.
   *
   * A dropped member isn't known any more. If a request may come late, a store SHOULD detect that
   * members were dropped since it was sent, so that none comes back to life. For `known` see
   * {@link Lineage}.
   */
  register(
    member: MemberInfo,
    options: { ifFree: boolean; known?: KnownLineage | null },
  ): Promise<RegisterReply>;

  /**
   * Raises the member's seq to `seq` (never lowers it) if it is `live`, else answers `fenced`, also
   * if it is unknown. Either way answers the membership version, and the seq and state of each
   * incarnation in `watch` that is known, in any order. For `known` see {@link Lineage}.
   */
  renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known?: KnownLineage | null,
  ): Promise<RenewReply>;

  /**
   * Makes a `live` or `superseded` member `dead` if its seq is still `seq`; leaves any other member
   * unchanged. Answers the member's state afterwards; null if it is unknown.
   */
  kill(incarnation: string, seq: number): Promise<MemberState | null>;

  /**
   * Makes a `live` or `superseded` member `left`, whatever its seq; a dead one stays `dead`. The
   * caller has stopped acting before. An unknown member is added as `left`: its registration may
   * still be on its way, and MUST be `fenced` when it comes.
   */
  leave(member: MemberInfo): Promise<void>;

  /** All members in any order, the ended ones that are still kept included, and the version. */
  members(): Promise<Membership>;

  /**
   * Another region's members. Stores with home regions only ({@link Store.homeOf}). Reads them
   * again if the last read is too old; if that region can't be reached, answers what was read last.
   * Doesn't use this region's own registry, and never rejects.
   */
  membersIn?(region: string): Promise<readonly Member[]>;

  /**
   * The present heartbeat of a member of another region, read from that region's registry. The same
   * stores. Returns null, not a promise, if this handle doesn't know which other region the member
   * is of: it learns that from lookups and lists of members. The promise resolves to null if that
   * region's registry doesn't know the member. Doesn't use this region's own registry.
   */
  observeAbroad?(incarnation: string): Promise<Observation | null> | null;

  // Ownership.

  /** The key's owner; null if nobody owns it. */
  lookup(key: string): Promise<Ownership | null>;

  /**
   * Compare-and-set of the key's owner. In this order:
   *
   * - If `lineage` has another id than the copy that answers, changes nothing and answers
   *   `quarantined`. Its term is not compared.
   * - If the key's owner has this `opId` and incarnation, this is a repeat: answers what the first
   *   one did. A store MAY forget the `opId`s of all but its latest 1,024 claims: then the claimer
   *   gets its own entry, which its next claim expects.
   * - If the owner is not exactly `expected` (incarnation and epoch; null: nobody), changes nothing
   *   and answers the owner that there is.
   * - Else the claimer becomes the owner, and its ownership is answered. Its epoch MUST be higher
   *   than any that this key ever had, released ones included; than `above`; and than
   *   `term × EPOCHS_PER_TERM` of `lineage`. A lost epoch counter MUST NOT repeat the epoch of the
   *   owner or of the state's last turn.
   */
  claim(claim: Claim): Promise<ClaimReply>;

  /**
   * Compares ownerships with what their owners hold, after the lineage changed, and writes back
   * those that the store lacks. Answers one {@link Standing} for each, in their order. An ownership
   * is written back under its own epoch, to which the epoch counter rises if it is lower; a repeat
   * of its first claim isn't recognised any more. An entry that can't be read is `lost`, and fails
   * no other.
   *
   * Null if another id than that of `lineage` answered for any of them: that copy has changed
   * nothing.
   */
  reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null>;

  /**
   * Which of these turns are still in their keys' states. Only for stores that may be replaced by a
   * copy of themselves. Answers, for each turn in their order, the last turn that the state had
   * before any epoch of a higher term than this turn's wrote to it; if none did, the last turn that
   * it has now. So a turn above the answer is lost. Both 0: there is no state.
   *
   * A state remembers this for its last 8 changes of term. If it can't be read, the turn that was
   * asked about is answered: readers of that state get the error. Null if another id than that of
   * `lineage` answered for any of them. MUST change nothing.
   */
  kept?(
    turns: readonly CommittedTurn[],
    lineage: LineageName,
  ): Promise<readonly Stamp[] | null>;

  /**
   * Ends an ownership if the key's owner is still this incarnation and epoch, and answers whether
   * it was. The state stays. One without fields MUST be removed, except that a store with
   * {@link Store.kept} keeps its last turn for a while, and a store with {@link Store.recheckMs}
   * what other masters need to learn of the deletion.
   *
   * @param after the last turn that the owner knows to be in the state; absent: not known. Only for
   * stores that keep a state in parts which can be lost one by one. If the state is gone, but not
   * its other parts, these MUST stay unless `after` is both 0: from them the next claim detects
   * that the state is lost.
   */
  release(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean>;

  /**
   * Moves a key to another region. Stores with home regions only ({@link Store.homeOf}). Ends an
   * ownership if it is still this one, and makes `region` the key's home: from then on only a node
   * there may claim it, and gets its state. Answers whether the key is on its way there; a repeat
   * answers the same until the key has come back.
   */
  depart?(key: string, incarnation: string, epoch: number, region: string): Promise<boolean>;

  /**
   * Takes back a key that departed and that nobody at its new home has begun to claim. The same
   * stores. Its home is again the region that it left; nobody owns it there, and a claim at the
   * other region fails. Answers whether it was taken back.
   *
   * @param but a region: a key on its way there is not taken back.
   */
  recall?(key: string, but: string | null): Promise<boolean>;

  /**
   * Why no key may move to a region, by what this handle knows; null: it knows no reason. The same
   * stores. Answers at once.
   */
  obstacleTo?(region: string): string | null;

  /**
   * Ownerships whose RRP starts with `prefix`, a page at a time, in no order. Start with a null
   * cursor, and give each page's `next` to the following call; a null `next` ends the listing. An
   * ownership that exists from the first page to the last is listed at least once. A page may hold
   * fewer than `limit`, even none, though more follow.
   */
  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage>;

  // State: an ordered map of text to text for each key. Anybody may read it, also of a key that
  // nobody owns. If a store keeps it in parts, and one of them is lost, `read` and `range` MUST
  // still agree.

  /**
   * The values of `fields`, in their order, repeats included; null for each that isn't there. If
   * the state lacks the turn that its owner `knows`, rejects with `LostTurns`
   * (`src/model/lost_turns.ts`).
   */
  read(key: string, fields: readonly string[], knows?: OwnerKnows): Promise<(string | null)[]>;

  /**
   * Fields and values with `start ≤ field < end`, at most `limit`, from the least field up; with
   * `reverse` from the greatest down. Fields are compared by their characters' codes (in SQL, the
   * collation "C"); beyond ASCII stores may differ. If the state lacks the turn that its owner
   * `knows`, rejects with `LostTurns`.
   */
  range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]>;

  /**
   * Applies all of a turn's writes, or none. In this order:
   *
   * - If the key's owner is not this incarnation and epoch, changes nothing and answers `fenced`.
   * - If `turn` is not above the last one that this epoch applied, it is a repeat: changes nothing
   *   and answers `committed`.
   * - If the state lacks the turn `after`, changes nothing and answers what it has, as `lost`.
   * - Else deletes, then puts, records `turn` as the state's last, also if there is nothing to
   *   write, and answers `committed`.
   *
   * If `lineage` is not the id of the copy that answers, `moved` takes the place of `fenced` and
   * `lost`: the owner reasserts first. `committed` is answered nevertheless.
   */
  commit(commit: Commit): Promise<CommitReply>;

  /**
   * Closes connections and files. Steps under way are answered or reject, and later ones reject,
   * with `unavailable`. Closing again does nothing.
   */
  close(): Promise<void>;
}

/**
 * Which copy of the store answers. A store that can't be replaced by a copy has one lineage:
 * `{ id: "", term: 0, settled: true }`.
 *
 * The store keeps a record of it, and compares that with the id of the copy that answers and with
 * what the caller knows, at each register and renew (`meetLineage` in `adapters/store/lineage.ts`).
 * Each of these begins another lineage, which is recorded with that id, unsettled, and a term above
 * the record's and the caller's:
 *
 * - the copy has another id than the record;
 * - the caller knows another id, under a term that is not below the record's: a lineage in between
 *   was lost entirely;
 * - the caller knows this id, under a higher term.
 *
 * Without a record the first caller begins one: settled if it knows no lineage and the store has no
 * replicas. A lineage becomes settled when a caller that knows it has `waited`.
 *
 * Source: `docs/design.md`, Store failover.
 */
export interface Lineage {
  readonly id: string;
  /** Rises with each lineage: an epoch is `term × EPOCHS_PER_TERM` and a counter. */
  readonly term: number;
  /** Whether a node has waited until all leases of former lineages had ended. */
  readonly settled: boolean;
}

export type LineageName = Pick<Lineage, "id" | "term">;

/** The last lineage that a caller knows. */
export interface KnownLineage extends LineageName {
  /** Whether it has waited for all leases of former lineages to end: then it is settled. */
  readonly waited: boolean;
}

/** A turn by its epoch and number, mostly the last one that a key's state has; both 0: none. */
export interface Stamp {
  readonly epoch: number;
  readonly turn: number;
}

/** An ownership to be reasserted. */
export interface Reassertion extends Ownership {
  readonly key: string;
  /** The last turn that its owner knows to be in the state, including its predecessors' turns. */
  readonly after: Stamp;
}

/** A turn that was committed to a key's state. */
export interface CommittedTurn {
  readonly key: string;
  readonly last: Stamp;
}

/** The result of a reassertion. */
export interface Standing {
  /**
   * - `kept`: the store has this ownership, and the state has all turns that its owner knows of.
   * - `restored`: the same, after it was written back: nobody owned the key, or another with a
   *   lower epoch.
   * - `behind`: the store has this ownership, written back or not, but the state lacks turns.
   * - `lost`: another owns the key, under an equal or a higher epoch. Or nobody owns it, and the
   *   request is a late copy: the state has a turn of a higher epoch, or the key's slot has already
   *   given epochs of the lineage's term, and this epoch is of a lower one.
   */
  readonly standing: "kept" | "restored" | "behind" | "lost";
  /** The last turn that the state has. */
  readonly last: Stamp;
}

export interface RegisterReply {
  readonly outcome: "registered" | "name_taken" | "fenced";
  /** The membership version afterwards; see {@link RenewReply.version}. */
  readonly version: number;
  readonly lineage: Lineage;
}

export interface RenewReply {
  readonly outcome: "renewed" | "fenced";
  /** The member's own state; `dead` if it is unknown. */
  readonly state: MemberState;
  /** Rises when a member is added or changes its state, not with renewals. */
  readonly version: number;
  /** The heartbeats of the watched incarnations that are known. */
  readonly watched: readonly Observation[];
  /**
   * Stores with home regions only: ownerships of this incarnation that have to yield, named again
   * in each answer until they have, by {@link Store.depart} to the winner's region.
   */
  readonly overtaken?: readonly Overtaken[];
  readonly lineage: Lineage;
}

/** An ownership that conflicts with one of higher rank in another region's registry. */
export interface Overtaken {
  readonly key: string;
  readonly epoch: number;
  readonly winner: Ownership;
}

/**
 * A member whose row can't be read as a whole. If its state isn't `dead` or `left` it may hold a
 * lease, and MUST be waited for and killed as any other before its names are taken.
 */
export interface Unreadable extends Observation {
  /** What is wrong with the row, without its content. */
  readonly reason: string;
  /** The region of the registry that it is in; absent: this store's own. */
  readonly region?: string;
}

/** A member's heartbeat, as read from the store. */
export interface Observation {
  readonly incarnation: string;
  readonly seq: number;
  readonly state: MemberState;
}

export interface Membership {
  readonly version: number;
  readonly members: readonly Member[];
  /** Rows that were left out because they can't be read. Absent: none. */
  readonly unreadable?: readonly Unreadable[];
  /** The id of the lineage that it was read in. */
  readonly lineage: string;
}

export interface Claim {
  /** `<type>/<id>`, the id percent-encoded: ASCII. */
  readonly key: string;
  /**
   * Where the resource will live: the RRP of the key at the claimer's node. A store keeps it, text
   * that begins with `rrp:`, and `incarnation`, both without white space and of `MAX_ENTRY`
   * characters at most, and doesn't interpret them further: a store with home regions writes other
   * texts to the stores that it is made of.
   */
  readonly rrp: string;
  readonly incarnation: string;
  /** The id of this claim, a UUID. It stays the same if the claim is sent again. */
  readonly opId: string;
  /** The owner that the claimer read, and that is dead or itself; null if it read none. */
  readonly expected: { readonly incarnation: string; readonly epoch: number } | null;
  /** The key's last epoch in another store: the new one MUST be higher. Absent: 0. */
  readonly above?: number;
  /** The lineage in which all this was read; absent: any. Nodes MUST name it. */
  readonly lineage?: LineageName;
}

export interface ClaimReply {
  /** Whether the key's owner is the one that this claim made. */
  readonly won: boolean;
  /**
   * The key's owner afterwards. Null if `expected` named an owner and nobody owns the key, and if
   * `quarantined`.
   */
  readonly owner: Ownership | null;
  /** If it was won: the last turn that the key's state has, of any owner. */
  readonly last?: Stamp;
  /**
   * Whether it was won and the state is lost while other parts of it remain. Stores that keep a
   * state in one part never report this; `last` shows their losses.
   */
  readonly isStateLost?: boolean;
  /** Whether nothing was compared because another lineage answers. */
  readonly quarantined?: boolean;
}

export interface OwnershipPage {
  readonly entries: readonly Ownership[];
  /** Errors for entries that were left out because they can't be read. Absent: none. */
  readonly unreadable?: readonly AtlasError[];
  readonly next: string | null;
}

export interface Range {
  /** Inclusive. */
  readonly start: string;
  /** Exclusive. */
  readonly end: string;
  readonly limit: number;
  /** From the greatest field down. */
  readonly reverse: boolean;
}

export interface Commit {
  readonly key: string;
  readonly incarnation: string;
  readonly epoch: number;
  /** Rises by at least one with each commit of one epoch; starts above 0. */
  readonly turn: number;
  /** The last turn that the owner knows to be in the state; absent: not checked. */
  readonly after?: Stamp;
  /** The id of the last lineage that the owner's node knows; absent: not checked. */
  readonly lineage?: string;
  readonly puts: readonly (readonly [field: string, value: string])[];
  readonly deletes: readonly string[];
}

/** `lost`: the state lacks the turn `after`; the last turn that it has instead. */
export type CommitReply = "committed" | "fenced" | "moved" | { readonly lost: Stamp };
