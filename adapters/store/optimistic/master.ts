/**
 * What one master of a registry of several can do in one atomic step, and how the claims of all
 * masters, as one of them sees them, decide who owns a key. Each entry is written by one master
 * only, so copying by "last writer wins" loses nothing.
 *
 * Source: `docs/design.md`, Several masters.
 */
import type { Ownership } from "../../../src/model/ownership.ts";
import type { Claim, OwnershipPage, Stamp, Store } from "../../../src/ports/store.ts";

/** A claim of a key, written at one master. */
export interface MasterClaim {
  readonly rrp: string;
  /** {@link WITHDRAWN} where its owner withdrew it, and it still supersedes others. */
  readonly incarnation: string;
  readonly epoch: number;
  readonly opId: string;
  readonly master: string;
  /** The epochs of other masters' claims that its claimer had seen: it supersedes those. */
  readonly over: ReadonlyMap<string, number>;
}

/** The incarnation of a claim that was withdrawn. */
export const WITHDRAWN = "-";

/** The methods that {@link Master} shares with the port. */
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
 * has received so far. `commit` applies only where the ownership is the greatest claim there.
 */
export interface Master extends Pick<Store, Plain> {
  readonly up: boolean;

  /** All claims of a key that this master knows. */
  claims(key: string): Promise<readonly MasterClaim[]>;

  /**
   * Writes this master's claim, superseding all that it knows, if the owner is as expected.
   * Its epoch is above all that this master knows, and no other master's. Changes nothing
   * where this master's claim has this `opId`. Answers the claims as they are afterwards.
   */
  writeClaim(claim: Claim): Promise<readonly MasterClaim[]>;

  /**
   * Withdraws this master's claim if it is this one. Answers whether it was the owner's. `after` is
   * that of the port's `release`.
   */
  withdraw(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean>;

  /**
   * Has this master's claim supersede all others that it knows, if it is this one and the owner's.
   * Losers have seen it by then; claims that remain are those of nodes that died.
   */
  settle(key: string, incarnation: string, epoch: number): Promise<void>;

  /**
   * What is left of a key's state at this master: the last turn that was committed here, and
   * whether the state is lost while other parts of it remain. Absent: it can't tell.
   */
  stateLeft?(key: string): Promise<{ readonly last: Stamp; readonly isLost: boolean }>;

  /** As the port's `list`: owners as this master sees them. */
  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage>;
}

/** Whether the claimer of `claim` had seen `other`, so that it supersedes that. */
export function supersedes(claim: MasterClaim, other: MasterClaim): boolean {
  return (claim.over.get(other.master) ?? -1) >= other.epoch;
}

/** Whether `claim` is the greater one: by epoch, then by incarnation. */
export function outranks(claim: MasterClaim, other: MasterClaim): boolean {
  if (claim.epoch !== other.epoch) return claim.epoch > other.epoch;
  return claim.incarnation > other.incarnation;
}

/** The claims that count: neither withdrawn, nor superseded by one that was withdrawn. */
export function validClaims(claims: readonly MasterClaim[]): MasterClaim[] {
  const ended = claims.filter(({ incarnation }) => incarnation === WITHDRAWN);
  return claims.filter((claim) =>
    claim.incarnation !== WITHDRAWN && !ended.some((other) => supersedes(other, claim))
  );
}

/** The owner's claim; null where nobody owns the key. */
export function greatest(claims: readonly MasterClaim[]): MasterClaim | null {
  let best: MasterClaim | null = null;
  for (const claim of validClaims(claims)) if (!best || outranks(claim, best)) best = claim;
  return best;
}

/** The owner and, where there are any, the claims that it did not supersede. */
export function ownerOf(claims: readonly MasterClaim[]): Ownership | null {
  const best = greatest(claims);
  if (best === null) return null;
  const rivals = validClaims(claims).filter((other) => other !== best && !supersedes(best, other));
  const owner = ownershipOf(best);
  return rivals.length === 0 ? owner : { ...owner, contested: rivals.map(ownershipOf) };
}

export function ownershipOf({ rrp, incarnation, epoch }: MasterClaim): Ownership {
  return { rrp, incarnation, epoch };
}
