/**
 * Decides whether the observations of a key's owners are consistent with one sequence of
 * ownerships.
 *
 * In general, linearizability needs a search over all orders of the attempts; epochs make that
 * unnecessary. A release or takeover names the epoch of the ownership that it ends, so every ended
 * ownership was observed, only the last can be unknown, and epochs give the order. What remains is
 * to choose an instant for each beginning and end, within bounds and in order, with a vacancy
 * between two ownerships wherever one was observed. Choosing the earliest instant leaves most room
 * for the rest; a beginning is delayed only for an observed vacancy that no later gap can hold. One
 * pass; exact for ownerships whose winner received the reply. If the winner's reply was lost, every
 * attempt that it may have been is allowed.
 *
 * Source: Herlihy and Wing, "Linearizability" (1990); Gibbons and Korach, "Testing Shared Memories"
 * (1997), for why unique values avoid the search.
 */
import type { Report } from "./checker.ts";
import type { Attempt, Observations, OwnershipInterval, Vacancy } from "./observations.ts";

/** An interval, and how it can have begun. */
interface FittedInterval {
  readonly interval: OwnershipInterval;
  /** It can't have begun before this time. */
  readonly begunAfter: number;
  /** Whether the key may have been unowned before it. */
  readonly afterVacancy: boolean;
}

/** Reports what can't have happened. `deathAskedAt`: when each incarnation's end was requested. */
export function fitIntervals(
  observations: Observations,
  deathAskedAt: ReadonlyMap<string, number>,
  report: Report,
): void {
  const { key } = observations;
  const intervals = [...observations.intervals.values()].sort((a, b) => a.epoch - b.epoch);
  const byIncarnation = Map.groupBy(observations.attempts.values(), (it) => it.incarnation);
  const line: FittedInterval[] = [];
  for (const interval of intervals) {
    const before = line.at(-1)?.interval ?? null;
    const candidates = interval.winner
      ? [interval.winner]
      : (byIncarnation.get(interval.incarnation) ?? []).filter(({ at }) => at <= interval.begunBy);
    const link = succeed(interval, before, candidates, deathAskedAt);
    if (typeof link === "string") return report(`${key}: epoch ${interval.epoch} ${link}`);
    line.push(link);
  }
  const trouble = fit(line, observations.vacancies);
  if (trouble !== null) report(`${key}: ${trouble}`);
}

/** How an interval can have followed the one before it; or the reason why it can't. */
function succeed(
  interval: OwnershipInterval,
  before: OwnershipInterval | null,
  candidates: readonly Attempt[],
  deathAskedAt: ReadonlyMap<string, number>,
): FittedInterval | string {
  if (candidates.length === 0) return `is ${interval.incarnation}'s, who never asked for it`;
  let begunAfter = Infinity;
  let afterVacancy = false;
  let why = "";
  for (const { at, expected } of candidates) {
    let from = at;
    if (expected === null) {
      if (before) from = Math.max(from, before.releasedAfter);
      if (from === Infinity) why = `was claimed of nobody, but nobody released ${before?.epoch}`;
      else afterVacancy = true;
    } else if (expected.epoch !== before?.epoch) {
      why = `was claimed of epoch ${expected.epoch}, but comes after ${before?.epoch ?? "none"}`;
      from = Infinity;
    } else if (before.wasReleased) {
      why = `was taken from epoch ${before.epoch}, which had been released`;
      from = Infinity;
    } else if (expected.incarnation !== interval.incarnation) {
      // Taken over from another incarnation, which must have been dead.
      from = Math.max(from, deathAskedAt.get(expected.incarnation) ?? Infinity);
      if (from === Infinity) why = `was taken from ${expected.incarnation}, which nobody ended`;
    }
    begunAfter = Math.min(begunAfter, from);
  }
  return begunAfter === Infinity ? why : { interval, begunAfter, afterVacancy };
}

/** Finds an instant for each beginning and end; or reports what doesn't fit. */
function fit(line: readonly FittedInterval[], vacancies: readonly Vacancy[]): string | null {
  let left = [...vacancies];
  /** When the interval before ends, at the earliest. */
  let ended = -Infinity;
  for (const [i, { interval, begunAfter, afterVacancy }] of line.entries()) {
    let begun = Math.max(ended, begunAfter);
    const misfit = left.find(({ to }) => to < ended);
    if (misfit) return vacancyTrouble(misfit, line[i - 1]);
    if (i === 0 || afterVacancy) {
      const before = line[i - 1]?.interval.epoch ?? 0;
      const fitting = left.filter(({ after }) => after <= before);
      begun = putOff(line, i, begun, fitting);
      left = left.filter(({ from, after }) => after > before || from > begun);
    }
    if (begun > interval.begunBy) {
      return `epoch ${interval.epoch} can't have begun before ${begun.toFixed(3)}, ` +
        `but was heard of by ${interval.begunBy.toFixed(3)}`;
    }
    ended = endOf(line, i, begun);
    if (ended > interval.endedBy) {
      return `epoch ${interval.epoch} can't have ended before ${ended.toFixed(3)}, ` +
        `but was found gone by ${interval.endedBy.toFixed(3)}`;
    }
  }
  const last = line.at(-1);
  if (!last) return null;
  const misfit = left.find(({ to }) => to < Math.max(ended, last.interval.releasedAfter));
  return misfit ? vacancyTrouble(misfit, last) : null;
}

/** The latest time to which a beginning must be delayed, for vacancies that fit nowhere later. */
function putOff(
  line: readonly FittedInterval[],
  i: number,
  earliest: number,
  vacancies: readonly Vacancy[],
): number {
  for (let begun = earliest;;) {
    const next = nextGap(line, i, begun);
    let latest = begun;
    for (const { from, to } of vacancies) {
      if (to < next && from > latest) latest = from;
    }
    if (latest === begun) return begun;
    begun = latest;
  }
}

/** The earliest time at which the key is unowned again, after an interval that began then. */
function nextGap(line: readonly FittedInterval[], i: number, begun: number): number {
  for (let at = i; at < line.length; at++) {
    const ended = endOf(line, at, begun);
    const next = line[at + 1];
    if (!next) return Math.max(ended, line[at]?.interval.releasedAfter ?? Infinity);
    if (next.afterVacancy) return ended;
    begun = ended;
  }
  return Infinity;
}

/** The earliest time at which an interval that began then ends. */
function endOf(line: readonly FittedInterval[], i: number, begun: number): number {
  const interval = line[i]?.interval as OwnershipInterval;
  const next = line[i + 1];
  const ended = Math.max(begun, interval.endedAfter);
  if (!next) return interval.endedBy < Infinity ? Math.max(ended, interval.endableAfter) : ended;
  // If the successor found the key unowned, the release comes first. Otherwise the takeover ends
  // it.
  const { afterVacancy, begunAfter } = next;
  return Math.max(ended, afterVacancy ? Math.min(interval.releasedAfter, begunAfter) : begunAfter);
}

function vacancyTrouble({ from, to }: Vacancy, link: FittedInterval | undefined): string {
  return `nobody owned it between ${from.toFixed(3)} and ${to.toFixed(3)}, ` +
    `when epoch ${link?.interval.epoch ?? "none"} stood`;
}
