/**
 * Defines ownerships of keys, and how certain an answer about one is.
 *
 * Source: `docs/design.md`, Names and epochs; Lookups and verdicts.
 */

/** One ownership: the registry's entry for a key. */
export interface Ownership {
  /** Where the resource lives: `rrp:<region>/<node>/<type>/<id>`. */
  readonly rrp: string;
  /** The owning node's incarnation. */
  readonly incarnation: string;
  /** The fencing token: every later ownership of the key has a higher one. */
  readonly epoch: number;
  /**
   * Claims of others that this one has not superseded. In lookups only, and only with stores
   * without one write order. Absent: none.
   */
  readonly contested?: readonly Ownership[];
}

/**
 * How certain a lookup's answer is.
 *
 * - `confirmed`: read through the write path, owner live.
 * - `cached`: from this node's memory, at the stated age.
 * - `suspect`: the owner's heartbeat has stalled, or the store can't be reached.
 * - `contested`: more than one unsuperseded claim.
 * - `quarantine`: the store's lineage is not settled: a copy has just replaced it.
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
 * The verdict on an answer that a resource gave while its node couldn't reach the store:
 * `suspect`, or `contested` once another owner is known.
 */
export type DegradedVerdict = Extract<Verdict, "suspect" | "contested">;

/** The result of a lookup: where a resource lives. */
export interface Lookup {
  /** `<type>/<id>`, the id percent-encoded. */
  readonly key: string;
  /** Where it lives; null if nobody owns it or nothing is known. */
  readonly rrp: string | null;
  /** The ownership's epoch; 0 if `rrp` is null. */
  readonly epoch: number;
  readonly verdict: Verdict;
  /** Milliseconds since this was read from the store. */
  readonly ageMs: number;
}
