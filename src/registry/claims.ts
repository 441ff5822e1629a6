/**
 * Claims a key for this node's incarnation. Takes a key; gives the ownership that is valid
 * afterwards, of this node or of another one.
 *
 * A claim may name a dead owner as the expected one, because dead is permanent. It may name this
 * node itself: that finds the entry of an earlier claim whose answer got lost.
 *
 * Source: `docs/design.md`, Claims.
 */
import { AtlasError, isAtlasError } from "../errors.ts";
import type { Ownership } from "../model/ownership.ts";
import { rrpAt } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Claim, ClaimReply, LineageName, Stamp, Store } from "../ports/store.ts";
import { pause } from "../time/wait.ts";
import type { NodeLife } from "./lease.ts";
import { quarantined } from "./lineage.ts";
import type { Membership } from "./membership.ts";

/** The number of compare-and-sets that one claim may lose to other claims before it fails. */
const MAX_ROUNDS = 16;
/** The number of repeats of one attempt whose answer got lost. */
const MAX_REPEATS = 3;
const REPEAT_PAUSE_MS = 20;

export interface ClaimStats {
  claims: number;
  claimsLost: number;
}

/** The result of a claim. */
export interface Acquired {
  /** The ownership that is valid afterwards. */
  readonly owner: Ownership;
  /** The last turn that the key's state has, if this life won. */
  readonly last: Stamp;
  /** Whether this life won and the state lacks committed turns. */
  readonly isStateLost: boolean;
  /** The lineage of this result. */
  readonly lineage: LineageName;
}

/** For a state that no turn was ever committed to. */
export const NO_TURNS: Stamp = { epoch: 0, turn: 0 };

export class Claims {
  readonly stats: ClaimStats = { claims: 0, claimsLost: 0 };
  readonly #store: Store;
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(store: Store, membership: Membership, clock: Clock, random: Random) {
    this.#store = store;
    this.#membership = membership;
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * Claims `key` for `life`, or finds out who owns it. If the answer names `life`, the claim was
   * won while its lease held.
   *
   * @throws AtlasError `unavailable` if the store doesn't answer, the lease lapsed, or the store's
   * lineage isn't settled or changed meanwhile.
   */
  async acquire(
    key: string,
    life: NodeLife,
    place: { region: string; node: string },
  ): Promise<Acquired> {
    // The expected owner and its death were read in one lineage. The claim is valid in that lineage
    // only.
    const lineage = this.#membership.lineages.toClaim(key);
    const rrp = rrpAt(place.region, place.node, key);
    let expected: Claim["expected"] = null;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const { incarnation } = life;
      const opId = this.#random.uuid();
      const reply = await this.#attempt(life, { key, rrp, incarnation, opId, expected, lineage });
      // The lease may have lapsed while the answer was on its way.
      if (!life.lease.holds()) throw new AtlasError("unavailable", "this node's lease lapsed");
      if (reply.quarantined) this.#membership.look();
      if (reply.quarantined || !this.stands(lineage)) throw quarantined(key);
      if (reply.won && reply.owner) {
        this.stats.claims++;
        const { owner, last = NO_TURNS, isStateLost = false } = reply;
        return { owner, last, isStateLost, lineage };
      }
      const owner = reply.owner;
      if (owner === null) expected = null;
      else if (
        owner.incarnation === incarnation || await this.#membership.isDead(owner.incarnation)
      ) expected = { incarnation: owner.incarnation, epoch: owner.epoch };
      else {
        this.stats.claimsLost++;
        return { owner, last: NO_TURNS, isStateLost: false, lineage };
      }
    }
    throw new AtlasError("unavailable", `${key} changed its owner ${MAX_ROUNDS} times meanwhile`);
  }

  /** The store's present lineage; null before it has answered once. */
  get present(): LineageName | null {
    return this.#membership.lineages.present;
  }

  /** The same, by `markOf`. */
  get presentMark(): string | undefined {
    return this.#membership.lineages.mark;
  }

  /** Whether the store answered recently. */
  get isReachable(): boolean {
    return this.#membership.isReachable();
  }

  /** Whether a claim made in this lineage counts now. */
  stands(lineage: LineageName): boolean {
    return this.#membership.lineages.stands(lineage);
  }

  /** One compare-and-set, repeated with the same id if the answer is lost. */
  async #attempt(life: NodeLife, claim: Claim): Promise<ClaimReply> {
    for (let repeat = 1;; repeat++) {
      if (!life.lease.holds()) throw new AtlasError("unavailable", "this node's lease lapsed");
      if (claim.lineage && !this.stands(claim.lineage)) throw quarantined(claim.key);
      try {
        return await this.#store.claim(claim);
      } catch (error) {
        if (!isAtlasError(error) || !error.retryable || repeat >= MAX_REPEATS) throw error;
        await pause(this.#clock, REPEAT_PAUSE_MS * repeat);
      }
    }
  }
}
