/** The totals of many simulations: added up, summarised in a line, and passed between processes. */
import type { Result } from "../run/run_world.ts";
import type { WorldName } from "../plan/plan.ts";

export interface Tally {
  seeds: number;
  virtualMs: number;
  events: number;
  calls: number;
  answered: number;
  /** How often each kind of fault happened. */
  faults: Record<string, number>;
  /** How many seeds broke each rule first. */
  rules: Record<string, number>;
  /** Seeds with a violation, and its first one in words. */
  failed: { seed: number; world: WorldName; what: string }[];
}

export function newTally(): Tally {
  const counts = { seeds: 0, virtualMs: 0, events: 0, calls: 0, answered: 0 };
  return { ...counts, faults: {}, rules: {}, failed: [] };
}

/** Adds what one seed led to in each world in which it was run. */
export function addResults(tally: Tally, results: readonly Result[]): void {
  tally.seeds++;
  for (const result of results) addResult(tally, result);
}

function addResult(tally: Tally, result: Result): void {
  tally.virtualMs += result.virtualMs;
  tally.events += result.events;
  tally.calls += result.calls;
  tally.answered += result.answered;
  for (const { kind } of result.faults) count(tally.faults, kind, 1);
  const [first] = result.violations;
  if (!first) return;
  count(tally.rules, first.rule, 1);
  const { seed, world } = result;
  tally.failed.push({ seed, world, what: `${first.rule}: ${first.message}` });
}

/** Adds another tally. */
export function addTally(tally: Tally, other: Tally): void {
  tally.seeds += other.seeds;
  tally.virtualMs += other.virtualMs;
  tally.events += other.events;
  tally.calls += other.calls;
  tally.answered += other.answered;
  for (const [kind, by] of Object.entries(other.faults)) count(tally.faults, kind, by);
  for (const [rule, by] of Object.entries(other.rules)) count(tally.rules, rule, by);
  tally.failed.push(...other.failed);
}

/** The tally in one line. */
export function summary(tally: Tally, seconds: number): string {
  const rules = tally.failed.length > 0 ? `by rule: ${countsText(tally.rules)}; ` : "";
  const { virtualMs } = tally;
  const time = virtualMs < 3_600_000
    ? `${(virtualMs / 1_000).toFixed(1)} virtual seconds`
    : `${(virtualMs / 3_600_000).toFixed(1)} virtual hours`;
  return `${tally.seeds} seeds, ${time}, ${tally.events} events, ` +
    `${tally.answered} of ${tally.calls} calls answered; faults: ${countsText(tally.faults)}; ` +
    `${tally.failed.length} violations; ${rules}${
      (tally.seeds / seconds).toFixed(1)
    } seeds per second`;
}

function count(counts: Record<string, number>, what: string, by: number): void {
  counts[what] = (counts[what] ?? 0) + by;
}

/** Counts as text, by name. */
function countsText(counts: Readonly<Record<string, number>>): string {
  const names = Object.keys(counts).sort();
  return names.map((name) => `${name} ${counts[name]}`).join(", ") || "none";
}
