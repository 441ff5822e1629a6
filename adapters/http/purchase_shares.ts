/**
 * Computes how callers of one node share a module's capacity: which purchases give capacity back
 * for a caller that waits for it. Takes the waiting caller and all purchases; gives what each
 * purchase may keep. `purchase_sharing.ts` applies it.
 *
 * Source: max-min fairness (Bertsekas and Gallager, "Data Networks", §6.5.2), between the caller
 * that holds least and the one that holds most.
 */
import { accepts } from "../../src/api/module.ts";

/** Ranges of versions that a buyer takes; null: any stable version. */
export type Ranges = readonly (string | null)[];

/** A caller that waits for capacity of a module. */
export interface Waiting {
  readonly caller: string;
  readonly ranges: Ranges;
  /** How much it asked for, and how much others have returned in its favour so far. */
  readonly asked: number;
  readonly relieved: number;
}

/** A purchase of the same module. */
export interface Held {
  readonly caller: string;
  /** The versions in use; empty if no capacity has been bought. */
  readonly versions: readonly string[];
  readonly granted: number;
  readonly wanted: number;
  readonly inFlight: number;
  /** When it was bought, and when a call over it began or ended last, by `performance.now()`. */
  readonly boughtAt: number;
  readonly calledAt: number;
}

export interface Relief<H extends Held> {
  /** Callers that hold more than the one that waits: they can't buy more before it is served. */
  readonly heavier: ReadonlySet<string>;
  /** How much each purchase may keep; 0: the purchase ends. */
  readonly keeps: ReadonlyMap<H, number>;
  /** How much of the waiting caller's share that returns. */
  readonly given: number;
}

/** The capacity in some ranges of versions that each caller holds. */
export function capacityByCaller(ranges: Ranges, all: readonly Held[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { caller, granted } of fitting(ranges, all)) {
    sums.set(caller, (sums.get(caller) ?? 0) + granted);
  }
  return sums;
}

/**
 * What purchases give back so that `waiting` gets its share; null if no caller holds more. A
 * purchase made after `endsFrom` may have to give some back, but doesn't end.
 */
export function relief<H extends Held>(
  waiting: Waiting,
  all: readonly H[],
  endsFrom: number,
): Relief<H> | null {
  const sums = capacityByCaller(waiting.ranges, all);
  const mine = (sums.get(waiting.caller) ?? 0) + waiting.relieved;
  sums.delete(waiting.caller);
  // A difference of one between two callers that both hold capacity can't be evened out.
  const heavier = new Map([...sums].filter(([, sum]) => sum > mine + Math.min(mine, 1)));
  const [heaviest] = [...heavier].sort(([, a], [, b]) => b - a);
  if (heaviest === undefined) return null;
  const [caller, sum] = heaviest;
  const keeps = new Map<H, number>();
  // These callers' open orders don't get the capacity that is freed.
  for (const held of all) if (heavier.has(held.caller)) hold(held, keeps);
  let left = Math.min(Math.max(0, waiting.asked - waiting.relieved), Math.ceil((sum - mine) / 2));
  let given = 0;
  for (const held of leastUsedFirst(fitting(waiting.ranges, all))) {
    if (held.caller !== caller || held.granted === 0) continue;
    if (left === 0) break;
    const part = Math.min(left, held.granted);
    if (part === held.granted && held.boughtAt > endsFrom) continue;
    keeps.set(held, held.granted - part);
    left -= part;
    given += part;
  }
  return { heavier: new Set(heavier.keys()), keeps, given };
}

/**
 * A purchase keeps what it has and wants no more. A purchase without capacity ends, unless calls
 * over it run.
 */
function hold<H extends Held>(held: H, keeps: Map<H, number>): void {
  const { granted, wanted, inFlight } = held;
  if (granted > 0 && wanted > granted) keeps.set(held, granted);
  if (granted === 0 && inFlight === 0) keeps.set(held, 0);
}

/** Purchases with capacity of versions in a range. */
function fitting<H extends Held>(ranges: Ranges, all: readonly H[]): H[] {
  return all.filter(({ versions }) =>
    versions.some((version) => ranges.some((range) => accepts(range, version)))
  );
}

/** Purchases without a running call first, then those that were used longest ago. */
function leastUsedFirst<H extends Held>(all: readonly H[]): H[] {
  return [...all].sort((a, b) =>
    Math.sign(a.inFlight) - Math.sign(b.inFlight) || a.calledAt - b.calledAt
  );
}
