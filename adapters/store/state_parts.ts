/**
 * The states of resources in a `StoreState`, each in two parts that can be lost separately: its
 * fields, and the index of its fields. It gives the same answers as the Lua scripts of the Redis
 * adapter.
 *
 * Source: `adapters/store/redis/scripts.ts`; the port's contract, `src/ports/store.ts`.
 */
import { hasTurn, NO_STAMP } from "./lineage.ts";
import { LostTurns, type OwnerKnows } from "../../src/model/lost_turns.ts";
import type { Range, Stamp } from "../../src/ports/store.ts";

/** One resource's state, and the last turn that was applied to it. */
export interface State {
  epoch: number;
  turn: number;
  past: readonly Stamp[];
  readonly fields: OrderedText;
}

const NO_PAST: readonly Stamp[] = [];

/** What an owner knows, and whether it knows a different lineage than the one that answers. */
interface Knows extends OwnerKnows {
  readonly isMoved: boolean;
}

export class States {
  readonly #states = new Map<string, State>();
  /** Indexes that may differ from their states' fields, because one of the parts was lost. */
  readonly #indexes = new Map<string, OrderedText>();
  /** States that had no field when their ownership was released: only their last turns are kept. */
  readonly #ended = new Map<string, State>();
  readonly #keepsLastTurns: boolean;

  constructor(keepsLastTurns: boolean) {
    this.#keepsLastTurns = keepsLastTurns;
  }

  last(key: string): Stamp {
    const state = this.#states.get(key);
    return state ? { epoch: state.epoch, turn: state.turn } : NO_STAMP;
  }

  /** A key's state; if it ended because it had no field and no owner, its last turn. */
  find(key: string): State | undefined {
    return this.#states.get(key) ?? this.#ended.get(key);
  }

  /** A key is claimed. Returns whether its state is missing while its index exists. */
  claimed(key: string): boolean {
    const ended = this.#ended.get(key);
    if (ended && !this.#states.has(key)) this.#states.set(key, ended);
    this.#ended.delete(key);
    if (this.#states.has(key)) this.#mend(key);
    return !this.#states.has(key) && this.#indexed(key) > 0;
  }

  /** An ownership ends. `after` is the last turn that its owner knows of. */
  released(key: string, after: Stamp | undefined): void {
    const state = this.#states.get(key);
    if (!state) {
      if (after?.epoch === 0) this.#indexes.delete(key);
    } else if (state.fields.size === 0) {
      this.#states.delete(key);
      if (this.#keepsLastTurns) this.#ended.set(key, state);
    }
  }

  read(key: string, fields: readonly string[], knows: Knows | null): (string | null)[] {
    this.#check(key, knows);
    const state = this.#states.get(key);
    return fields.map((field) => state?.fields.get(field) ?? null);
  }

  range(key: string, range: Range, knows: Knows | null): [string, string][] {
    this.#check(key, knows);
    if (knows || this.#states.has(key)) this.#mend(key);
    const fields = this.#states.get(key)?.fields;
    if (!fields) return [];
    const index = this.#indexes.get(key);
    if (!index) return fields.range(range);
    return index.range(range).flatMap(([field]) => {
      const value = fields.get(field);
      return value === undefined ? [] : [[field, value]];
    });
  }

  /** The state to be written; created if the key has none. */
  toWrite(key: string): State {
    let state = this.#states.get(key);
    if (!state) {
      state = { epoch: 0, turn: 0, past: NO_PAST, fields: new OrderedText() };
      this.#states.set(key, state);
      this.#indexes.delete(key);
    }
    return state;
  }

  put(key: string, { fields }: State, field: string, value: string): void {
    const index = this.#indexes.get(key);
    if (index && !fields.has(field)) index.set(field, "");
    fields.set(field, value);
  }

  delete(key: string, { fields }: State, field: string): void {
    if (fields.delete(field)) this.#indexes.get(key)?.delete(field);
  }

  /** Loses a part of a key. Answers whether both parts existed. */
  lose(key: string, part: "state" | "index"): boolean {
    const fields = this.#states.get(key)?.fields;
    if (!fields || fields.size === 0 || this.#indexed(key) === 0) return false;
    const index = new OrderedText();
    if (part === "state") {
      for (const field of fields.keys()) index.set(field, "");
      this.#states.delete(key);
    }
    // An earlier loss may have left an index that names fewer fields.
    if (part === "index" || !this.#indexes.has(key)) this.#indexes.set(key, index);
    return true;
  }

  /** How many fields the index of a key names. */
  #indexed(key: string): number {
    return (this.#indexes.get(key) ?? this.#states.get(key)?.fields)?.size ?? 0;
  }

  /** @throws LostTurns */
  #check(key: string, knows: Knows | null): void {
    const last = this.last(key);
    if (knows && !hasTurn(last, knows.after)) throw new LostTurns(key, last, knows.isMoved);
  }

  #mend(key: string): void {
    const fields = this.#states.get(key)?.fields;
    if (this.#indexed(key) === (fields?.size ?? 0)) return;
    this.#indexes.delete(key);
  }
}

/**
 * An ordered map of text to text, sorted only when a range is first read; most resources never
 * list their state. Order is that of UTF-16 code units.
 */
class OrderedText {
  readonly #values = new Map<string, string>();
  /** All fields in order; null until the first range. */
  #order: string[] | null = null;

  /** The number of fields. */
  get size(): number {
    return this.#values.size;
  }

  has(field: string): boolean {
    return this.#values.has(field);
  }

  get(field: string): string | undefined {
    return this.#values.get(field);
  }

  set(field: string, value: string): void {
    if (this.#order && !this.#values.has(field)) {
      this.#order.splice(firstAtLeast(this.#order, field), 0, field);
    }
    this.#values.set(field, value);
  }

  /** Whether the field existed. */
  delete(field: string): boolean {
    const isDeleted = this.#values.delete(field);
    if (isDeleted && this.#order) this.#order.splice(firstAtLeast(this.#order, field), 1);
    return isDeleted;
  }

  entries(): [string, string][] {
    return [...this.#values];
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  /** Fields and values with `start ≤ field < end`, at most `limit`. */
  range({ start, end, limit, reverse }: Range): [string, string][] {
    const order = this.#order ??= [...this.#values.keys()].sort();
    let from = firstAtLeast(order, start);
    let to = Math.max(from, firstAtLeast(order, end));
    if (reverse) from = Math.max(from, to - limit);
    else to = Math.min(to, from + limit);
    const fields = order.slice(from, to);
    if (reverse) fields.reverse();
    return fields.map((field) => [field, this.#values.get(field) as string]);
  }
}

/** The index of the first element that is not below `text`. */
function firstAtLeast(order: readonly string[], text: string): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((order[middle] as string) < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
