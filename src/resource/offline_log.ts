/**
 * The log of a resource that goes on while its node can't reach the store.
 *
 * Takes the writes of turns that can't be committed now, in order; gives them back once the
 * state in the store is known, or reports that they don't fit it any more.
 *
 * Source: `docs/design.md`, Going on without the store; Brewer, "CAP Twelve Years Later" (2012):
 * detect the partition, mark what is done in it, recover.
 */
import { AtlasError } from "../errors.ts";
import { MAX_ADRIFT_CHARACTERS, MAX_ADRIFT_TURNS } from "../limits.ts";
import { quoted } from "../model/options.ts";
import type { DegradedVerdict } from "../model/ownership.ts";
import type { Stamp } from "../ports/store.ts";

/** What all that is adrift at one node has kept. */
export interface OfflineBudget {
  characters: number;
}

/** A turn that was answered, and isn't known to be in the store. */
export interface PendingTurn {
  readonly writes: Writes;
  /** What the state has if a commit of it was applied whose answer got lost; null: none was sent. */
  tried: Stamp | null;
}

export class OfflineLog {
  /** What its answers are marked with. */
  verdict: DegradedVerdict = "suspect";
  /** Whether another owner's state stays: `onConflict` is shown what was written here. */
  isLost = false;
  /** Whether it was taken without asking the store: nothing of its state is known. */
  readonly isProvisional: boolean;
  readonly #budget: OfflineBudget;
  readonly #kept: PendingTurn[] = [];
  #hasAnswered = false;

  constructor(freight: OfflineBudget, isProvisional: boolean) {
    this.#budget = freight;
    this.isProvisional = isProvisional;
  }

  /** Turns kept. */
  get turns(): number {
    return this.#kept.length;
  }

  /** Whether anybody was told anything, or anything was written: another owner has missed it. */
  get hasAnswered(): boolean {
    return this.#hasAnswered || this.#kept.length > 0;
  }

  /** Notes that a call is answered; gives the mark for it. */
  answered(): DegradedVerdict {
    this.#hasAnswered = true;
    return this.verdict;
  }

  /** For turns that write. @throws AtlasError `overloaded` where no further one can be kept. */
  checkRoom(key: string): void {
    if (this.#kept.length >= MAX_ADRIFT_TURNS) {
      const what = `${key} has kept ${MAX_ADRIFT_TURNS} turns`;
      throw new AtlasError("overloaded", `${what} since the store went out of reach`);
    }
    if (this.#budget.characters >= MAX_ADRIFT_CHARACTERS) {
      const what = `this node has kept ${MAX_ADRIFT_CHARACTERS} characters of turns`;
      throw new AtlasError("overloaded", `${what} since the store went out of reach`);
    }
  }

  /** Keeps a turn's writes. */
  keep(writes: Writes, tried: Stamp | null): void {
    this.#kept.push({ writes, tried });
    this.#budget.characters += sizeOf(writes);
  }

  /** The oldest turn kept; undefined where there is none. */
  get first(): PendingTurn | undefined {
    return this.#kept[0];
  }

  /** The oldest turn kept is in the store. */
  committed(): void {
    const turn = this.#kept.shift();
    if (turn) this.#budget.characters -= sizeOf(turn.writes);
  }

  /** Lets go of all that is kept. Gives how many turns that were. */
  clear(): number {
    const turns = this.#kept.length;
    while (this.#kept.length > 0) this.committed();
    return turns;
  }

  /**
   * Whether the state in the store is where it was left: then all that is still kept may be
   * committed, in order. A commit that went out before, and whose answer got lost, may have
   * been applied: that turn is not kept any more then.
   *
   * @param left the last turn known to be in the state.
   * @param found the last turn that it has.
   */
  fits(left: Stamp, found: Stamp): boolean {
    if (isSame(left, found)) return true;
    const tried = this.first?.tried;
    if (!tried || !isSame(tried, found)) return false;
    this.committed();
    return true;
  }
}

/** The error of reading what can't be read now. */
export function outOfReach(key: string): AtlasError {
  const message = `${key} goes on without the store: what it hasn't read yet can't be read now`;
  return new AtlasError("unavailable", message);
}

/** The error of listing its storage, of which only a part is at hand now. */
export function unlistable(key: string): AtlasError {
  const message = `${key} goes on without the store: its storage can't be listed now`;
  return new AtlasError("unavailable", message);
}

/** The error of a call whose idempotency key may have been answered before. */
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

/** The writes of one turn: fields and their new texts; null deletes. */
export type Writes = Map<string, string | null>;
