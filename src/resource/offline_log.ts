/**
 * The log of a resource that operates while its node can't reach the store.
 *
 * Takes the writes of turns that can't be committed now, in order; returns them once the state in
 * the store is known, or reports that they no longer apply to that state.
 *
 * Source: `docs/design.md`, Continuing without the store; Brewer, "CAP Twelve Years Later" (2012):
 * detect the partition, mark what is done in it, recover.
 */
import { AtlasError } from "../errors.ts";
import { MAX_OFFLINE_CHARACTERS, MAX_OFFLINE_TURNS } from "../limits.ts";
import { quoted } from "../model/options.ts";
import type { DegradedVerdict } from "../model/ownership.ts";
import type { Stamp } from "../ports/store.ts";

/** The size of all offline logs of one node. */
export interface OfflineBudget {
  characters: number;
}

/** A turn that was answered and may not be in the store. */
export interface PendingTurn {
  readonly writes: Writes;
  /**
   * The state's last turn if a commit whose answer got lost was applied; null: no such commit was
   * sent.
   */
  tried: Stamp | null;
}

export class OfflineLog {
  /** The verdict that marks its answers. */
  verdict: DegradedVerdict = "suspect";
  /** Whether another owner won: `onConflict` then reads what was written here. */
  isLost = false;
  /** Whether it was activated without the store: nothing of its state is known. */
  readonly isProvisional: boolean;
  readonly #budget: OfflineBudget;
  readonly #turns: PendingTurn[] = [];
  #hasAnswered = false;

  constructor(budget: OfflineBudget, isProvisional: boolean) {
    this.#budget = budget;
    this.isProvisional = isProvisional;
  }

  /** The number of logged turns. */
  get turns(): number {
    return this.#turns.length;
  }

  /** Whether anything was answered or written that another owner doesn't know of. */
  get hasAnswered(): boolean {
    return this.#hasAnswered || this.#turns.length > 0;
  }

  /** Records that a call is answered; returns the verdict for it. */
  answered(): DegradedVerdict {
    this.#hasAnswered = true;
    return this.verdict;
  }

  /** For turns that write. @throws AtlasError `overloaded` if the log is full. */
  checkRoom(key: string): void {
    if (this.#turns.length >= MAX_OFFLINE_TURNS) {
      const what = `${key} has logged ${MAX_OFFLINE_TURNS} turns`;
      throw new AtlasError("overloaded", `${what} since the store went out of reach`);
    }
    if (this.#budget.characters >= MAX_OFFLINE_CHARACTERS) {
      const what = `this node has logged ${MAX_OFFLINE_CHARACTERS} characters of turns`;
      throw new AtlasError("overloaded", `${what} since the store went out of reach`);
    }
  }

  /** Logs a turn's writes. */
  keep(writes: Writes, tried: Stamp | null): void {
    this.#turns.push({ writes, tried });
    this.#budget.characters += sizeOf(writes);
  }

  /** The oldest logged turn; undefined if the log is empty. */
  get first(): PendingTurn | undefined {
    return this.#turns[0];
  }

  /** The oldest logged turn is in the store. */
  committed(): void {
    const turn = this.#turns.shift();
    if (turn) this.#budget.characters -= sizeOf(turn.writes);
  }

  /** Clears the log. Returns how many turns it had. */
  clear(): number {
    const turns = this.#turns.length;
    while (this.#turns.length > 0) this.committed();
    return turns;
  }

  /**
   * Whether the state in the store is still where it was when the resource went offline: then all
   * logged turns may be committed, in order. A commit that was sent before, and whose answer got
   * lost, may have been applied: that turn is then removed from the log.
   *
   * @param left the last turn that was certainly in the state.
   * @param found the last turn that it has now.
   */
  fits(left: Stamp, found: Stamp): boolean {
    if (isSame(left, found)) return true;
    const tried = this.first?.tried;
    if (!tried || !isSame(tried, found)) return false;
    this.committed();
    return true;
  }
}

/** The error for a read that needs the store. */
export function outOfReach(key: string): AtlasError {
  const message = `${key} goes on without the store: what it hasn't read yet can't be read now`;
  return new AtlasError("unavailable", message);
}

/** The error for listing its storage, of which only a part is cached. */
export function unlistable(key: string): AtlasError {
  const message = `${key} goes on without the store: its storage can't be listed now`;
  return new AtlasError("unavailable", message);
}

/** The error for a call whose idempotency key may have been answered before. */
export function keyOutOfReach(key: string, idempotencyKey: string): AtlasError {
  const what = `whether idempotency key ${quoted(idempotencyKey)} was answered before`;
  const message = `${key} goes on without the store: ${what} can't be read now`;
  return new AtlasError("unavailable", message);
}

function isSame(one: Stamp, other: Stamp): boolean {
  return one.epoch === other.epoch && one.turn === other.turn;
}

function sizeOf(writes: Writes): number {
  let size = 0;
  for (const [field, text] of writes) size += field.length + (text?.length ?? 0);
  return size;
}

/** One turn's writes: fields and their new texts; null deletes. */
export type Writes = Map<string, string | null>;
