/**
 * The registry's store: one notary whose word is final.
 *
 * It keeps three things: who is a member, who owns which key, and each resource's
 * state. Every method is one atomic step of one write order: MUST be linearizable
 * per key, and over all of membership. Keys, fields and values are text; the core
 * encodes.
 *
 * A rejected promise MUST be an AtlasError: `unavailable` where the store can't be
 * reached or answers too late (the step may or may not have been applied; every
 * step here is safe to repeat), or `bad_request` where it can never work. A method
 * MUST NOT answer as if something didn't exist because it couldn't be read.
 *
 * Source: design §2–3.
 */
import type { Member, MemberInfo, MemberState } from "../model/member.ts";
import type { Ownership } from "../model/ownership.ts";

/** The registry's store. See the file's head for what every method MUST hold. */
export interface Store {
  /** `up` unless the adapter knows that its backend can't be reached now. Answers at once. */
  status(): "up" | "down";

  /**
   * The region whose nodes alone may own the key now; null, or without this method: any.
   * Answers at once, from what is known; a {@link Store.lookup} may teach it better.
   */
  homeOf?(key: string): string | null;

  /**
   * Of stores that have no single write order, where two claims of one key may both stand
   * for a while, the greater one being the owner. How often an owner MUST look whether a
   * greater one came, in ms. Absent: a claim that stands stands alone.
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
   * dead beyond `MAX_DEAD_MEMBERS`.
   */
  register(member: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply>;

  /**
   * Raises the member's seq to `seq` (never lowers it) if it is `live`, else answers
   * `fenced`. Either way tells the membership version and the seq and state of each
   * incarnation in `watch` that is known.
   */
  renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply>;

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

  /** All members, the dead that are still kept included, and the version they are of. */
  members(): Promise<Membership>;

  // Ownership.

  /** The key's owner, read through the write path; null where nobody owns it. */
  lookup(key: string): Promise<Ownership | null>;

  /**
   * Compare-and-set of the key's owner. Applies if the present owner is exactly
   * `expected` (incarnation and epoch; null: nobody), with an epoch higher than any
   * this key ever had, released ones included. MUST answer the entry that holds
   * afterwards, whoever's it is; a repeat with the same `opId` MUST answer what the
   * first did as long as that ownership stands.
   */
  claim(claim: Claim): Promise<ClaimReply>;

  /** Ends an ownership if it is still this one; the state stays. Answers whether it was. */
  release(key: string, incarnation: string, epoch: number): Promise<boolean>;

  /**
   * Of stores whose keys have homes ({@link Store.homeOf}). Ends an ownership if it is still
   * this one, and makes `region` the key's home: from then on only a node there may claim it,
   * and whoever does finds its state. Answers whether the key is on its way there; a repeat
   * answers the same until it has come back.
   */
  depart?(key: string, incarnation: string, epoch: number, region: string): Promise<boolean>;

  /**
   * Ownerships whose RRP starts with `prefix`, a page at a time, in no order. Start
   * with a null cursor; a null `next` ends it. Every ownership that stands from the
   * first page to the last is told at least once; a page may hold fewer than `limit`.
   */
  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage>;

  // State: an ordered map of text to text for each key.

  /** The values of `fields`, in their order; null for each that isn't there. */
  read(key: string, fields: readonly string[]): Promise<(string | null)[]>;

  /** Fields and values with `start ≤ field < end`, in code unit order of ASCII fields. */
  range(key: string, range: Range): Promise<[string, string][]>;

  /**
   * Applies all of a turn's writes, or none: only if the key's owner is still this
   * incarnation and epoch, else answers `fenced`. A turn number that is not above the
   * last one applied in this epoch MUST change nothing: it is a repeat.
   */
  commit(commit: Commit): Promise<CommitReply>;

  /** Lets go of connections and files. Later calls reject with `unavailable`. */
  close(): Promise<void>;
}

export interface RegisterReply {
  readonly outcome: "registered" | "name_taken" | "fenced";
  readonly version: number;
}

export interface RenewReply {
  readonly outcome: "renewed" | "fenced";
  /** The member's own state; `dead` where it is unknown. */
  readonly state: MemberState;
  /** Rises whenever a member is added or changes its state; not with renewals. */
  readonly version: number;
  /** Of the watched incarnations that are known. */
  readonly watched: readonly Observation[];
}

/** A member's heartbeat as the store had it. */
export interface Observation {
  readonly incarnation: string;
  readonly seq: number;
  readonly state: MemberState;
}

export interface Membership {
  readonly version: number;
  readonly members: readonly Member[];
}

export interface Claim {
  /** `<type>/<id>`, the id percent-encoded: ASCII. */
  readonly key: string;
  /** The claimer's locator for the key. */
  readonly rrp: string;
  readonly incarnation: string;
  /** Names this attempt; a UUID. */
  readonly opId: string;
  /** The owner that the claimer saw and knows to be dead; null where it saw none. */
  readonly expected: { readonly incarnation: string; readonly epoch: number } | null;
  /** The epoch that is won MUST be higher than this one, too: the key's last in another store. */
  readonly above?: number;
}

export interface ClaimReply {
  /** Whether this attempt's ownership stands. */
  readonly won: boolean;
  /** The entry that stands; null only where `expected` named an owner and nobody owns the key now. */
  readonly owner: Ownership | null;
}

export interface OwnershipPage {
  readonly entries: readonly Ownership[];
  readonly next: string | null;
}

export interface Range {
  /** Inclusive. */
  readonly start: string;
  /** Exclusive. */
  readonly end: string;
  readonly limit: number;
  /** From the end backwards. */
  readonly reverse: boolean;
}

export interface Commit {
  readonly key: string;
  readonly incarnation: string;
  readonly epoch: number;
  /** Rises by at least one with each commit of one epoch; starts above 0. */
  readonly turn: number;
  readonly puts: readonly (readonly [field: string, value: string])[];
  readonly deletes: readonly string[];
}

export type CommitReply = "committed" | "fenced";
