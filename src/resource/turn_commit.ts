/**
 * Commits one ownership's turns: a turn's writes and the answer for its idempotency key, in one
 * step.
 *
 * Takes a turn's end; resolves once its writes are in the store under this ownership's epoch, or
 * throws: `not_owner` if the ownership has ended meanwhile.
 *
 * Source: `docs/design.md`, State.
 */
import { AtlasError, isAtlasError } from "../errors.ts";
import { IDEMPOTENCY_MS, PRUNE_DELAY_MS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import { refusalOf } from "../model/refusal.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import { backoffMs, pause } from "../time/wait.ts";
import { IdempotencyStore } from "./idempotency.ts";
import type { Writes } from "./offline_log.ts";
import { OwnState } from "./own_state.ts";
import type { HeldOwnership } from "./reassertion.ts";
import { TurnStorage } from "./storage.ts";

/** Pauses between repeats of a commit whose outcome is unknown, in ms. */
const COMMIT_PAUSE_MS = 20;
const COMMIT_PAUSE_MOST_MS = 500;
/**
 * How long before its deadline a call whose turn can't be committed fails with the reason, in ms;
 * or its time divided by `TELL_SHARE`, if that is less.
 */
const TELL_MS = 250;
const TELL_SHARE = 4;

/** What a turn commit needs of its host. */
export interface TurnCommitParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly stats: { commits: number };
  /** The id of the store's lineage, if this node knows it. */
  readonly lineage: string | undefined;
}

/** The ownership that turns are committed under. */
export interface CommittingOwnership extends HeldOwnership {
  /** The earliest time at which answers can have expired, on the monotonic clock. */
  pruneAt: number;
  /** The error for operations after the ownership has ended. */
  lost(maybeExecuted: boolean): AtlasError;
}

export class TurnCommit {
  readonly storage: TurnStorage;
  readonly #parts: TurnCommitParts;
  readonly #ownership: CommittingOwnership;
  /** Whether no turn had been committed to the state when this began. */
  readonly #isFresh: boolean;
  #answers: IdempotencyStore | null = null;
  /** The number of turns that were committed or attempted. */
  turns = 0;

  constructor(parts: TurnCommitParts, ownership: CommittingOwnership) {
    this.#parts = parts;
    this.#ownership = ownership;
    this.storage = new TurnStorage(parts, ownership);
    // Stores without one write order don't report the last turn.
    this.#isFresh = ownership.last.epoch === 0 && !ownership.offline?.isProvisional &&
      parts.store.recheckMs === undefined;
  }

  /** Begins a turn. */
  begin(): void {
    this.storage.begin();
  }

  /** Ends the turn; writes that were not committed are dropped. */
  drop(): void {
    this.storage.end();
  }

  /** The earlier result for this call's idempotency key; undefined if the key has no answer. */
  async find(call: Call, idempotencyKey: string): Promise<{ result: unknown } | undefined> {
    return await this.#answerStore.find(idempotencyKey, call.method, call.arguments());
  }

  /** Reads which idempotency keys have answers, concurrently with turns. */
  learn(): void {
    if (!this.#isFresh) void this.#answerStore.learn();
  }

  get #answerStore(): IdempotencyStore {
    return (this.#answers ??= new IdempotencyStore({
      state: new OwnState(this.#parts, this.#ownership),
      clock: this.#parts.clock,
      ownership: this.#ownership,
      storage: this.storage,
      isFresh: this.#isFresh,
    }));
  }

  /** Whether the running turn wrote anything. */
  get isDirty(): boolean {
    return this.storage.isDirty;
  }

  /** Deletes expired answers in the running turn. */
  async prune(): Promise<void> {
    this.#ownership.pruneAt = await this.#answerStore.prune();
  }

  /**
   * Ends the turn by committing what it wrote. `call`: the call that waits for the commit, if any.
   */
  commit(call: Call | null = null): Promise<void> {
    const writes: Writes = this.storage.end() ?? new Map();
    const written = this.write(writes, call?.deadline);
    return this.#answers === null ? written : written.then(() => this.#answers?.counted(writes));
  }

  /** Ends the turn by committing what it wrote together with its answer, for repeats. */
  async commitAnswer(call: Call, idempotencyKey: string, result: unknown): Promise<void> {
    const writes: Writes = this.storage.end() ?? new Map();
    await this.#answers?.add(idempotencyKey, call.method, result, writes);
    await this.write(writes, call.deadline);
    this.#answers?.committed(idempotencyKey, writes);
    const at = this.#parts.clock.now() + IDEMPOTENCY_MS + PRUNE_DELAY_MS;
    this.#ownership.pruneAt = Math.min(this.#ownership.pruneAt, at);
  }

  /**
   * Commits as a turn of this ownership. If the answer gets lost the commit is repeated, under the
   * same turn number, while the lease holds. While the owner operates without the store the turn is
   * logged instead. A turn that the store has refused fails with the store's reason: at once, or
   * shortly before `deadline` if a retry may soon succeed.
   */
  async write(writes: Writes, deadline: number = Infinity): Promise<void> {
    const { store, clock } = this.#parts;
    const left = deadline - clock.now();
    const giveUp = deadline - Math.min(TELL_MS, Math.max(0, left) / TELL_SHARE);
    /** Whether an attempt may have been applied, or may still be applied. */
    let isInDoubt = false;
    const { key, owner: { incarnation, epoch } } = this.#ownership;
    const puts: [string, string][] = [];
    const deletes: string[] = [];
    for (const [field, text] of writes) {
      if (text === null) deletes.push(field);
      else puts.push([field, text]);
    }
    const turn = ++this.turns;
    const { last: after } = this.#ownership;
    for (let attempt = 0;; attempt++) {
      if (!this.#ownership.holds()) throw this.#ownership.lost(true);
      const { offline } = this.#ownership;
      if (offline) {
        // A turn that may be in the store has to stay in the log.
        if (attempt === 0) offline.checkRoom(key);
        // The outcome of a commit that was sent before is known when the store is back.
        offline.keep(writes, attempt > 0 ? { epoch, turn } : null);
        return this.storage.kept(writes);
      }
      try {
        const { lineage } = this.#parts;
        const reply = await store.commit(
          lineage === undefined
            ? { key, incarnation, epoch, turn, after, puts, deletes }
            : { key, incarnation, epoch, turn, after, puts, deletes, lineage },
        );
        if (reply === "committed" && this.#parts.lineage === lineage) {
          this.#ownership.last = { epoch, turn };
          this.#parts.stats.commits++;
          return this.storage.committed(writes);
        }
        if (this.#ownership.offline) continue;
        if (reply === "fenced") {
          this.#ownership.fenced();
          break;
        }
        // A copy of the store that has since been replaced committed it: the commit is repeated to
        // the new copy.
        if (reply !== "moved" && reply !== "committed") {
          if (!this.#ownership.isOver) this.#ownership.behind(reply.lost);
          break;
        }
        // Another copy of the store answers: this node's ownerships are being reasserted to it.
        isInDoubt = true;
        await this.#pause(attempt);
      } catch (error) {
        if (!isAtlasError(error) || !error.retryable) throw error;
        const refusal = refusalOf(error);
        if (refusal === null) isInDoubt = true;
        const isOver = refusal === "lasting" || clock.now() >= giveUp;
        if (!isInDoubt && isOver && !this.#ownership.offline) throw error;
        await this.#pause(attempt, isInDoubt ? Infinity : giveUp - clock.now());
      }
    }
    throw this.#ownership.lost(true);
  }

  #pause(attempt: number, mostMs: number = Infinity): Promise<void> {
    const { clock, random } = this.#parts;
    const ms = backoffMs(random, attempt, COMMIT_PAUSE_MS, COMMIT_PAUSE_MOST_MS);
    return pause(clock, Math.max(1, Math.min(ms, mostMs)));
  }
}
