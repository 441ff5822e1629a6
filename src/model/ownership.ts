/**
 * Who owns a key, and how certain an answer about it is.
 *
 * Source: `docs/design.md`, Names and epochs; Lookups and verdicts.
 */

/** One ownership: the registry's entry for a key. */
export interface Ownership {
  /** Where the resource lives: `rrp:<region>/<node>/<type>/<id>`. */
  readonly rrp: string;
  /** The owning node's life. */
  readonly incarnation: string;
  /** The fencing token: every later ownership of the key has a higher one. */
  readonly epoch: number;
  /**
   * Claims of others that this one has not superseded: of stores without one write order
   * only, and of lookups only. Absent: none.
   */
  readonly contested?: readonly Ownership[];
}

/**
 * How far a lookup's answer may be trusted.
 *
 * - `confirmed`: read through the write path, owner live.
 * - `cached`: from this node's memory, at the stated age.
 * - `suspect`: the owner's heartbeat has stalled, or the store can't be reached.
 * - `contested`: more than one unsuperseded claim.
 * - `quarantine`: the store's lineage just changed.
 * - `unowned`: nobody owns it.
 */
export type Verdict =
  | "confirmed"
  | "cached"
  | "suspect"
  | "contested"
  | "quarantine"
  | "unowned";

/**
 * What an answer is marked with that its resource gave while its node couldn't reach the
 * store: `suspect`, or `contested` once it is known that there is another owner.
 */
export type DegradedVerdict = Extract<Verdict, "suspect" | "contested">;

/** The answer to "where does this resource live?". */
export interface Lookup {
  /** `<type>/<id>`, the id percent-encoded. */
  readonly key: string;
  /** Where it lives; null where nobody owns it or nothing is known. */
  readonly rrp: string | null;
  /** The ownership's epoch; 0 where `rrp` is null. */
  readonly epoch: number;
  readonly verdict: Verdict;
  /** Milliseconds since this was read from the store. */
  readonly ageMs: number;
}
