/**
 * Tracks which copy of the store this node talks to, and whether claims may be made in it.
 *
 * Takes the lineages that the store's answers name; gives the current one. After a failover
 * claims wait for the takeover time: by then every lease of the former lineage has ended, or its
 * owner has reasserted what it holds.
 *
 * Source: `docs/design.md`, Store failover.
 */
import { AtlasError } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { KnownLineage, Lineage, LineageName } from "../ports/store.ts";
import type { NodeLife } from "./lease.ts";

export class Lineages {
  readonly #clock: Clock;
  readonly #waitMs: number;
  #present: LineageName | null = null;
  /** When its id was first seen, on the monotonic clock. */
  #since = 0;
  #isSettled = false;
  /** The life that holds nothing which it has not asserted in the present lineage. */
  #asserted: NodeLife | null = null;

  /** @param waitMs how long claims wait in a lineage that nobody has settled. */
  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** The lineage heard of last; null before the store has answered once. */
  get present(): LineageName | null {
    return this.#present;
  }

  /** What this node tells the store of it. */
  get known(): KnownLineage | null {
    return this.#present && { ...this.#present, waited: this.#hasWaited() };
  }

  /**
   * The store named a lineage. Answers whether it is another than before; one that is
   * older, from an answer that was long on its way, is passed over.
   */
  note({ id, term, settled }: Lineage): boolean {
    const before = this.#present;
    if (before?.id === id && before.term === term) {
      this.#isSettled ||= settled;
      return false;
    }
    // A term that rose under the same id: an older copy took the chair again meanwhile.
    if (before !== null && term <= before.term) return false;
    this.#present = { id, term };
    this.#since = this.#clock.now();
    this.#isSettled = settled;
    this.#asserted = null;
    return before !== null;
  }

  /** Whether an answer of this copy is of the present lineage. */
  isPresent(id: string): boolean {
    return this.#present?.id === id;
  }

  /** Whether this is the present lineage. */
  stands({ id, term }: LineageName): boolean {
    return this.#present?.id === id && this.#present.term === term;
  }

  /** Whether no lease of a former lineage can hold any more. */
  isSettled(): boolean {
    return this.#present !== null && (this.#isSettled || this.#hasWaited());
  }

  #hasWaited(): boolean {
    return this.#clock.now() - this.#since >= this.#waitMs;
  }

  /** All that this life holds stands in the present lineage. */
  asserted(life: NodeLife): void {
    this.#asserted = life;
  }

  hasAsserted(life: NodeLife): boolean {
    return this.#asserted === life;
  }

  /**
   * The lineage to claim in.
   *
   * @throws AtlasError `unavailable` while owners of before may still serve.
   */
  toClaim(key: string): LineageName {
    if (this.#present !== null && this.isSettled()) return this.#present;
    throw quarantined(key);
  }
}

/** The error of what waits until the store's failover is over. */
export function quarantined(key: string): AtlasError {
  return new AtlasError(
    "unavailable",
    `${key} is in quarantine: the store was replaced by a copy of it, and owners of before ` +
      "may still serve",
  );
}

/** A lineage of one term as a text: an id may come again under a higher one. */
export function markOf({ id, term }: LineageName): string {
  return `${term} ${id}`;
}
