/**
 * The port for the registry's store.
 *
 * It keeps three things: who is a member, who owns which key, and each resource's state. Every
 * method is one atomic step of one write order: MUST be linearizable per key, and over all of
 * membership. Keys, fields and values are text; the core encodes.
 *
 * A store may be replaced by a copy of itself that lacks what was not copied in time (a Redis
 * replica that was promoted). Each such copy is a lineage of its own; a store MUST tell which
 * one answers, and MUST check a claim's lineage in the same atomic step. Where it was told to
 * wait for replicas, no answer of a step that writes counts before as many have copied it: else
 * it rejects with `unavailable`.
 *
 * A rejected promise MUST be an AtlasError: `unavailable` where the store can't be reached or
 * answers too late (the step may or may not have been applied; every step here is safe to
 * repeat), or `bad_request` where it can never work. Where it is known that a step has not been
 * applied, and won't be, because the backend refused it or never got it, the error SHOULD be a
 * `StepRefused` (`src/model/refusal.ts`): a commit is then given up, not repeated. A method MUST
 * NOT answer as if something didn't exist because it couldn't be read.
 *
 * Others may write to the backend. What they wrote and can't be read MUST affect nothing else: a
 * step on exactly that key rejects with `unavailable`, not retryable, naming the key and why; a
 * listing and the list of members leave it out and name it. Membership's counters are repaired
 * by the next step that needs them; an epoch counter never is, because epochs must not fall.
 *
 * Source: `docs/design.md`, Names and epochs; Membership and leases; Claims; State; Store failover.
 */
import type { AtlasError } from "../errors.ts";
import type { OwnerKnows } from "../model/lost_turns.ts";
import type { Member, MemberInfo, MemberState } from "../model/member.ts";
import type { Ownership } from "../model/ownership.ts";

/** The registry's store. See the file's head for what every method MUST hold. */
export interface Store {
  /** `up` unless the adapter knows that its backend can't be reached now. Answers at once. */
  status(): "up" | "down";

  /**
   * The region whose nodes alone may own the key now; null, or without this method: any.
   * Answers at once, from memory; a {@link Store.lookup} may update it.
   */
  homeOf?(key: string): string | null;

  /** Stores with home regions only: the regions that can be a home. */
  readonly regions?: readonly string[];

  /**
   * Stores without a single write order only, where two claims of one key may both stand for a
   * while and the greater one is the owner. How often an owner MUST look for a greater claim, in
   * ms. Absent: at most one claim stands.
   */
  readonly recheckMs?: number;

  // Membership.

  /**
   * Adds `member` as `live` with seq 0, and marks every other `live` incarnation of
   * the same region and node `superseded`.
   *
   * With `ifFree`, MUST change nothing and answer `name_taken` where another live
   * incarnation holds the name. Repeating it for a member that is still `live`
   * changes nothing; for one that is not, MUST answer `fenced`. Prunes the oldest
   * dead beyond `MAX_DEAD_MEMBERS`. For `known` see {@link Lineage}.
   */
  register(
    member: MemberInfo,
    options: { ifFree: boolean; known?: KnownLineage | null },
  ): Promise<RegisterReply>;

  /**
   * Raises the member's seq to `seq` (never lowers it) if it is `live`, else answers `fenced`.
   * Either way answers the membership version, and the seq and state of each known incarnation in
   * `watch`. For `known` see {@link Lineage}.
   */
  renew(
    incarnation: string,
    seq: number,
    watch: readonly string[],
    known?: KnownLineage | null,
  ): Promise<RenewReply>;

  /**
   * Makes a `live` or `superseded` member `dead`, only if its seq is still `seq`.
   * Answers its state afterwards; null where it is unknown.
   */
  kill(incarnation: string, seq: number): Promise<MemberState | null>;

  /**
   * Makes a member `left`, whatever its seq; the caller has fenced itself before. One
   * that is unknown is added as `left`: its registration may still be on its way, and
   * MUST be `fenced` when it comes.
   */
  leave(member: MemberInfo): Promise<void>;

  /** All members, including the dead that are still kept, and the membership version. */
  members(): Promise<Membership>;

  /**
   * Stores with home regions only ({@link Store.homeOf}): another region's members as last read,
   * recently where that region can be reached. Doesn't use this region's own registry, and never
   * rejects.
   */
  membersIn?(region: string): Promise<readonly Member[]>;

  /**
   * The same stores: the present heartbeat of a member that a lookup or a read of the members has
   * named in another region's registry, as that registry has it; resolves to null where it knows
   * none. Doesn't use this region's own registry. Returns null, not a promise, where no such
   * member is known here.
   */
  observeAbroad?(incarnation: string): Promise<Observation | null> | null;

  // Ownership.

  /** The key's owner, read through the write path; null where nobody owns it. */
  lookup(key: string): Promise<Ownership | null>;

  /**
   * Compare-and-set of the key's owner. Applies if the present owner is exactly
   * `expected` (incarnation and epoch; null: nobody), with an epoch higher than any
   * this key ever had, released ones included, and than `term × EPOCHS_PER_TERM` of the
   * claim's lineage. One of another lineage than the present MUST change nothing and
   * answer `quarantined`. MUST answer the entry that holds
   * afterwards, whoever's it is; a repeat with the same `opId` MUST answer what the
   * first did as long as that ownership stands.
   */
  claim(claim: Claim): Promise<ClaimReply>;

  /**
   * Reasserts ownerships after the lineage changed: for each, compares the entry with what the
   * owner holds, and writes it back, under its own epoch, where there is no entry or one of a
   * lower epoch. Null, and nothing changed, where `lineage` is not the present one.
   */
  reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null>;

  /**
   * Stores that may be replaced by a copy of themselves only: which earlier turns are still
   * there. For each, the last turn that its key's state had when an epoch of a higher term than
   * the turn's first wrote there, or has now where none did. Null where `lineage` is not the
   * present one. MUST change nothing.
   */
  kept?(
    turns: readonly CommittedTurn[],
    lineage: LineageName,
  ): Promise<readonly Stamp[] | null>;

  /**
   * Ends an ownership if it is still this one; the state stays. A state without fields MUST be
   * removed, except that a store with {@link Store.kept} keeps its last turn for a while, and a
   * store with {@link Store.recheckMs} what it needs to tell others of the deletion. Answers
   * whether it was this one.
   *
   * @param after the last turn that the owner knows to be in the state. Where the state lacks it,
   * the evidence of that loss MUST be kept: the next claim reports it.
   */
  release(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean>;

  /**
   * Stores with home regions only ({@link Store.homeOf}). Ends an ownership if it is still this
   * one, and makes `region` the key's home: from then on only a node there may claim it, and gets
   * its state. Answers whether the key is on its way there; a repeat answers the same until it
   * has come back.
   */
  depart?(key: string, incarnation: string, epoch: number, region: string): Promise<boolean>;

  /**
   * The same stores. Takes back a key that departed and that nobody at its new home has begun to
   * claim: its home is again where it left from, nobody owns it there, and claims at the new home
   * are fenced. A key on its way to `but` is left alone. Answers whether it was taken back.
   */
  recall?(key: string, but: string | null): Promise<boolean>;

  /**
   * The same stores: why no key may move to a region, as far as is known here; null: no reason is
   * known. Answers at once.
   */
  obstacleTo?(region: string): string | null;

  /**
   * Ownerships whose RRP starts with `prefix`, a page at a time, in no order. Start with a null
   * cursor; a null `next` ends it. Every ownership that stands from the first page to the last is
   * listed at least once; a page may hold fewer than `limit`.
   */
  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage>;

  // State: an ordered map of text to text for each key. Where a store keeps it in parts, and one
  // of them is lost, `read` and `range` MUST still agree.

  /**
   * The values of `fields`, in their order; null for each that isn't there. Where the state
   * lacks what its owner `knows`, rejects with `LostTurns`.
   */
  read(key: string, fields: readonly string[], knows?: OwnerKnows): Promise<(string | null)[]>;

  /**
   * Fields and values with `start ≤ field < end`, in code unit order of ASCII fields. Where the
   * state lacks what its owner `knows`, rejects with `LostTurns`.
   */
  range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]>;

  /**
   * Applies all of a turn's writes, or none: only if the key's owner is still this
   * incarnation and epoch, else answers `fenced`. A turn number that is not above the
   * last one applied in this epoch MUST change nothing: it is a repeat. Where the state
   * lacks the turn `after`, MUST change nothing and answer what it has. Where `lineage`
   * is not the present one, answers `moved` instead of either: the owner reasserts first.
   */
  commit(commit: Commit): Promise<CommitReply>;

  /** Closes connections and files. Later calls reject with `unavailable`. */
  close(): Promise<void>;
}

/**
 * Which copy of the store answers. A store that can't be replaced by a copy has one lineage:
 * `{ id: "", term: 0, settled: true }`.
 *
 * The store keeps a record of it and compares it with the actual id at each register and renew.
 * Where it finds another id it writes that, unsettled, with a term above the record's and the
 * caller's. Where the caller knows another id under a term that is not below the record's, a
 * lineage in between was lost entirely, and the term rises above it; likewise where the caller
 * knows this id under a higher term.
 *
 * Source: `docs/design.md`, Store failover.
 */
export interface Lineage {
  readonly id: string;
  /** Rises with each lineage: the upper part of its epochs. */
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

/** The last turn that a key's state has, and its epoch; both 0: none. */
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
   * - `kept`: it stands, and the state has all that its owner knows of.
   * - `restored`: as `kept`, after it was written back.
   * - `behind`: it stands, but the state lacks turns.
   * - `lost`: another ownership of an equal or a higher epoch stands.
   */
  readonly standing: "kept" | "restored" | "behind" | "lost";
  /** The last turn that the state has. */
  readonly last: Stamp;
}

export interface RegisterReply {
  readonly outcome: "registered" | "name_taken" | "fenced";
  readonly version: number;
  readonly lineage: Lineage;
}

export interface RenewReply {
  readonly outcome: "renewed" | "fenced";
  /** The member's own state; `dead` where it is unknown. */
  readonly state: MemberState;
  /** Rises when a member is added or changes its state, not with renewals. */
  readonly version: number;
  /** The heartbeats of the watched incarnations that are known. */
  readonly watched: readonly Observation[];
  /**
   * Stores with home regions only: ownerships of this incarnation that have to yield, repeated
   * until they have ({@link Store.depart} to the winner's region).
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
 * A member whose row can't be read as a whole. Where its state isn't `dead` or `left` it may
 * hold a lease, and MUST be waited for and killed as any other before its names are taken.
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
  /** The RRP of the key at its claimer. */
  readonly rrp: string;
  readonly incarnation: string;
  /** The id of this attempt; a UUID. */
  readonly opId: string;
  /** The owner that the claimer read and knows to be dead; null where it read none. */
  readonly expected: { readonly incarnation: string; readonly epoch: number } | null;
  /** The new epoch MUST be higher than this one, too: the key's last epoch in another store. */
  readonly above?: number;
  /** The lineage in which all this was read; absent: whichever answers. Nodes MUST name it. */
  readonly lineage?: LineageName;
}

export interface ClaimReply {
  /** Whether this attempt's ownership stands. */
  readonly won: boolean;
  /** The entry that stands; null only where `expected` named an owner and nobody owns the key now. */
  readonly owner: Ownership | null;
  /** The last turn that the key's state has, where the claim was won. */
  readonly last?: Stamp;
  /** Whether it was won, and the state lacks turns that were committed. */
  readonly isStateLost?: boolean;
  /** Whether nothing was compared because the lineage is another. */
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
  /** In descending order. */
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
  /** The id of the lineage that the owner has reasserted in; absent: not checked. */
  readonly lineage?: string;
  readonly puts: readonly (readonly [field: string, value: string])[];
  readonly deletes: readonly string[];
}

/** `lost`: the state lacks the turn `after`; what it has instead. */
export type CommitReply = "committed" | "fenced" | "moved" | { readonly lost: Stamp };
