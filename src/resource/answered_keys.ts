/**
 * Which idempotency keys a resource's state has answers for, so that a new key can be recognised
 * while the store is out of reach.
 *
 * Kept for types with `partition: "available"` alone, as one number for each key: if two keys share
 * a number, the newer one is only refused.
 */
import { isAtlasError } from "../errors.ts";
import { MAX_KNOWN_ANSWERS } from "../limits.ts";
import { fingerprint } from "../model/fingerprint.ts";
import type { Clock } from "../ports/clock.ts";
import { pause } from "../time/wait.ts";
import type { Writes } from "./offline_log.ts";
import type { OwnState } from "./own_state.ts";
import type { HeldOwnership } from "./reassertion.ts";

/** Date fields that one read returns. */
const PAGE = 1_000;
/** The pause between two attempts to read them, in ms. */
const AGAIN_MS = 1_000;
/** The hexadecimal digits of a digest that fit in a number. */
const DIGITS = 13;

export interface AnsweredKeysParts {
  readonly state: Pick<OwnState, "range">;
  readonly clock: Clock;
  readonly ownership: Pick<HeldOwnership, "offline" | "isOver">;
  /** The idempotency key of a date field. */
  readonly keyOf: (field: string) => string;
}

export class AnsweredKeys {
  readonly #parts: AnsweredKeysParts;
  #known = new Set<number>();
  #isComplete = false;
  #isLearning = false;

  constructor(parts: AnsweredKeysParts) {
    this.#parts = parts;
  }

  /** Whether it is certain that this key has no answer in the state. */
  isNew(idempotencyKey: string): boolean {
    return this.#isComplete && !this.#known.has(numberOf(idempotencyKey));
  }

  /** The state has no answers. */
  none(): void {
    if (!this.#isComplete) this.#known.clear();
    this.#isComplete = true;
  }

  /** These writes are in the state, or in the offline log. */
  wrote(writes: Writes): void {
    for (const [field, text] of writes) {
      if (!field.startsWith("i:")) continue;
      const number = numberOf(field.slice(2));
      if (text === null) this.#known.delete(number);
      else this.#known.add(number);
    }
    if (this.#known.size > MAX_KNOWN_ANSWERS) this.#forget();
  }

  /**
   * Reads the answered keys if they aren't known, concurrently with turns. Resolves to their
   * number, or null if it is unknown. Never rejects.
   */
  async learn(): Promise<number | null> {
    const { clock, ownership } = this.#parts;
    if (this.#isComplete || this.#isLearning) return null;
    this.#isLearning = true;
    try {
      while (!ownership.isOver && !ownership.offline && !await this.#read()) {
        await pause(clock, AGAIN_MS);
      }
    } finally {
      this.#isLearning = false;
    }
    return this.#isComplete ? this.#known.size : null;
  }

  /** Answers whether no retry is needed soon. */
  async #read(): Promise<boolean> {
    const { state, ownership, keyOf } = this.#parts;
    let start = "t:";
    try {
      for (;;) {
        const range = { start, end: "t;", limit: PAGE, reverse: false };
        const rows = await state.range(range);
        // Another owner may have written since this was read.
        if (ownership.offline || ownership.isOver) return true;
        for (const [field] of rows) this.#known.add(numberOf(keyOf(field)));
        if (this.#known.size > MAX_KNOWN_ANSWERS) return this.#forget();
        const last = rows.at(-1)?.[0];
        if (rows.length < PAGE || last === undefined) break;
        start = `${last}\0`;
      }
    } catch (error) {
      if (!isAtlasError(error)) throw error;
      return !error.retryable;
    }
    this.#isComplete = true;
    return true;
  }

  /** The state has too many answers. Returns true, because a retry can't help. */
  #forget(): true {
    this.#known.clear();
    this.#isComplete = false;
    return true;
  }
}

function numberOf(idempotencyKey: string): number {
  return Number.parseInt(fingerprint(idempotencyKey).slice(0, DIGITS), 16);
}
