/**
 * The port `Store` over several masters without one write order. To claim a key, a node reads all
 * claims, writes one at its own master, waits until any rival's claim must have been copied, and
 * reads again. The greatest claim (by epoch, then by incarnation) wins; a loser withdraws its own.
 *
 * Guarantee: eventually one owner. While copying between masters takes less than `boundMs`, always
 * one: each claimer waits twice the bound, so of two concurrent claims both are seen by both
 * before either is confirmed. Where copying takes longer (a partition), two nodes may own one key,
 * and each may commit at its own master; acknowledged calls may then be on both sides, and the app
 * merges. Lookups answer `contested` as soon as both claims are in one place. Within one
 * `recheckMs` the loser finds the winner's claim, stops, and runs `onConflict`. The claim of a
 * node that died is superseded by the owner's later lookups. Fields that both wrote read as those
 * of the greater epoch. A member killed on one side of a partition is dead on both once it has
 * healed, and registers again under a new incarnation.
 *
 * Source: `docs/design.md`, Several masters; Lamport, "A Fast Mutual Exclusion Algorithm" (1987),
 * for Fischer's algorithm and why the wait must exceed a rival's time.
 */
import type { MemberInfo, MemberState } from "../../../src/model/member.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import type { OwnerKnows } from "../../../src/model/lost_turns.ts";
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
import { checkClaim, checkCommit, checkRange, checkTenures, checkWhole } from "../check.ts";
import { lostWhereBroken, NO_STAMP, SINGLE_LINEAGE } from "../lineage.ts";
import { greatest, type MasterBook, ownerOf, ownershipOf, type Stake } from "./master.ts";

export interface OptimisticParts {
  readonly book: MasterBook;
  /** The book's own master, and whether there are others. */
  readonly master: string;
  readonly hasRivals: boolean;
  readonly boundMs: number;
  readonly recheckMs: number;
  /** Monotonic time, ms. */
  now(): number;
  /** Resolves after so many ms. */
  pause(ms: number): Promise<void>;
}

/** Waits of one bound each that a stake gets before it is confirmed; see the file's head. */
const BOUNDS = 2;
/** Rechecks after which every loser must have heard that it lost. */
const GRACE_RECHECKS = 3;
/** Keys whose contest one store remembers. */
const MAX_CONTESTS = 10_000;

/** A contest that was seen, and is not over. */
interface Contest {
  readonly epoch: number;
  readonly since: number;
}

export class OptimisticStore implements Store {
  readonly recheckMs: number;
  readonly #parts: OptimisticParts;
  readonly #book: MasterBook;
  /** Contests of keys that are owned here, the oldest first. */
  readonly #contests = new Map<string, Contest>();

  constructor(parts: OptimisticParts) {
    this.#parts = parts;
    this.#book = parts.book;
    this.recheckMs = parts.recheckMs;
  }

  status(): "up" | "down" {
    return this.#book.up ? "up" : "down";
  }

  register(member: MemberInfo, options: { ifFree: boolean }): Promise<RegisterReply> {
    return this.#book.register(member, options);
  }

  async renew(incarnation: string, seq: number, watch: readonly string[]): Promise<RenewReply> {
    checkWhole("seq", seq, 0);
    return await this.#book.renew(incarnation, seq, watch);
  }

  kill(incarnation: string, seq: number): Promise<MemberState | null> {
    return this.#book.kill(incarnation, seq);
  }

  leave(member: MemberInfo): Promise<void> {
    return this.#book.leave(member);
  }

  members(): Promise<Membership> {
    return this.#book.members();
  }

  async lookup(key: string): Promise<Ownership | null> {
    const stakes = await this.#book.stakes(key);
    const owner = ownerOf(stakes);
    if (owner?.contested) await this.#judge(key, greatest(stakes) as Stake);
    else this.#contests.delete(key);
    return owner;
  }

  async claim(claim: Claim): Promise<ClaimReply> {
    checkClaim(claim);
    const { lineage = SINGLE_LINEAGE } = claim;
    if (lineage.id !== SINGLE_LINEAGE.id) return { won: false, owner: null, quarantined: true };
    const staked = await this.#book.stake(claim);
    const mine = this.#mine(staked, claim);
    if (!mine) return { won: false, owner: told(staked) };
    const { boundMs, hasRivals } = this.#parts;
    if (hasRivals) await this.#parts.pause(BOUNDS * boundMs);
    const stakes = await this.#book.stakes(claim.key);
    const winner = greatest(stakes);
    if (winner?.incarnation === claim.incarnation && winner.epoch === mine.epoch) {
      const left = await this.#book.left?.(claim.key);
      const isStateLost = left?.isLost ?? false;
      return { won: true, owner: ownershipOf(winner), last: left?.last ?? NO_STAMP, isStateLost };
    }
    await this.#book.drop(claim.key, claim.incarnation, mine.epoch);
    return { won: false, owner: told(stakes) };
  }

  /** What stands is as certain as any lookup; masters that copy each other have one lineage. */
  async reassert(
    tenures: readonly Reassertion[],
    lineage: LineageName,
  ): Promise<readonly Standing[] | null> {
    checkTenures(tenures, lineage);
    if (lineage.id !== SINGLE_LINEAGE.id) return null;
    return await Promise.all(tenures.map(async ({ key, incarnation, epoch, after }) => {
      try {
        const owner = ownerOf(await this.#book.stakes(key));
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
    return this.#book.drop(key, incarnation, epoch, after);
  }

  async list(prefix: string, cursor: string | null, limit: number): Promise<OwnershipPage> {
    checkWhole("limit", limit, 1);
    return await this.#book.list(prefix, cursor, limit);
  }

  read(
    key: string,
    fields: readonly string[],
    knows?: OwnerKnows,
  ): Promise<(string | null)[]> {
    return this.#book.read(key, fields, knows);
  }

  async range(key: string, range: Range, knows?: OwnerKnows): Promise<[string, string][]> {
    checkRange(range);
    return await this.#book.range(key, range, knows);
  }

  async commit(commit: Commit): Promise<CommitReply> {
    checkCommit(commit);
    return await this.#book.commit(commit);
  }

  close(): Promise<void> {
    return this.#book.close();
  }

  /**
   * Ends a contest that outlasted its grace: a stake whose claimer died, or whose copy came
   * late by the network, has nobody to take it back.
   */
  async #judge(key: string, owner: Stake): Promise<void> {
    const { master, boundMs, now } = this.#parts;
    if (owner.master !== master) return;
    const known = this.#contests.get(key);
    if (known?.epoch !== owner.epoch) {
      const [oldest] = this.#contests.keys();
      if (this.#contests.size >= MAX_CONTESTS) this.#contests.delete(oldest as string);
      this.#contests.set(key, { epoch: owner.epoch, since: now() });
    } else if (now() - known.since > GRACE_RECHECKS * this.recheckMs + BOUNDS * boundMs) {
      this.#contests.delete(key);
      await this.#book.settle(key, owner.incarnation, owner.epoch);
    }
  }

  /** The stake that this very attempt wrote. */
  #mine(stakes: readonly Stake[], { incarnation, opId }: Claim): Stake | undefined {
    const { master } = this.#parts;
    return stakes.find((stake) =>
      stake.master === master && stake.opId === opId && stake.incarnation === incarnation
    );
  }
}

function told(stakes: readonly Stake[]): Ownership | null {
  const owner = greatest(stakes);
  return owner && ownershipOf(owner);
}
