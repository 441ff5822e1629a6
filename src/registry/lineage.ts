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
  #mark: string | undefined;
  /** When its id was first seen, on the monotonic clock. */
  #since = 0;
  #isSettled = false;
  /** The life that has reasserted everything it holds in the present lineage. */
  #asserted: NodeLife | null = null;

  /** @param waitMs how long claims wait in a lineage that no node has settled. */
  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** The current lineage; null before the store has answered once. */
  get present(): LineageName | null {
    return this.#present;
  }

  /** The same as {@link markOf} gives it: one text, which all ownerships share. */
  get mark(): string | undefined {
    return this.#mark;
  }

  /** What this node sends to the store about it. */
  get known(): KnownLineage | null {
    return this.#present && { ...this.#present, waited: this.#hasWaited() };
  }

  /**
   * Takes a lineage that the store named. Returns whether it differs from the one before. An older
   * lineage, from a late answer, is ignored.
   */
  note({ id, term, settled }: Lineage): boolean {
    const before = this.#present;
    if (before?.id === id && before.term === term) {
      this.#isSettled ||= settled;
      return false;
    }
    // The term rose under the same id: an older copy was the primary in between.
    if (before !== null && term <= before.term) return false;
    this.#present = { id, term };
    this.#mark = markOf({ id, term });
    this.#since = this.#clock.now();
    this.#isSettled = settled;
    this.#asserted = null;
    return before !== null;
  }

  /** Whether an answer of this copy belongs to the present lineage. */
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

  /** This life has reasserted all that it holds in the present lineage. */
  asserted(life: NodeLife): void {
    this.#asserted = life;
  }

  hasAsserted(life: NodeLife): boolean {
    return this.#asserted === life;
  }

  /**
   * The lineage to claim in.
   *
   * @throws AtlasError `unavailable` while owners of a former lineage may still serve.
   */
  toClaim(key: string): LineageName {
    if (this.#present !== null && this.isSettled()) return this.#present;
    throw quarantined(key);
  }
}

/** The error for calls during the store's failover. */
export function quarantined(key: string): AtlasError {
  return new AtlasError(
    "unavailable",
    `${key} is in quarantine: the store was replaced by a copy of it, and owners of before ` +
      "may still serve",
  );
}

/** A lineage with its term as a text: an id may return under a higher term. */
export function markOf({ id, term }: LineageName): string {
  return `${term} ${id}`;
}
