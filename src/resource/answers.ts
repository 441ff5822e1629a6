/**
 * Answers kept for idempotency keys: the receipt book of one resource.
 *
 * A keyed call's answer is written in the same commit as its state, so that a repeat
 * finds either both or neither. Only answers of calls that succeeded are kept: a
 * failed turn changed nothing, and may be tried again.
 *
 * Fields in the store: `i:<key>` the method and its answer, `t:<wall ms, 14 digits>:<key>` its date
 * (for pruning, oldest first), `n` how many there are.
 *
 * Source: design §3, State; the IETF draft "The Idempotency-Key HTTP Header Field".
 */
import { AtlasError } from "../errors.ts";
import { IDEMPOTENCY_MS, MAX_IDEMPOTENCY_RECORDS } from "../limits.ts";
import { quoted } from "../model/quoted.ts";
import { textToCount, textToValue, unreadable, valueToText } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { outOfReach } from "./adrift.ts";
import type { TurnStorage, Writes } from "./storage.ts";
import type { Tenure } from "./tenure.ts";

/** Expired answers fetched at once, and dropped with each new one. */
const PRUNE_FETCH = 256;
const PRUNE_EACH = 2;
/** How often a resource looks for expired answers, in ms. */
const PRUNE_EVERY_MS = 60_000;
/** Answers of this epoch kept at hand, and the longest such, in characters. */
const RECENT = 32;
const RECENT_CHARACTERS = 1_024;

const DATE_DIGITS = 14;

export class Answers {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #tenure: Pick<Tenure, "key" | "adrift" | "last">;
  readonly #storage: TurnStorage;
  /** Answers kept, as stored; null before it was read. */
  #count: number | null = null;
  /** Date fields of expired answers, to be dropped. */
  #expired: string[] = [];
  #prunedAt = -Infinity;
  #recent = new Map<string, string>();

  constructor(
    store: Store,
    clock: Clock,
    tenure: Pick<Tenure, "key" | "adrift" | "last">,
    storage: TurnStorage,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#tenure = tenure;
    this.#storage = storage;
    // Where no turn was ever committed none was answered.
    if (!tenure.adrift && tenure.last.epoch === 0 && store.recheckMs === undefined) this.#count = 0;
  }

  /**
   * The result answered before under this key; undefined where there is none.
   *
   * @throws AtlasError `bad_request` where the key was used for another method.
   */
  async find(idempotencyKey: string, method: string): Promise<{ result: unknown } | undefined> {
    const text = this.#recent.get(idempotencyKey) ?? await this.#read(idempotencyKey);
    if (text === null) return undefined;
    const what = `the answer kept for idempotency key ${quoted(idempotencyKey)}`;
    const answer = textToValue(text, what);
    if (!Array.isArray(answer) || answer.length !== 2) throw unreadable(what, "it is no pair");
    const [answered, result] = answer;
    if (answered === method) return { result };
    throw new AtlasError(
      "bad_request",
      `the idempotency key ${quoted(idempotencyKey)} was used for ${quoted(answered)} before, ` +
        `it can't be used for ${quoted(method)}`,
    );
  }

  async #read(idempotencyKey: string): Promise<string | null> {
    if (this.#tenure.adrift) return this.#recall(idempotencyKey);
    const fields = this.#count === null ? [`i:${idempotencyKey}`, "n"] : [`i:${idempotencyKey}`];
    const [text = null, count] = await this.#store.read(this.#tenure.key, fields);
    // Meanwhile the store may have gone out of reach, and somebody else become the owner.
    if (this.#tenure.adrift) return this.#recall(idempotencyKey);
    if (this.#count === null) this.#count = textToCount(count, "the number of its answers");
    return text;
  }

  /**
   * What is known of an answer without the store.
   *
   * @throws AtlasError `unavailable` where there may be one that isn't known.
   */
  #recall(idempotencyKey: string): string | null {
    const kept = this.#storage.peek(`i:${idempotencyKey}`);
    if (kept !== undefined) return kept;
    let known = this.#recent.size;
    for (const field of this.#storage.keptFields()) {
      if (field.startsWith("i:") && !this.#recent.has(field.slice(2))) known++;
    }
    if (this.#count === known) return null;
    throw outOfReach(this.#tenure.key);
  }

  /**
   * Adds a call's answer to its turn's writes, and drops some expired ones.
   *
   * @throws AtlasError `overloaded` where too many young answers are kept already.
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
      writes.set(`i:${field.slice(2 + DATE_DIGITS + 1)}`, null);
      count--;
    }
    if (++count > MAX_IDEMPOTENCY_RECORDS) {
      throw new AtlasError(
        "overloaded",
        `${this.#tenure.key} keeps ${MAX_IDEMPOTENCY_RECORDS} answers for idempotency keys already`,
      );
    }
    const date = String(Math.max(0, Math.floor(now))).padStart(DATE_DIGITS, "0");
    writes.set(`i:${idempotencyKey}`, valueToText([method, result], "the result"));
    writes.set(`t:${date}:${idempotencyKey}`, "");
    writes.set("n", String(count));
  }

  /** The writes that {@link add} made are in the store. */
  committed(idempotencyKey: string, writes: Writes): void {
    this.#count = Number(writes.get("n"));
    const text = writes.get(`i:${idempotencyKey}`) as string;
    if (text.length <= RECENT_CHARACTERS) this.#recent.set(idempotencyKey, text);
    if (this.#recent.size <= RECENT) return;
    const [oldest] = this.#recent.keys();
    this.#recent.delete(oldest as string);
  }

  async #findExpired(now: number): Promise<void> {
    if (this.#tenure.adrift) return;
    if (this.#expired.length > 0 || this.#clock.now() - this.#prunedAt < PRUNE_EVERY_MS) return;
    const before = String(Math.max(0, Math.floor(now - IDEMPOTENCY_MS))).padStart(DATE_DIGITS, "0");
    const rows = await this.#store.range(this.#tenure.key, {
      start: "t:",
      end: `t:${before}`,
      limit: PRUNE_FETCH,
      reverse: false,
    });
    this.#expired = rows.map(([field]) => field);
    // A full page means there is more: look again as soon as it is worked off.
    if (rows.length < PRUNE_FETCH) this.#prunedAt = this.#clock.now();
  }
}
