/**
 * What one master of a registry of several can do in one atomic step, and how the claims of all
 * masters, as one of them sees them, decide who owns a key. Each entry is written by one master
 * only, so copying by "last writer wins" loses nothing.
 *
 * Source: `docs/design.md`, Several masters.
 */
import type { Ownership } from "../../../src/model/ownership.ts";
import type { Claim, OwnershipPage, Stamp, Store } from "../../../src/ports/store.ts";

/** A claim of a key that was written down at one master. */
export interface Stake {
  readonly rrp: string;
  /** {@link ENDED} where its owner gave it up, and it still says what else is over. */
  readonly incarnation: string;
  readonly epoch: number;
  readonly opId: string;
  readonly master: string;
  /** The epochs of other masters' stakes that it was made in view of. */
  readonly over: ReadonlyMap<string, number>;
}

/** The incarnation of a stake that was given up. */
export const ENDED = "-";

/** What {@link MasterBook} takes over from the port as it is. */
type Plain =
  | "register"
  | "renew"
  | "kill"
  | "leave"
  | "members"
  | "read"
  | "range"
  | "commit"
  | "close";

/**
 * The atomic steps of one master. Whatever goes wrong MUST reject with an AtlasError.
 *
 * The methods that it shares with the port keep the port's contract by what this master
 * has seen so far. `commit` applies only where the ownership is the greatest stake there.
 */
export interface MasterBook extends Pick<Store, Plain> {
  readonly up: boolean;

  /** All stakes of a key that this master knows. */
  stakes(key: string): Promise<readonly Stake[]>;

  /**
   * Writes this master's stake, over all that it knows, where the owner is as expected.
   * Its epoch is above all that this master knows, and no other master's. Changes nothing
   * where this master's stake has this `opId`. Answers the stakes as they are afterwards.
   */
  stake(claim: Claim): Promise<readonly Stake[]>;

  /**
   * Takes back this master's stake if it is this one. Answers whether it was the owner's. Of
   * `after` as the port's `release`.
   */
  drop(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean>;

  /**
   * Puts this master's stake over all others that it knows, if it is this one and the
   * owner's: losers must have heard by now, and who claimed and died never will.
   */
  settle(key: string, incarnation: string, epoch: number): Promise<void>;

  /**
   * What is left of a key's state at this master: the last turn that was committed here, and
   * whether the state is gone of which other parts are there. Absent: it can't tell.
   */
  left?(key: string): Promise<{ readonly last: Stamp; readonly isLost: boolean }>;

  /** As the port's `list`: owners as this master sees them. */
  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage>;
}

/** Whether `stake` was made in view of `other`, and so is meant to end it. */
export function supersedes(stake: Stake, other: Stake): boolean {
  return (stake.over.get(other.master) ?? -1) >= other.epoch;
}

/** Whether `stake` goes before `other`: by epoch, then by incarnation. */
export function outranks(stake: Stake, other: Stake): boolean {
  if (stake.epoch !== other.epoch) return stake.epoch > other.epoch;
  return stake.incarnation > other.incarnation;
}

/** Stakes that neither were given up, nor were superseded by one that was. */
export function standing(stakes: readonly Stake[]): Stake[] {
  const ended = stakes.filter(({ incarnation }) => incarnation === ENDED);
  return stakes.filter((stake) =>
    stake.incarnation !== ENDED && !ended.some((other) => supersedes(other, stake))
  );
}

/** The owner's stake; null where nobody owns the key. */
export function greatest(stakes: readonly Stake[]): Stake | null {
  let best: Stake | null = null;
  for (const stake of standing(stakes)) if (!best || outranks(stake, best)) best = stake;
  return best;
}

/** The owner and, where there are any, the stakes that it did not supersede. */
export function ownerOf(stakes: readonly Stake[]): Ownership | null {
  const best = greatest(stakes);
  if (best === null) return null;
  const rivals = standing(stakes).filter((other) => other !== best && !supersedes(best, other));
  const owner = ownershipOf(best);
  return rivals.length === 0 ? owner : { ...owner, contested: rivals.map(ownershipOf) };
}

export function ownershipOf({ rrp, incarnation, epoch }: Stake): Ownership {
  return { rrp, incarnation, epoch };
}
