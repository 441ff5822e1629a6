/**
 * States of resources in a simulated store, each in two parts that can be lost separately: its
 * fields, and the index of its fields. It gives the same answers as the Lua scripts of the Redis
 * adapter.
 *
 * Source: `adapters/store/redis/scripts.ts`; the port's contract, `src/ports/store.ts`.
 */
import { hasTurn, NO_STAMP } from "./lineage.ts";
import { OrderedText } from "./ordered_text.ts";
import { LostTurns, type OwnerKnows } from "../../src/model/lost_turns.ts";
import type { Range, Stamp } from "../../src/ports/store.ts";

export interface State {
  epoch: number;
  turn: number;
  past: readonly Stamp[];
  readonly fields: Map<string, string>;
}

/** What an owner knows, and whether it is of another lineage than this. */
interface Knows extends OwnerKnows {
  readonly isMoved: boolean;
}

export class States {
  readonly #states = new Map<string, State>();
  readonly #indexes = new Map<string, OrderedText>();
  /** States without fields whose ownership was released: only their last turns are kept. */
  readonly #emptied = new Map<string, State>();

  last(key: string): Stamp {
    const state = this.#states.get(key);
    return state ? { epoch: state.epoch, turn: state.turn } : NO_STAMP;
  }

  /** The last turn of a key, whether or not it has fields. */
  kept(key: string): State | undefined {
    return this.#states.get(key) ?? this.#emptied.get(key);
  }

  /** A key is claimed. Gives whether its state is lost and its index exists. */
  claimed(key: string): boolean {
    const emptied = this.#emptied.get(key);
    if (emptied && !this.#states.has(key)) this.#states.set(key, emptied);
    this.#emptied.delete(key);
    if (this.#states.has(key)) this.#mend(key);
    return !this.#states.has(key) && this.#indexed(key) > 0;
  }

  /** An ownership ends; `after` is the last turn that its owner knows of. */
  released(key: string, after: Stamp | undefined): void {
    const state = this.#states.get(key);
    if (!state) {
      if (after?.epoch === 0) this.#indexes.delete(key);
    } else if (state.fields.size === 0) {
      this.#states.delete(key);
      this.#emptied.set(key, state);
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
    const named = this.#indexes.get(key)?.range(range) ?? [];
    return named.flatMap(([field]) => {
      const value = fields?.get(field);
      return value === undefined ? [] : [[field, value]];
    });
  }

  /** The state to be written; created where there is none. */
  toWrite(key: string): State {
    let state = this.#states.get(key);
    if (!state) {
      state = { epoch: 0, turn: 0, past: [], fields: new Map() };
      this.#states.set(key, state);
      this.#indexes.delete(key);
    }
    return state;
  }

  put(key: string, { fields }: State, field: string, value: string): void {
    if (!fields.has(field)) this.#index(key).set(field, "");
    fields.set(field, value);
  }

  delete(key: string, { fields }: State, field: string): void {
    if (fields.delete(field)) this.#index(key).delete(field);
  }

  /** Loses a part of a key. Answers whether both parts existed. */
  lose(key: string, part: "state" | "index"): boolean {
    const fields = this.#states.get(key)?.fields.size ?? 0;
    if (fields === 0 || this.#indexed(key) === 0) return false;
    return part === "state" ? this.#states.delete(key) : this.#indexes.delete(key);
  }

  #index(key: string): OrderedText {
    let index = this.#indexes.get(key);
    if (!index) this.#indexes.set(key, index = new OrderedText());
    return index;
  }

  #indexed(key: string): number {
    return this.#indexes.get(key)?.size ?? 0;
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
    for (const field of fields?.keys() ?? []) this.#index(key).set(field, "");
  }
}
