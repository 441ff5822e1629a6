/**
 * One resource's answers by idempotency key.
 *
 * The answer to a call with a key is written in the same commit as its state, so that a repeat
 * finds either both or neither. Only answers of calls that succeeded are kept: a failed turn
 * changed nothing, and may be tried again.
 *
 * Fields in the store: `i:<key>` the method, its answer and its arguments' digest,
 * `t:<wall ms, 14 digits>:<key>` its date (for pruning, oldest first), `n` the number of answers.
 *
 * Source: `docs/design.md`, State; the IETF draft "The Idempotency-Key HTTP Header Field".
 */
import { AtlasError } from "../errors.ts";
import { IDEMPOTENCY_MS, MAX_IDEMPOTENCY_RECORDS, PRUNE_DELAY_MS } from "../limits.ts";
import { fingerprint } from "../model/fingerprint.ts";
import { quoted } from "../model/options.ts";
import { textToCount, textToValue, unreadable, valueToText } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import { AnsweredKeys } from "./answered_keys.ts";
import { keyOutOfReach, type Writes } from "./offline_log.ts";
import type { OwnState } from "./own_state.ts";
import type { HeldOwnership } from "./reassertion.ts";
import type { TurnStorage } from "./storage.ts";

/** Expired answers that one read returns, and those deleted with each new one. */
const PRUNE_FETCH = 256;
const PRUNE_EACH = 2;
/** Answers of this epoch that are cached, and the longest such, in characters. */
const RECENT = 32;
const RECENT_CHARACTERS = 1_024;

const DATE_DIGITS = 14;

/** What the answers need of their ownership. */
export type AnswersOwnership = Pick<
  HeldOwnership,
  "key" | "offline" | "isOver" | "operatesOffline"
>;

export interface AnswersParts {
  readonly state: OwnState;
  readonly clock: Clock;
  readonly ownership: AnswersOwnership;
  readonly storage: TurnStorage;
  /** Whether no answers existed when its ownership began. */
  readonly isFresh: boolean;
}

/** The idempotency key of a date field. */
function keyOf(field: string): string {
  return field.slice(2 + DATE_DIGITS + 1);
}

/** The wall-clock time of a date field, in ms; 0 if the field has no time. */
function dateOf(field: string): number {
  return Number(field.slice(2, 2 + DATE_DIGITS)) || 0;
}

export class IdempotencyStore {
  readonly #state: OwnState;
  readonly #clock: Clock;
  readonly #ownership: AnswersOwnership;
  readonly #storage: TurnStorage;
  /** The number of answers, as stored; null before it was read. */
  #count: number | null = null;
  /** Date fields of expired answers, to be deleted. */
  #expired: string[] = [];
  #prunedAt = -Infinity;
  #recent = new Map<string, string>();
  /** Which keys have answers; null if the type doesn't operate without the store. */
  readonly #keys: AnsweredKeys | null;
  /** The digest of the running call's arguments. */
  #asked = "";

  constructor({ state, clock, ownership, storage, isFresh }: AnswersParts) {
    this.#state = state;
    this.#clock = clock;
    this.#ownership = ownership;
    this.#storage = storage;
    this.#keys = ownership.operatesOffline
      ? new AnsweredKeys({ state, clock, ownership, keyOf })
      : null;
    if (!isFresh) return;
    this.#count = 0;
    this.#keys?.none();
  }

  /**
   * The earlier result for this key; undefined if the key has no answer.
   *
   * @throws AtlasError `bad_request` if the key was used for another method, or with other
   * arguments.
   */
  async find(
    idempotencyKey: string,
    method: string,
    args: readonly unknown[],
  ): Promise<{ result: unknown } | undefined> {
    // Computed now, because the method may change its arguments.
    this.#asked = fingerprint(args);
    const text = this.#recent.get(idempotencyKey) ?? await this.#read(idempotencyKey);
    if (text === null) return undefined;
    const what = `the answer for idempotency key ${quoted(idempotencyKey)}`;
    const answer = textToValue(text, what);
    if (!Array.isArray(answer) || answer.length < 2) throw unreadable(what, "it is not an answer");
    const [answered, result, asked = this.#asked] = answer;
    if (answered === method && asked === this.#asked) return { result };
    const used = `the idempotency key ${quoted(idempotencyKey)} was already used for ${
      quoted(answered)
    }`;
    throw new AtlasError(
      "bad_request",
      answered === method
        ? `${used} with other arguments: a repeat must have equal ones`
        : `${used}, it can't be used for ${quoted(method)}`,
    );
  }

  /** Reads which keys have answers, for use while the store is out of reach. Never rejects. */
  async learn(): Promise<void> {
    const known = await this.#keys?.learn() ?? null;
    if (known !== null) this.#count ??= known;
  }

  async #read(idempotencyKey: string): Promise<string | null> {
    if (this.#ownership.offline) return this.#recall(idempotencyKey);
    const fields = this.#count === null ? [`i:${idempotencyKey}`, "n"] : [`i:${idempotencyKey}`];
    const [text = null, count] = await this.#state.read(fields);
    // During the read the store may have become unreachable, and another node may have become the
    // owner.
    if (this.#ownership.offline) return this.#recall(idempotencyKey);
    if (this.#count === null) this.#count = textToCount(count, "the number of its answers");
    return text;
  }

  /**
   * The earlier answer for a key, as far as that is known without the store.
   *
   * @throws AtlasError `unavailable` if there may be an answer in the store.
   */
  #recall(idempotencyKey: string): string | null {
    const kept = this.#storage.peek(`i:${idempotencyKey}`);
    if (kept !== undefined) return kept;
    if (this.#keys?.isNew(idempotencyKey)) return null;
    throw keyOutOfReach(this.#ownership.key, idempotencyKey);
  }

  /**
   * Adds a call's answer to its turn's writes, and deletes some expired ones.
   *
   * @throws AtlasError `overloaded` if there are too many answers that have not expired.
   */
  async add(
    idempotencyKey: string,
    method: string,
    result: unknown,
    writes: Writes,
  ): Promise<void> {
    const now = this.#clock.wall();
    await this.#findExpired(now);
    let count = this.#count ?? 0;
    for (const field of this.#expired.splice(0, PRUNE_EACH)) {
      writes.set(field, null);
      const expired = keyOf(field);
      writes.set(`i:${expired}`, null);
      this.#recent.delete(expired);
      count--;
    }
    if (++count > MAX_IDEMPOTENCY_RECORDS) {
      throw new AtlasError(
        "overloaded",
        `${this.#ownership.key} has ${MAX_IDEMPOTENCY_RECORDS} answers for idempotency keys already`,
      );
    }
    const date = String(Math.max(0, Math.floor(now))).padStart(DATE_DIGITS, "0");
    writes.set(`i:${idempotencyKey}`, valueToText([method, result, this.#asked], "the result"));
    writes.set(`t:${date}:${idempotencyKey}`, "");
    writes.set("n", String(count));
  }

  /**
   * Deletes expired answers in the running turn. Resolves to when more will expire, on the
   * monotonic clock; Infinity if there are none.
   */
  async prune(): Promise<number> {
    const [now, wall] = [this.#clock.now(), this.#clock.wall()];
    if (this.#ownership.offline) return now + PRUNE_DELAY_MS;
    if (this.#count === null) {
      const [text] = await this.#state.read(["n"]);
      this.#count = textToCount(text, "the number of its answers");
    }
    if (this.#count === 0) {
      this.#keys?.none();
      return Infinity;
    }
    void this.learn();
    const range = { start: "t:", end: "t;", limit: PRUNE_FETCH, reverse: false };
    const rows = await this.#state.range(range);
    const firstValid = rows.findIndex(([field]) => dateOf(field) >= wall - IDEMPOTENCY_MS);
    const expired = firstValid === -1 ? rows : rows.slice(0, firstValid);
    let count = this.#count;
    for (const [field] of expired) count = this.#drop(field, count);
    this.#expired = [];
    if (rows.length === 0) count = 0;
    if (count !== this.#count) this.#storage.reserve("n", count > 0 ? String(count) : null);
    if (count <= 0) return Infinity;
    const oldest = rows[firstValid]?.[0];
    // Deletes several answers at once, instead of each when it expires.
    return oldest === undefined
      ? now
      : now + dateOf(oldest) - wall + IDEMPOTENCY_MS + PRUNE_DELAY_MS;
  }

  #drop(field: string, count: number): number {
    const idempotencyKey = keyOf(field);
    this.#storage.reserve(field, null);
    this.#storage.reserve(`i:${idempotencyKey}`, null);
    this.#recent.delete(idempotencyKey);
    return count - 1;
  }

  /** These writes are in the store. */
  counted(writes: Writes): void {
    const text = writes.get("n");
    if (text !== undefined) this.#count = Number(text ?? 0);
    this.#keys?.wrote(writes);
  }

  /** The writes that {@link add} made are in the store. */
  committed(idempotencyKey: string, writes: Writes): void {
    this.counted(writes);
    const text = writes.get(`i:${idempotencyKey}`) as string;
    if (text.length <= RECENT_CHARACTERS) this.#recent.set(idempotencyKey, text);
    if (this.#recent.size <= RECENT) return;
    const [oldest] = this.#recent.keys();
    this.#recent.delete(oldest as string);
  }

  async #findExpired(now: number): Promise<void> {
    if (this.#ownership.offline) return;
    if (this.#expired.length > 0 || this.#clock.now() - this.#prunedAt < PRUNE_DELAY_MS) return;
    const before = String(Math.max(0, Math.floor(now - IDEMPOTENCY_MS))).padStart(DATE_DIGITS, "0");
    const rows = await this.#state.range({
      start: "t:",
      end: `t:${before}`,
      limit: PRUNE_FETCH,
      reverse: false,
    });
    this.#expired = rows.map(([field]) => field);
    // A full page means that more answers may follow: reads again once these are deleted.
    if (rows.length < PRUNE_FETCH) this.#prunedAt = this.#clock.now();
  }
}
