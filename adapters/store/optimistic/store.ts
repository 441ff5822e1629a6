/**
 * The port `Store` over several masters without one write order. To claim a key, a node reads all
 * claims, writes one at its own master, waits until any rival's claim must have been copied, and
 * reads again. The greatest claim (by epoch, then by incarnation) wins; a loser withdraws its own.
 *
 * Guarantee: eventually one owner. While copying between masters takes less than `boundMs`, always
 * one: each claimer waits twice the bound, so of two concurrent claims both are seen by both before
 * either is confirmed. If copying takes longer (a partition), two nodes may own one key, and each
 * may commit at its own master; acknowledged calls may then be on both sides, and the app merges.
 * Lookups answer `contested` as soon as both claims are in one place. Within one `recheckMs` the
 * loser finds the winner's claim, stops, and runs `onConflict`. The claim of a node that died is
 * superseded by the owner's later lookups. Fields that both wrote read as those of the greater
 * epoch. A member killed on one side of a partition is dead on both once it has healed, and
 * registers again under a new incarnation.
 *
 * Source: `docs/design.md`, Several masters; Lamport, "A Fast Mutual Exclusion Algorithm" (1987),
 * for Fischer's algorithm and why the wait must exceed a rival's time.
 */
import type { OwnerKnows } from "../../../src/model/lost_turns.ts";
import type { MemberInfo, MemberState } from "../../../src/model/member.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import type {
  Claim,
  ClaimReply,
  Commit,
  CommitReply,
  LineageName,
  Membership,
  OwnershipPage,
  Range,
  Reassertion,
  RegisterReply,
  RenewReply,
  Stamp,
  Standing,
  Store,
} from "../../../src/ports/store.ts";
import { checkClaim, checkCommit, checkRange, checkReassertions, checkWhole } from "../check.ts";
import { lostWhereBroken, NO_STAMP, SINGLE_LINEAGE } from "../lineage.ts";
import { greatest, type Master, type MasterClaim, ownerOf, ownershipOf } from "./master.ts";

export interface OptimisticParts {
  readonly master: Master;
  /** The name of the own master, and whether there are others. */
  readonly masterName: string;
  readonly hasRivals: boolean;
  readonly boundMs: number;
  readonly recheckMs: number;
  /** Monotonic time, ms. */
  now(): number;
  /** Resolves after `ms` milliseconds. */
  pause(ms: number): Promise<void>;
}

/** A claim is confirmed after this many bounds; see the file's opening comment. */
const BOUNDS = 2;
/** Rechecks after which every loser has found that it lost. */
const GRACE_RECHECKS = 3;
/** The most keys whose contest one store remembers. */
const MAX_CONTESTS = 10_000;

/** A contest that was seen and has not ended. */
interface Contest {
  readonly epoch: number;
  readonly since: number;
}

export class OptimisticStore implements Store {
  readonly recheckMs: number;
  readonly #parts: OptimisticParts;
  readonly #master: Master;
  /** Contests of keys that are owned here, the oldest first. */
  readonly #contests = new Map<string, Contest>();

  constructor(parts: OptimisticParts) {
    this.#parts = parts;
    this.#master = parts.master;
    this.recheckMs = parts.recheckMs;
  }

  status(): "up" | "down" {
    return this.#master.up ? "up" : "down";
  }

  register(member: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply> {
    return this.#master.register(member, options);
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    checkWhole("seq", seq, 0);
    return await this.#master.renew(incarnation, seq, watch);
  }

  kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return this.#master.kill(incarnation, seq);
  }

  leave(member: MemberInfo): Promise<void> {
    return this.#master.leave(member);
  }

  members(): Promise<Membership> {
    return this.#master.members();
  }

  async lookup(key: string): Promise<Ownership | null> {
    const claims = await this.#master.claims(key);
    const owner = ownerOf(claims);
    if (owner?.contested) await this.#judge(key, greatest(claims) as MasterClaim);
    else this.#contests.delete(key);
    return owner;
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    checkClaim(claim);
    const { lineage = SINGLE_LINEAGE } = claim;
    if (lineage.id !== SINGLE_LINEAGE.id) return { won: false, owner: null, quarantined: true };
    const written = await this.#master.writeClaim(claim);
    const own = this.#ownClaim(written, claim);
    if (!own) return { won: false, owner: ownerIn(written) };
    const { boundMs, hasRivals } = this.#parts;
    if (hasRivals) await this.#parts.pause(BOUNDS * boundMs);
    const claims = await this.#master.claims(claim.key);
    const winner = greatest(claims);
    if (winner?.incarnation === claim.incarnation && winner.epoch === own.epoch) {
      const left = await this.#master.stateLeft?.(claim.key);
      const isStateLost = left?.isLost ?? false;
      return { won: true, owner: ownershipOf(winner), last: left?.last ?? NO_STAMP, isStateLost };
    }
    await this.#master.withdraw(claim.key, claim.incarnation, own.epoch);
    return { won: false, owner: ownerIn(claims) };
  }

  /** Answers by a lookup of each key. Masters that copy each other have one common lineage. */
  async reassert(
    reassertions: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    checkReassertions(reassertions, lineage);
    if (lineage.id !== SINGLE_LINEAGE.id) return null;
    return await Promise.all(reassertions.map(async ({ key, incarnation, epoch, after }) => {
      try {
        const owner = ownerOf(await this.#master.claims(key));
        const stands = owner?.incarnation === incarnation && owner.epoch === epoch;
        return { standing: stands ? "kept" : "lost", last: after } as const;
      } catch (error) {
        return lostWhereBroken(error);
      }
    }));
  }

  release(
    key: string,
    incarnation: string,
    epoch: number,
    after?: Stamp,
  ): Promise<boolean> {
    return this.#master.withdraw(key, incarnation, epoch, after);
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    return await this.#master.list(prefix, cursor, limit);
  }

  read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    return this.#master.read(key, fields, knows);
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    checkRange(range);
    return await this.#master.range(key, range, knows);
  }

  async commit(commit: Commit): Promise<CommitReply> {
    checkCommit(commit);
    return await this.#master.commit(commit);
  }

  close(): Promise<void> {
    return this.#master.close();
  }

  /**
   * Ends a contest that outlasted its grace time: no node withdraws the claim of a node that died,
   * or a claim whose copy came late.
   */
  async #judge(key: string, owner: MasterClaim): Promise<void> {
    const { masterName: master, boundMs, now } = this.#parts;
    if (owner.master !== master) return;
    const known = this.#contests.get(key);
    if (known?.epoch !== owner.epoch) {
      const [oldest] = this.#contests.keys();
      if (this.#contests.size >= MAX_CONTESTS) this.#contests.delete(oldest as string);
      this.#contests.set(key, { epoch: owner.epoch, since: now() });
    } else if (now() - known.since > GRACE_RECHECKS * this.recheckMs + BOUNDS * boundMs) {
      this.#contests.delete(key);
      await this.#master.settle(key, owner.incarnation, owner.epoch);
    }
  }

  /** The claim that this attempt wrote. */
  #ownClaim(claims: readonly MasterClaim[], { incarnation, opId }: Claim): MasterClaim | undefined {
    const { masterName: master } = this.#parts;
    return claims.find((claim) =>
      claim.master === master && claim.opId === opId && claim.incarnation === incarnation
    );
  }
}

function ownerIn(claims: readonly MasterClaim[]): Ownership | null {
  const owner = greatest(claims);
  return owner && ownershipOf(owner);
}
