/**
 * Holds the resources that operate while their node can't reach the store, and reconciles them when
 * it can again.
 *
 * Takes the resources that were alive when the lease lapsed, and the node's next life; gives
 * each either an ownership with all its turns committed, or the winner to its `onConflict`.
 *
 * Source: `docs/design.md`, Continuing without the store.
 */
import { AtlasError, isAtlasError, messageOf } from "../errors.ts";
import { CONTESTED_MS, MAX_CONTESTED, RECHECKS_AT_ONCE } from "../limits.ts";
import type { Ownership } from "../model/ownership.ts";
import { rrpAt } from "../model/rrp.ts";
import type { Stamp } from "../ports/store.ts";
import { type Acquired, type Claims, NO_TURNS } from "../registry/claims.ts";
import type { NodeLife } from "../registry/lease.ts";
import { quarantined } from "../registry/lineage.ts";
import { backoffMs, pause, Signal } from "../time/wait.ts";
import { Activation } from "./activation.ts";
import type { ActivationHost, HostedType } from "./activation_host.ts";
import { type OfflineBudget, OfflineLog } from "./offline_log.ts";
import { releaseOwnership, tellLoss, tellLostState } from "./reassertion.ts";
import { type CommittingOwnership, TurnCommit } from "./turn_commit.ts";

/** Pauses between attempts to claim the key of an offline resource, in ms. */
const RETRY_MS = 50;
const RETRY_MOST_MS = 1_000;

/** What reconciliation needs of its host. */
export interface ReconciliationParts {
  readonly host: ActivationHost<Activation>;
  readonly claims: Claims;
  readonly place: { readonly region: string; readonly node: string };
  /** Tells the winner's node that it won. MUST NOT throw. */
  readonly tellWinner: (key: string, loser: string) => void;
}

export class Reconciliation {
  readonly #parts: ReconciliationParts;
  readonly #offline = new Map<string, Activation>();
  /** Notified when an offline log gets shorter. */
  readonly #fewer = new Signal();
  readonly #budget: OfflineBudget = { characters: 0 };
  /**
   * Keys that were lost here recently → the time until which lookups report it; the oldest first.
   */
  readonly #contested = new Map<string, number>();

  constructor(parts: ReconciliationParts) {
    this.#parts = parts;
  }

  /** The number of offline resources. */
  get size(): number {
    return this.#offline.size;
  }

  /** Whether turns of this key were answered or logged that are not in the store. */
  has(key: string): boolean {
    return this.#offline.has(key);
  }

  /** Whether this node recently lost a key, which it had operated offline, to another owner. */
  isContested(key: string): boolean {
    const until = this.#contested.get(key);
    if (until === undefined) return false;
    if (this.#parts.host.clock.now() < until) return true;
    this.#contested.delete(key);
    return false;
  }

  /** Takes a resource offline. `isProvisional`: nothing of its state is known. */
  goOffline(activation: Activation, isProvisional: boolean): void {
    activation.offline ??= new OfflineLog(this.#budget, isProvisional);
    this.#offline.set(activation.key, activation);
  }

  /**
   * Starts a resource that was activated without the store.
   *
   * @throws AtlasError `unavailable`, or the error of its start.
   */
  async startOffline(
    key: string,
    type: HostedType,
    former: NodeLife,
    epoch: number,
  ): Promise<Activation> {
    const { host, place: { region, node } } = this.#parts;
    const owner = { rrp: rrpAt(region, node, key), incarnation: former.incarnation, epoch };
    const activation = new Activation(host, key, type, owner, former, NO_TURNS);
    this.goOffline(activation, true);
    try {
      await activation.start();
      if (this.has(key)) return activation;
      throw new AtlasError("unavailable", `the store came back while ${key} started`);
    } catch (error) {
      this.drop(activation);
      activation.abandon();
      throw error;
    }
  }

  /** Drops a resource that could not be started or has to end. Its logged turns are lost. */
  drop(activation: Activation): void {
    const { key, offline } = activation;
    if (this.#offline.get(key) !== activation || !offline) return;
    this.#remove(key);
    const turns = offline.clear();
    if (turns === 0) return;
    this.#parts.host.stats.offlineTurnsLost += turns;
    this.#parts.host.tell("error", "offline turns lost", { key, turns });
  }

  /** Drops all offline resources. */
  close(): void {
    for (const activation of this.#offline.values()) {
      this.drop(activation);
      activation.abandon();
    }
  }

  /** Whether turns were answered here that are neither in the store nor dropped. */
  get hasTurns(): boolean {
    for (const { offline } of this.#offline.values()) if (offline?.turns) return true;
    return false;
  }

  /** Resolves once all offline logs are empty. */
  async settled(): Promise<void> {
    while (this.hasTurns) await this.#fewer.wait();
  }

  /** Reconciles all offline resources under the node's new life, some at a time. */
  async open(life: NodeLife): Promise<void> {
    const waiting = [...this.#offline.values()][Symbol.iterator]();
    const work = async (): Promise<void> => {
      for (const activation of waiting) await this.#reconcile(activation, life);
    };
    await Promise.all(Array.from({ length: RECHECKS_AT_ONCE }, work));
  }

  async #reconcile(activation: Activation, life: NodeLife): Promise<void> {
    const { claims, place, host: { clock, random } } = this.#parts;
    const { key, offline } = activation;
    if (offline?.isProvisional && !offline.hasAnswered) {
      // The resource has not answered any call yet, so it can be dropped.
      this.#remove(key);
      return void activation.abandon();
    }
    for (let attempt = 0; this.#isDue(activation, life); attempt++) {
      try {
        return await this.#claimed(activation, life, await claims.acquire(key, life, place));
      } catch (error) {
        if (!isAtlasError(error)) throw error;
        this.#tell("warning", "reconciliation failed", activation, { reason: messageOf(error) });
        await pause(clock, backoffMs(random, attempt, RETRY_MS, RETRY_MOST_MS));
      }
    }
  }

  #isDue(activation: Activation, life: NodeLife): boolean {
    return this.#offline.get(activation.key) === activation && life.lease.holds();
  }

  /** Acts on the claim's result. @throws AtlasError if the key has to be claimed again. */
  async #claimed(activation: Activation, life: NodeLife, acquired: Acquired): Promise<void> {
    const { key } = activation;
    const { owner, last, isStateLost, lineage } = acquired;
    if (owner.incarnation !== life.incarnation) return await this.#yieldTo(activation, owner);
    if (!this.#parts.claims.stands(lineage)) throw quarantined(key);
    if (isStateLost) tellLostState(this.#parts.host, key, owner);
    await activation.hold();
    try {
      if (!this.#isDue(activation, life)) return;
      const { offline } = activation;
      // If a key can have two valid claims, the state's last turn proves nothing.
      const hasOneWriteOrder = this.#parts.host.store.recheckMs === undefined;
      if (!offline || !hasOneWriteOrder || !offline.fits(activation.last, last)) {
        return await this.#yieldTo(activation, owner);
      }
      await this.#commit(activation, offline, life, owner, last);
    } finally {
      activation.resume();
    }
  }

  /** Commits the logged turns one by one, and ends offline operation. */
  async #commit(
    activation: Activation,
    offline: OfflineLog,
    life: NodeLife,
    owner: Ownership,
    last: Stamp,
  ): Promise<void> {
    const { host } = this.#parts;
    const ownership = ownershipOf(host, activation.key, owner, life, last);
    const turnCommit = new TurnCommit(host, ownership);
    // From here on calls of the resource name the new epoch, even if a commit fails.
    [activation.owner, activation.last] = [owner, last];
    const turns = offline.turns;
    for (let kept = offline.first; kept; kept = offline.first) {
      kept.tried = { epoch: owner.epoch, turn: turnCommit.turns + 1 };
      await turnCommit.write(kept.writes);
      activation.last = ownership.last;
      offline.committed();
      this.#fewer.notify();
      host.stats.offlineTurnsCommitted++;
    }
    // The lease may have lapsed before the last answer came. The next life then continues from
    // here.
    if (!this.#isDue(activation, life)) return;
    this.#remove(activation.key);
    activation.reconciled(owner, life, ownership.last);
    this.#tell("info", "reconciled", activation, { turns });
    // Its instance was stopped meanwhile, so no instance serves under this ownership.
    if (activation.isOver) await releaseOwnership(host, activation);
  }

  /** Another owner has or had the key. That owner's state stays. */
  async #yieldTo(activation: Activation, winner: Ownership): Promise<void> {
    const { host, tellWinner } = this.#parts;
    const { key, offline, rrp } = activation;
    // The winner knows everything that was answered here.
    const isConflict = offline?.hasAnswered === true;
    if (offline) offline.verdict = "contested";
    if (isConflict) await activation.hold();
    if (this.#offline.get(key) !== activation) return;
    this.#remove(key);
    if (!isConflict) return await activation.abandon();
    host.stats.conflictsLost++;
    this.#note(key);
    this.#tell("warning", "lost to another owner while offline", activation, {
      winner: winner.rrp,
      turns: offline.turns,
    });
    offline.isLost = true;
    const finalHooks = activation.abandon(Promise.resolve(winner));
    // From here on the key leads to the winner.
    tellWinner(key, rrp);
    await finalHooks;
    host.stats.offlineTurnsLost += offline.clear();
  }

  #remove(key: string): void {
    this.#offline.delete(key);
    this.#fewer.notify();
  }

  #note(key: string): void {
    const { clock } = this.#parts.host;
    this.#contested.delete(key);
    if (this.#contested.size >= MAX_CONTESTED) {
      this.#contested.delete(this.#contested.keys().next().value as string);
    }
    this.#contested.set(key, clock.now() + CONTESTED_MS);
  }

  #tell(
    level: "info" | "warning",
    event: string,
    { key, epoch }: Activation,
    fields: Record<string, string | number>,
  ): void {
    this.#parts.host.tell(level, event, { key, epoch, ...fields });
  }
}

/** An ownership without an instance, for the turn commits under it. */
export function ownershipOf(
  host: Pick<ActivationHost<Activation>, "stats" | "tell">,
  key: string,
  owner: Ownership,
  life: NodeLife,
  last: Stamp,
): CommittingOwnership {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  const ownership: CommittingOwnership = {
    key,
    owner,
    last,
    lineage: undefined,
    offline: null,
    operatesOffline: false,
    pruneAt: Infinity,
    get isOver() {
      return isOver;
    },
    // User code can't reach this ownership.
    turn: () => null,
    holds: () => !isOver && life.lease.holds(),
    fenced: end,
    behind: (kept) => {
      tellLoss(host, ownership, kept);
      ownership.last = kept;
      end();
    },
    lost: () => new AtlasError("unavailable", `${key} could not be reconciled yet`),
  };
  return ownership;
}
