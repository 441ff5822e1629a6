/**
 * What all stores share about lineages: the record of the present one, the epoch of a claim, how a
 * reassertion is answered, and which turns a copy lacks. Takes what a store has read; gives what it
 * has to write or to answer.
 *
 * Source: `docs/design.md`, Store failover; the port's `Lineage`.
 */
import { EPOCHS_PER_TERM } from "../../src/limits.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type {
  KnownLineage,
  Lineage,
  LineageName,
  Reassertion,
  Stamp,
  Standing,
} from "../../src/ports/store.ts";
import { BrokenEntry } from "./check.ts";

/** The lineage of a store that is never replaced by a copy of itself. */
export const SINGLE_LINEAGE: Lineage = { id: "", term: 0, settled: true };

/** No turn at all. */
export const NO_STAMP: Stamp = { epoch: 0, turn: 0 };

/**
 * The record of the lineage, to be written when a caller registers or renews.
 *
 * @param record the present record; null if the store has none yet.
 * @param id of the copy that answers.
 * @param known what the caller knows; null: nothing.
 * @param hasReplicas whether other copies exist; one of them may have had writes that this copy
 * lacks.
 */
export function meetLineage(
  record: Lineage | null,
  id: string,
  known: KnownLineage | null,
  hasReplicas: boolean,
): Lineage {
  if (record === null) {
    const term = known === null ? 0 : known.term + 1;
    return { id, term, settled: known === null && !hasReplicas };
  }
  const knownTerm = known?.term ?? 0;
  if (record.id !== id) return { id, term: Math.max(record.term, knownTerm) + 1, settled: false };
  if (known === null) return record;
  if (known.id !== id) {
    // A lineage in between was lost, or this is an older copy that is the master again.
    return known.term < record.term ? record : { id, term: known.term + 1, settled: false };
  }
  // The store wrote such a term and lost it, or the caller got it from another store.
  if (known.term > record.term) return { id, term: known.term + 1, settled: false };
  const isSettled = known.waited && known.term === record.term;
  return isSettled && !record.settled ? { ...record, settled: true } : record;
}

/** The epoch of a claim: above `last`, above `above`, and of the term `term` or a higher one. */
export function nextEpoch(last: number, term: number, above: number = 0): number {
  return Math.max(last, above, term * EPOCHS_PER_TERM) + 1;
}

/** Whether a state whose last turn is `last` has the turn `after`; `NO_STAMP` is in every state. */
export function hasTurn(last: Stamp, after: Stamp): boolean {
  return last.epoch > after.epoch || last.epoch === after.epoch && last.turn >= after.turn;
}

/** The number of changes of term for which a state remembers the last turn before the change. */
export const MAX_PAST = 8;

function termOf({ epoch }: Stamp): number {
  return Math.floor(epoch / EPOCHS_PER_TERM);
}

/**
 * What a state remembers once `epoch` writes to it: its last turn before each change of term,
 * oldest first, at most `MAX_PAST` of them. `past` is what it remembered until now, and `last` its
 * last turn.
 */
export function pastOf(past: readonly Stamp[], last: Stamp, epoch: number): readonly Stamp[] {
  return termOf({ epoch, turn: 0 }) > termOf(last) ? [...past, last].slice(-MAX_PAST) : past;
}

/** The answer of `Store.kept` for `turn`, of a state whose last turn is `last`. */
export function keptOf(turn: Stamp, last: Stamp, past: readonly Stamp[]): Stamp {
  const term = termOf(turn);
  return past.find((_, i) => termOf(past[i + 1] ?? last) > term) ?? last;
}

/** The bound below all epochs of a lineage's term. */
export function firstEpochOf({ term }: Pick<Lineage, "term">): number {
  return term * EPOCHS_PER_TERM;
}

/**
 * The reply to a reassertion. `isWritten`: its ownership has to be written.
 *
 * A reassertion that comes after its slot has given epochs in the lineage's term is a late copy of
 * a request, because claims wait until all leases of former lineages have ended. Its ownership may
 * have ended since, so the ownership is lost if nobody owns the key.
 *
 * @param present the key's owner in the store.
 * @param last the last turn of the key's state.
 * @param drawn the last epoch that the key's slot gave.
 */
export function standingOf(
  { incarnation, epoch, after }: Reassertion,
  present: Ownership | null,
  last: Stamp,
  drawn: number,
  lineage: LineageName,
): Standing & { readonly isWritten: boolean } {
  const isKept = present?.incarnation === incarnation && present.epoch === epoch;
  const first = firstEpochOf(lineage);
  const isLate = last.epoch > epoch || epoch < first && drawn > first;
  if (!isKept && (present === null ? isLate : present.epoch >= epoch)) {
    return { standing: "lost", last, isWritten: false };
  }
  const whole = isKept ? "kept" : "restored";
  return { standing: hasTurn(last, after) ? whole : "behind", last, isWritten: !isKept };
}

/**
 * The reply to a reassertion whose entry can't be read: its owner gives the ownership up, and all
 * other ownerships are reasserted. @throws any other `error`
 */
export function lostWhereBroken(error: unknown): Standing {
  if (error instanceof BrokenEntry) return { standing: "lost", last: NO_STAMP };
  throw error;
}
