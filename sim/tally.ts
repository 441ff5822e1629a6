/** The score of many simulations: added up, told in a line, and passed between processes. */
import type { Result } from "./simulation.ts";

export interface Tally {
  seeds: number;
  virtualMs: number;
  events: number;
  calls: number;
  answered: number;
  /** How often each kind of fault happened. */
  faults: Record<string, number>;
  /** Seeds with a violation, and its first one in words. */
  failed: { seed: number; what: string }[];
}

export function newTally(): Tally {
  return { seeds: 0, virtualMs: 0, events: 0, calls: 0, answered: 0, faults: {}, failed: [] };
}

/** Adds one simulation's result. */
export function addResult(tally: Tally, result: Result): void {
  tally.seeds++;
  tally.virtualMs += result.virtualMs;
  tally.events += result.events;
  tally.calls += result.calls;
  tally.answered += result.answered;
  for (const { kind } of result.faults) tally.faults[kind] = (tally.faults[kind] ?? 0) + 1;
  const [first] = result.violations;
  if (first) tally.failed.push({ seed: result.seed, what: `${first.rule}: ${first.message}` });
}

/** Adds another score. */
export function addTally(tally: Tally, other: Tally): void {
  tally.seeds += other.seeds;
  tally.virtualMs += other.virtualMs;
  tally.events += other.events;
  tally.calls += other.calls;
  tally.answered += other.answered;
  for (const [kind, count] of Object.entries(other.faults)) {
    tally.faults[kind] = (tally.faults[kind] ?? 0) + count;
  }
  tally.failed.push(...other.failed);
}

/** The score in one line. */
export function summary(tally: Tally, seconds: number): string {
  const faults = Object.entries(tally.faults).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([kind, count]) => `${kind} ${count}`).join(", ");
  const { virtualMs } = tally;
  const time = virtualMs < 3_600_000
    ? `${(virtualMs / 1_000).toFixed(1)} virtual seconds`
    : `${(virtualMs / 3_600_000).toFixed(1)} virtual hours`;
  return `${tally.seeds} seeds, ${time}, ${tally.events} events, ` +
    `${tally.answered} of ${tally.calls} calls answered; faults: ${faults || "none"}; ` +
    `${tally.failed.length} violations; ${(tally.seeds / seconds).toFixed(1)} seeds per second`;
}
