/**
 * An ordered map of text to text, sorted only when a range is first read; most resources never
 * list their state. Takes puts and deletes; gives values by field or by range. Order is that of
 * UTF-16 code units.
 */
import type { Range } from "../../src/ports/store.ts";

export class OrderedText {
  readonly #values = new Map<string, string>();
  /** All fields in order; null until the first range. */
  #order: string[] | null = null;

  /** The number of fields. */
  get size(): number {
    return this.#values.size;
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

  delete(field: string): void {
    if (this.#values.delete(field) && this.#order) {
      this.#order.splice(firstAtLeast(this.#order, field), 1);
    }
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
