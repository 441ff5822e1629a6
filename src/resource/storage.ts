/**
 * A resource's storage: a write buffer and a read cache over the store.
 *
 * A turn writes to the buffer only. When it succeeds the buffer goes to the store in one commit;
 * when it fails the buffer is discarded. Recent reads and commits are cached up to a limit. The
 * cache stays valid because nobody else writes under this epoch.
 *
 * Source: `docs/design.md`, State.
 */
import type { ListOptions, Storage } from "../api/resource.ts";
import { AtlasError } from "../errors.ts";
import {
  MAX_LIST,
  MAX_STORAGE_KEY_BYTES,
  MAX_STORAGE_VALUE,
  MAX_TURN_CHARACTERS,
  MAX_TURN_WRITES,
} from "../limits.ts";
import { quoted } from "../model/options.ts";
import { fitsBytes, textToValue, valueToText } from "../model/value.ts";
import type { Range } from "../ports/store.ts";
import { outOfReach, unlistable, type Writes } from "./offline_log.ts";
import { OwnState, type ReaderOwnership, type StateParts } from "./own_state.ts";
import type { HeldOwnership } from "./reassertion.ts";

/** Users' keys have the prefix `s:` in the store's fields: from `s:` to before `s;`. */
const SPACE = "s:";
const SPACE_END = "s;";

/** The size of one resource's cache, in entries and in characters. */
const CACHE_ENTRIES = 64;
const CACHE_CHARACTERS = 16_384;

/** What storage needs of its ownership. */
type StorageOwner = ReaderOwnership & Pick<HeldOwnership, "turn">;

/** The cache of a storage that has read and written nothing; never changed. */
const EMPTY: (string | null)[] = [];

export class TurnStorage implements Storage {
  readonly #parts: StateParts;
  readonly #owner: StorageOwner;
  /** The running turn's writes, made with the first one. */
  #writes: Writes | null = null;
  /**
   * Characters written in the running turn, including those overwritten since; -1: no turn runs.
   */
  #written = -1;
  /**
   * The cache: committed texts, the oldest first: at even places fields, each followed by its text;
   * null if there is certainly no value. Most resources have very few, for which an array takes less
   * memory than a map and no more time.
   */
  #cache: (string | null)[] = EMPTY;
  /** Writes of turns in the offline log. */
  #kept: Writes | null = null;

  constructor(parts: StateParts, owner: StorageOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** Made for each use, so that idle resources don't hold it. */
  get #state(): OwnState {
    return new OwnState(this.#parts, this.#owner);
  }

  /** Whether the running turn wrote anything. */
  get isDirty(): boolean {
    return this.#writes !== null;
  }

  /** Whether a turn is running. */
  get isOpen(): boolean {
    return this.#written >= 0;
  }

  /** Begins a turn. */
  begin(): void {
    this.#written = 0;
  }

  /** Ends the turn and returns its writes, to be committed; null if there are none. */
  end(): Writes | null {
    const writes = this.#writes;
    this.#written = -1;
    this.#writes = null;
    return writes;
  }

  /** The writes are in the store now. */
  committed(writes: Writes): void {
    for (const [field, text] of writes) this.#keep(field, text);
  }

  /** The writes are in the offline log. */
  kept(writes: Writes): void {
    this.#kept ??= new Map();
    for (const [field, text] of writes) this.#kept.set(field, text);
  }

  /** The offline log is empty: all its writes are in the store. */
  reconciled(): void {
    if (this.#kept) this.committed(this.#kept);
    this.#kept = null;
  }

  /** A field in the offline log's writes; undefined if the log doesn't have it. */
  peek(field: string): string | null | undefined {
    return this.#kept?.get(field);
  }

  async get<T = unknown>(key: string): Promise<T | undefined> {
    this.#owner.turn("storage");
    const text = await this.field(fieldOf(key));
    return text === null ? undefined : valueOf(key, text) as T;
  }

  /** Writes a field outside of users' keys in the running turn; null deletes it. */
  reserve(field: string, text: string | null): void {
    (this.#writes ??= new Map()).set(field, text);
  }

  /** The text of a field, the running turn's writes included; null if the field doesn't exist. */
  async field(field: string): Promise<string | null> {
    let text = this.#writes?.get(field);
    if (text === undefined) text = this.peek(field);
    if (text === undefined) text = this.#cached(field);
    if (text === undefined) {
      this.#reachable();
      [text = null] = await this.#state.read([field]);
      // Meanwhile another node may have become the owner.
      this.#reachable();
      // This turn may have written the key while the store was read.
      const written = this.#writes?.get(field);
      if (written !== undefined) text = written;
      else this.#keep(field, text);
    }
    return text;
  }

  put(key: string, value: unknown): Promise<void> {
    try {
      const field = this.#writable(key);
      const text = valueToText(value, () => `the value of storage key ${JSON.stringify(key)}`);
      if (text.length > MAX_STORAGE_VALUE) throw tooLong(key, text);
      this.#write(field, text);
      return WRITTEN;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  delete(key: string): Promise<void> {
    try {
      this.#write(this.#writable(key), null);
      return WRITTEN;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async list<T = unknown>(options: ListOptions = {}): Promise<Map<string, T>> {
    this.#owner.turn("storage");
    const { prefix = "", start, end, reverse = false } = options;
    const limit = checkLimit(options.limit);
    const range = {
      start: later(SPACE + prefix, start === undefined ? "" : SPACE + start),
      end: earlier(prefix ? after(SPACE + prefix) : SPACE_END, end && SPACE + end),
      reverse,
    };
    const rows = await this.#rows({ ...range, limit: limit + (this.#writes?.size ?? 0) });
    for (const [field, text] of this.#writes ?? []) {
      if (field < range.start || field >= range.end) continue;
      if (text === null) rows.delete(field);
      else rows.set(field, text);
    }
    const fields = [...rows.keys()].filter((field) => field.startsWith(SPACE + prefix)).sort();
    if (reverse) fields.reverse();
    return new Map(
      fields.slice(0, limit).map((field) => [
        field.slice(SPACE.length),
        valueOf(field.slice(SPACE.length), rows.get(field) as string) as T,
      ]),
    );
  }

  /**
   * A range of the state; for an owner that lost a conflict after operating offline, what it
   * wrote meanwhile.
   *
   * @throws AtlasError `unavailable`
   */
  async #rows(range: Range): Promise<Map<string, string>> {
    const { key } = this.#owner;
    if (!this.#owner.offline) {
      const rows = await this.#state.range(range);
      if (!this.#owner.offline) return new Map(rows);
    }
    if (!this.#owner.offline.isLost) throw unlistable(key);
    const kept = [...this.#kept ?? []].filter((row): row is [string, string] => {
      const [field, text] = row;
      return text !== null && field >= range.start && field < range.end;
    });
    return new Map(kept);
  }

  /** @throws AtlasError `unavailable` if the store's state is not this owner's any more */
  #reachable(): void {
    if (this.#owner.offline) throw outOfReach(this.#owner.key);
  }

  /** The field of a key that the running turn may write. */
  #writable(key: string): string {
    this.#owner.turn("storage");
    const field = fieldOf(key);
    if (!this.isOpen) {
      throw new AtlasError("bad_request", "storage can only be written while a call is running");
    }
    this.#owner.offline?.checkRoom(this.#owner.key);
    const writes = this.#writes;
    if (writes !== null && writes.size >= MAX_TURN_WRITES && !writes.has(field)) {
      throw new AtlasError(
        "payload_too_large",
        `one call may write at most ${MAX_TURN_WRITES} storage keys`,
      );
    }
    return field;
  }

  #write(field: string, text: string | null): void {
    this.#written += field.length + (text?.length ?? 0);
    if (this.#written > MAX_TURN_CHARACTERS) {
      throw new AtlasError(
        "payload_too_large",
        `one call may write at most ${MAX_TURN_CHARACTERS} characters`,
      );
    }
    (this.#writes ??= new Map()).set(field, text);
  }

  #keep(field: string, text: string | null): void {
    const at = this.#find(field);
    const size = sizeOf(field, text);
    // The newest field stays the newest one: its place in the order doesn't change.
    const isNewest = at >= 0 && at === this.#cache.length - 2;
    if (isNewest && size <= CACHE_CHARACTERS / 4) this.#cache[at + 1] = text;
    else if (at >= 0) this.#cache.splice(at, 2);
    if (size > CACHE_CHARACTERS / 4) return;
    if (this.#cache.length === 0) this.#cache = [field, text];
    else if (!isNewest) this.#cache.push(field, text);
    while (this.#cache.length > 2 * CACHE_ENTRIES || this.#characters > CACHE_CHARACTERS) {
      this.#cache.splice(0, 2);
    }
  }

  /** The cached text of a field; undefined if it isn't known. */
  #cached(field: string): string | null | undefined {
    const at = this.#find(field);
    return at < 0 ? undefined : this.#cache[at + 1];
  }

  /** The place of a field in the cache; -1: it isn't there. */
  #find(field: string): number {
    const cache = this.#cache;
    for (let at = 0; at < cache.length; at += 2) if (cache[at] === field) return at;
    return -1;
  }

  get #characters(): number {
    let sum = 0;
    for (const text of this.#cache) sum += text === null ? 0 : text.length;
    return sum;
  }
}

function sizeOf(field: string, text: string | null): number {
  return field.length + (text?.length ?? 0);
}

/** The most keys whose fields are known. */
const MAX_FIELDS = 1_024;
/** Checked keys that were used lately, with their fields: resources of a type have the same. */
const fields = new Map<string, string>();

/** The answer to every write that was accepted. */
const WRITTEN: Promise<void> = Promise.resolve();

function tooLong(key: string, text: string): AtlasError {
  return new AtlasError(
    "payload_too_large",
    `the value of storage key ${JSON.stringify(key)} takes ${text.length} characters, ` +
      `more than ${MAX_STORAGE_VALUE}`,
  );
}

function fieldOf(key: string): string {
  const known = fields.get(key);
  if (known !== undefined) return known;
  const field = checkedField(key);
  if (fields.size >= MAX_FIELDS) fields.clear();
  fields.set(key, field);
  return field;
}

function checkedField(key: string): string {
  if (typeof key !== "string" || key.length === 0) {
    throw new AtlasError("bad_request", "a storage key must be text of at least one character");
  }
  if (!key.isWellFormed() || !fitsBytes(key, MAX_STORAGE_KEY_BYTES)) {
    throw new AtlasError(
      "bad_request",
      `a storage key must be well-formed Unicode of at most ${MAX_STORAGE_KEY_BYTES} bytes`,
    );
  }
  return SPACE + key;
}

function valueOf(key: string, text: string): unknown {
  return textToValue(text, () => `the value of storage key ${quoted(key)}`, MAX_STORAGE_VALUE);
}

function checkLimit(limit: number = MAX_LIST): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIST) return limit;
  throw new AtlasError("bad_request", `limit is ${limit}, it must be 1 to ${MAX_LIST}`);
}

/** The first text after all texts that start with `prefix`. */
function after(prefix: string): string {
  const last = prefix.codePointAt(prefix.length - 1) as number;
  if (last < 0x80) return prefix.slice(0, -1) + String.fromCodePoint(last + 1);
  // This bound is also above longer texts. Surplus entries are filtered by the prefix.
  return prefix + "\u{10ffff}".repeat(2);
}

function later(a: string, b: string): string {
  return a > b ? a : b;
}

function earlier(a: string, b: string | undefined): string {
  return b === undefined || a < b ? a : b;
}
