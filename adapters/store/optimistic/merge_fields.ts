/**
 * Merges the parts of one state that several masters hold, and takes the latest value of each
 * field.
 *
 * Takes fields as each master has them, `<epoch> <turn>:<value>`, or `<epoch> <turn>-` for a
 * deleted one; gives fields and values. The greatest epoch and turn win. While a master's own claim
 * stands, writes under that claim win at this master: an owner reads its own writes even if writes
 * of a greater claim have arrived.
 */
import type { Range } from "../../../src/ports/store.ts";
import { brokenEntry } from "../check.ts";
import { listOf, textOrNull } from "../redis/replies.ts";

/** Who reads: the own master's index, and its claim's epoch if it has one. */
export interface Reader {
  readonly own: number;
  readonly claimEpoch: number | null;
}

/** A part of a range, as it came from the masters; unchecked. */
export interface RangePart {
  readonly claimEpoch: number | null;
  /** All fields of any master, in no order. */
  readonly all: unknown;
  /** Each master's fields, in the order asked for. */
  readonly fields: readonly unknown[];
  /** Each master's values of `all`. */
  readonly values: readonly unknown[];
}

/** A value with its epoch and turn; `value` is null if the field was deleted. */
interface Dated {
  readonly epoch: number;
  readonly turn: number;
  readonly value: string | null;
}

/** The values of `fields`, in their order. */
export function mergedRead(
  key: string,
  fields: readonly string[],
  reader: Reader,
  parts: readonly unknown[],
): (string | null)[] {
  const what = `state of ${JSON.stringify(key)}`;
  const columns = parts.map((part) => listOf(what, part, fields.length));
  return fields.map((field, i) => latest(key, field, reader, columns.map((column) => column[i])));
}

/**
 * Fields and values of a range. Asks again from the last field that it read, while deleted fields
 * leave it with too few.
 */
export async function mergedRange(
  key: string,
  range: Range,
  own: number,
  ask: (command: string, bounds: readonly string[], limit: number) => Promise<RangePart>,
): Promise<[string, string][]> {
  const { limit, reverse } = range;
  const found: [string, string][] = [];
  let [start, end] = [`[:${range.start}`, `(:${range.end}`];
  for (;;) {
    const command = reverse ? "ZREVRANGEBYLEX" : "ZRANGEBYLEX";
    const part = await ask(command, reverse ? [end, start] : [start, end], limit);
    const columns = part.fields.map((fields) => textsOf(key, fields));
    const all = textsOf(key, part.all);
    const values = part.values.map((column) => listOf("state", column, all.length));
    const reader = { own, claimEpoch: part.claimEpoch };
    const order = all.map((field, i) => [field, i] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1) * (reverse ? -1 : 1));
    const last = lastKnown(columns, limit, reverse);
    for (const [field, i] of order) {
      if (found.length === limit) return found;
      if (last !== null && (reverse ? field < last : field > last)) break;
      const value = latest(key, field.slice(1), reader, values.map((column) => column[i]));
      if (value !== null) found.push([field.slice(1), value]);
    }
    if (last === null || found.length === limit) return found;
    if (reverse) end = `(${last}`;
    else start = `(${last}`;
  }
}

/** The last field up to which every answer is complete; null if all are complete to the end. */
function lastKnown(
  columns: readonly (readonly string[])[],
  limit: number,
  reverse: boolean,
): string | null {
  let last: string | null = null;
  for (const column of columns) {
    const end = column.length < limit ? undefined : column.at(-1);
    if (end === undefined) continue;
    if (last === null || (reverse ? end > last : end < last)) last = end;
  }
  return last;
}

function latest(
  key: string,
  field: string,
  { own, claimEpoch }: Reader,
  texts: readonly unknown[],
): string | null {
  let best: Dated | null = null;
  let isFound = false;
  for (const [master, item] of texts.entries()) {
    const text = textOrNull(`field of ${JSON.stringify(key)}`, item);
    if (text === null) continue;
    isFound = true;
    const dated = parseDated(key, field, text);
    if (master === own && dated.epoch === claimEpoch) return dated.value;
    if (!best || dated.epoch > best.epoch || dated.epoch === best.epoch && dated.turn > best.turn) {
      best = dated;
    }
  }
  return isFound && best ? best.value : null;
}

const DATED = /^(\d{1,16}) (\d{1,16})([:-])/;

function parseDated(key: string, field: string, text: string): Dated {
  const parts = DATED.exec(text);
  if (!parts) throw brokenEntry(key, `field ${JSON.stringify(field)}`, text);
  const value = parts[3] === ":" ? text.slice(parts[0].length) : null;
  return { epoch: Number(parts[1]), turn: Number(parts[2]), value };
}

function textsOf(key: string, reply: unknown): string[] {
  return listOf(`state of ${JSON.stringify(key)}`, reply).map((item) => {
    const text = textOrNull(`a field of ${JSON.stringify(key)}`, item);
    if (text === null) throw brokenEntry(key, "field", item);
    return text;
  });
}
