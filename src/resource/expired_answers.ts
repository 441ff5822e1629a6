/**
 * Deletes expired answers to idempotency keys from resources that are no longer in memory, so that
 * nobody has to call them for it. Takes each key when it is released, with the time at which its
 * answers expire. Claims the key for one commit only, without making an instance.
 *
 * The list is in memory only. If the node ends, the remaining answers are deleted after the
 * resource's next release.
 */
import { HookCall, NOWHERE } from "../events/hook_call.ts";
import { PRUNE_DELAY_MS } from "../limits.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Claims } from "../registry/claims.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Activation } from "./activation.ts";
import type { ActivationHost } from "./activation_host.ts";
import { releaseOwnership, tellLostState } from "./reassertion.ts";
import { ownershipOf } from "./reconciliation.ts";
import { TurnCommit, type TurnCommitParts } from "./turn_commit.ts";

/** Keys that one node remembers; the oldest are dropped. */
const MOST = 100_000;
/** The number of attempts for one key while the store can't be reached. */
const MOST_ATTEMPTS = 3;
/** How many keys are processed at once. */
const AT_ONCE = 16;

interface ExpiringKey {
  readonly at: number;
  readonly attempts: number;
}

export interface ExpiredAnswersParts {
  readonly host: TurnCommitParts & Pick<ActivationHost<unknown>, "stats" | "tell">;
  readonly clock: Clock;
  readonly claims: Claims;
  readonly place: { readonly region: string; readonly node: string };
  /** The life that may own the key now. Null if no life may, or the key is already active here. */
  readonly lifeFor: (key: string) => NodeLife | null;
  /** Makes activations of the key on this node wait for `work`. */
  readonly hold: (key: string, work: Promise<void>) => unknown;
}

export class ExpiredAnswers {
  readonly #parts: ExpiredAnswersParts;
  /** Roughly in the order in which they are due. */
  readonly #left = new Map<string, ExpiringKey>();
  #timer: Timer | null = null;
  #isWorking = false;

  constructor(parts: ExpiredAnswersParts) {
    this.#parts = parts;
  }

  /** Schedules `key` for `at`, on the monotonic clock. */
  add(key: string, at: number, attempts: number = 0): void {
    this.#left.delete(key);
    this.#left.set(key, { at, attempts });
    for (const oldest of this.#left.keys()) {
      if (this.#left.size <= MOST) break;
      this.#left.delete(oldest);
    }
    this.#wait();
  }

  /** Stops. */
  stop(): void {
    this.#left.clear();
    this.#timer?.cancel();
    this.#timer = null;
  }

  #wait(): void {
    const [first] = this.#left.values();
    if (this.#timer || this.#isWorking || !first) return;
    const { clock } = this.#parts;
    this.#timer = clock.after(Math.max(0, first.at - clock.now()), () => this.#work());
  }

  async #work(): Promise<void> {
    this.#timer = null;
    this.#isWorking = true;
    const now = this.#parts.clock.now();
    const due: [string, ExpiringKey][] = [];
    for (const entry of this.#left) {
      if (entry[1].at > now || due.length === AT_ONCE) break;
      due.push(entry);
      this.#left.delete(entry[0]);
    }
    await Promise.all(due.map(([key, { attempts }]) => this.#remove(key, attempts)));
    this.#isWorking = false;
    this.#wait();
  }

  async #remove(key: string, attempts: number): Promise<void> {
    const { clock, lifeFor, hold } = this.#parts;
    const life = lifeFor(key);
    // If the resource is active here or on another node, its owner deletes them.
    if (life === null) return;
    const work = this.#drop(key, life).then((at) => {
      if (at < Infinity) this.add(key, at);
    }, () => {
      if (attempts + 1 < MOST_ATTEMPTS) this.add(key, clock.now() + PRUNE_DELAY_MS, attempts + 1);
    });
    hold(key, work);
    await work;
  }

  /** Resolves to the time at which more answers expire, on the monotonic clock. */
  async #drop(key: string, life: NodeLife): Promise<number> {
    const { host, claims, place } = this.#parts;
    const { owner, last, isStateLost, lineage } = await claims.acquire(key, life, place);
    if (owner.incarnation !== life.incarnation || !claims.stands(lineage)) return Infinity;
    if (isStateLost) tellLostState(host, key, owner);
    const ownership = ownershipOf(host, key, owner, life, last);
    const turnCommit = new TurnCommit(host, ownership);
    try {
      turnCommit.begin();
      await turnCommit.prune();
      if (turnCommit.isDirty) await turnCommit.commit();
      return ownership.pruneAt;
    } finally {
      await releaseOwnership(host, ownership);
    }
  }
}

/**
 * Deletes a resource's expired answers, in a turn of its own, if any can have expired by `now`.
 * Resolves when they are deleted; never rejects.
 */
export async function tidy(activation: Activation, now: number): Promise<void> {
  if (activation.pruneAt > now) return;
  // Tried once, and again later if the store can't be reached.
  activation.pruneAt = now + PRUNE_DELAY_MS;
  const { key } = activation;
  const hookCall = new HookCall(
    key,
    "tidying",
    Infinity,
    NOWHERE,
    () => activation.turnCommit.prune(),
  );
  activation.receive(hookCall);
  await hookCall.ended;
}
