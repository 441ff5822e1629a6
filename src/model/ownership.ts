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
 * An ownership that shares what all ownerships of its node have in common, and builds its RRP when
 * it is read. For places that hold one for each of very many keys.
 */
export class PlacedOwnership implements Ownership {
  readonly key: string;
  readonly epoch: number;
  readonly #place: Place;

  constructor(key: string, epoch: number, place: Place) {
    this.key = key;
    this.epoch = epoch;
    this.#place = place;
  }

  get incarnation(): string {
    return this.#place.incarnation;
  }

  get rrp(): string {
    const { prefix, rrp } = this.#place;
    return rrp ?? prefix + this.key;
  }

  /** A copy with properties of its own. */
  get plain(): Ownership {
    return { rrp: this.rrp, incarnation: this.incarnation, epoch: this.epoch };
  }
}

/** What the ownerships of one node have in common. */
interface Place {
  readonly incarnation: string;
  /** What the RRPs of all of its keys begin with. */
  readonly prefix: string;
  /** The whole RRP, of an ownership whose RRP doesn't end with its key; else null. */
  readonly rrp: string | null;
}

/** The most incarnations whose places are known. Others get a place for each ownership. */
const MAX_PLACES = 4_096;

/** The places of the ownerships that a table holds. */
export class Places {
  readonly #places = new Map<string, Place>();

  /** The place of a key's ownership. */
  of(key: string, { rrp, incarnation }: Pick<Ownership, "rrp" | "incarnation">): Place {
    const known = this.#places.get(incarnation);
    if (known && isAt(known.prefix, key, rrp)) return known;
    if (!rrp.endsWith(key)) return { incarnation, prefix: "", rrp };
    const place = { incarnation, prefix: rrp.slice(0, rrp.length - key.length), rrp: null };
    if (this.#places.size >= MAX_PLACES) this.#places.clear();
    this.#places.set(incarnation, place);
    return place;
  }
}

/** Whether `rrp` is `prefix` and `key`. */
function isAt(prefix: string, key: string, rrp: string): boolean {
  return rrp.length === prefix.length + key.length && rrp.startsWith(prefix) && rrp.endsWith(key);
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
