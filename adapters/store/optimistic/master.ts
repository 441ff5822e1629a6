/**
 * Defines the atomic steps of one master in a registry of several masters, and decides who owns a
 * key from the claims of all masters, as one master sees them. Each entry is written by one master
 * only, so copying by "last writer wins" loses nothing.
 *
 * Source: `docs/design.md`, Several masters.
 */
import type { Ownership } from "../../../src/model/ownership.ts";
import type { Claim, OwnershipPage, Stamp, Store } from "../../../src/ports/store.ts";

/** A claim of a key, written at one master. */
export interface MasterClaim {
  readonly rrp: string;
  /** {@link WITHDRAWN} if its owner withdrew the claim and it still supersedes other claims. */
  readonly incarnation: string;
  readonly epoch: number;
  readonly opId: string;
  readonly master: string;
  /** The epochs of other masters' claims that the claimer had seen. This claim supersedes them. */
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
 * The atomic steps of one master. Every failure MUST reject with an AtlasError.
 *
 * The methods that it shares with the port keep the port's contract as far as this master has
 * received other masters' writes. `commit` applies only if the ownership is the greatest claim
 * there.
 */
export interface Master extends Pick<Store, Plain> {
  readonly up: boolean;

  /** All claims of a key that this master knows. */
  claims(key: string): Promise<readonly MasterClaim[]>;

  /**
   * If the owner is as expected, writes this master's claim, which supersedes all claims that this
   * master knows. Its epoch is above all epochs that this master knows, and no other master can
   * give it. Changes nothing if this master's claim has this `opId`. Answers the claims as they are
   * afterwards.
   */
  writeClaim(claim: Claim): Promise<readonly MasterClaim[]>;

  /**
   * Withdraws this master's claim if it is this one. Answers whether the claim was the owner's.
   * `after` has the meaning that it has in the port's `release`.
   */
  withdraw(key: string, incarnation: string, epoch: number, after?: Stamp): Promise<boolean>;

  /**
   * Makes this master's claim supersede all other claims that it knows, if the claim is the given
   * one and the owner's. By then losers have seen this claim, so the remaining claims are those of
   * nodes that died.
   */
  settle(key: string, incarnation: string, epoch: number): Promise<void>;

  /**
   * What this master still has of a key's state: the last turn that was committed at this master,
   * and whether the state is lost while other parts of it remain. Absent: the master can't tell.
   */
  stateLeft?(key: string): Promise<{ readonly last: Stamp; readonly isLost: boolean }>;

  /** As the port's `list`: owners as this master sees them. */
  list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage>;
}

/** Whether the claimer of `claim` had seen `other`. If so, `claim` supersedes `other`. */
export function supersedes(claim: MasterClaim, other: MasterClaim): boolean {
  return (claim.over.get(other.master) ?? -1) >= other.epoch;
}

/** Whether `claim` is the greater one: by epoch, then by incarnation. */
export function outranks(claim: MasterClaim, other: MasterClaim): boolean {
  if (claim.epoch !== other.epoch) return claim.epoch > other.epoch;
  return claim.incarnation > other.incarnation;
}

/**
 * The claims that count: claims that were neither withdrawn nor superseded by a withdrawn claim.
 */
export function validClaims(claims: readonly MasterClaim[]): MasterClaim[] {
  const ended = claims.filter(({ incarnation }) => incarnation === WITHDRAWN);
  return claims.filter((claim) =>
    claim.incarnation !== WITHDRAWN && !ended.some((other) => supersedes(other, claim))
  );
}

/** The owner's claim; null if nobody owns the key. */
export function greatest(claims: readonly MasterClaim[]): MasterClaim | null {
  let best: MasterClaim | null = null;
  for (const claim of validClaims(claims)) if (!best || outranks(claim, best)) best = claim;
  return best;
}

/** The owner, and the claims that it did not supersede, if any. */
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
