/**
 * Decides whether the observations of a key's owners are consistent with one sequence of
 * ownerships.
 *
 * Linearizability in general needs a search over all orders of the attempts; epochs make it
 * needless. Whoever ends an ownership (a release, a takeover) names its epoch, so every ended
 * ownership was observed, only the last can be unknown, and epochs give the order. What remains is
 * to choose an instant for each beginning and end, within bounds and in order, with a vacancy
 * between two ownerships wherever one was observed. Choosing the earliest instant leaves most room
 * for the rest; a beginning is delayed only for an observed vacancy that no later gap can hold. One
 * pass; exact for ownerships whose winner was told. If the winner's reply was lost, every attempt
 * that it may have been is allowed.
 *
 * Source: Herlihy and Wing, "Linearizability" (1990); Gibbons and Korach, "Testing Shared Memories"
 * (1997), for why unique values avoid the search.
 */
import type { Report } from "./checker.ts";
import type { Attempt, Observations, OwnershipInterval, Vacancy } from "./observations.ts";

/** A reign with how it can have come about. */
interface FittedInterval {
  readonly interval: OwnershipInterval;
  /** It can't have begun before. */
  readonly begunAfter: number;
  /** Whether the throne may have been empty before it. */
  readonly afterVacancy: boolean;
}

/**
 * Reports what can't have happened. `condemned`: when each incarnation's end was first asked for.
 */
export function fitIntervals(
  testimony: Observations,
  condemned: ReadonlyMap<string, number>,
  report: Report,
): void {
  const { key } = testimony;
  const reigns = [...testimony.intervals.values()].sort((a, b) => a.epoch - b.epoch);
  const byIncarnation = Map.groupBy(testimony.attempts.values(), (it) => it.incarnation);
  const line: FittedInterval[] = [];
  for (const reign of reigns) {
    const before = line.at(-1)?.interval ?? null;
    const candidates = reign.winner
      ? [reign.winner]
      : (byIncarnation.get(reign.incarnation) ?? []).filter(({ at }) => at <= reign.begunBy);
    const link = succeed(reign, before, candidates, condemned);
    if (typeof link === "string") return report(`${key}: epoch ${reign.epoch} ${link}`);
    line.push(link);
  }
  const trouble = fit(line, testimony.vacancies);
  if (trouble !== null) report(`${key}: ${trouble}`);
}

/** How a reign can have followed the one before; or why it can't, in words. */
function succeed(
  reign: OwnershipInterval,
  before: OwnershipInterval | null,
  candidates: readonly Attempt[],
  condemned: ReadonlyMap<string, number>,
): FittedInterval | string {
  if (candidates.length === 0) return `is ${reign.incarnation}'s, who never asked for it`;
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
    } else if (expected.incarnation !== reign.incarnation) {
      // Taken from somebody else, who must have been dead.
      from = Math.max(from, condemned.get(expected.incarnation) ?? Infinity);
      if (from === Infinity) why = `was taken from ${expected.incarnation}, which nobody ended`;
    }
    begunAfter = Math.min(begunAfter, from);
  }
  return begunAfter === Infinity ? why : { interval: reign, begunAfter, afterVacancy };
}

/** Finds an instant for each beginning and end; or tells what doesn't fit. */
function fit(line: readonly FittedInterval[], vacancies: readonly Vacancy[]): string | null {
  let left = [...vacancies];
  /** When the reign before ends, at the earliest. */
  let ended = -Infinity;
  for (const [i, { interval: reign, begunAfter, afterVacancy }] of line.entries()) {
    let begun = Math.max(ended, begunAfter);
    const misfit = left.find(({ to }) => to < ended);
    if (misfit) return vacancyTrouble(misfit, line[i - 1]);
    if (i === 0 || afterVacancy) {
      const before = line[i - 1]?.interval.epoch ?? 0;
      const fitting = left.filter(({ after }) => after <= before);
      begun = putOff(line, i, begun, fitting);
      left = left.filter(({ from, after }) => after > before || from > begun);
    }
    if (begun > reign.begunBy) {
      return `epoch ${reign.epoch} can't have begun before ${begun.toFixed(3)}, ` +
        `but was heard of by ${reign.begunBy.toFixed(3)}`;
    }
    ended = endOf(line, i, begun);
    if (ended > reign.endedBy) {
      return `epoch ${reign.epoch} can't have ended before ${ended.toFixed(3)}, ` +
        `but was found gone by ${reign.endedBy.toFixed(3)}`;
    }
  }
  const last = line.at(-1);
  if (!last) return null;
  const misfit = left.find(({ to }) => to < Math.max(ended, last.interval.releasedAfter));
  return misfit ? vacancyTrouble(misfit, last) : null;
}

/** The latest that a beginning must be put off to, for vacancies that fit nowhere later. */
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

/** When the throne is empty again, at the earliest, after a reign that began then. */
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

/** When a reign that began then ends, at the earliest. */
function endOf(line: readonly FittedInterval[], i: number, begun: number): number {
  const reign = line[i]?.interval as OwnershipInterval;
  const next = line[i + 1];
  const ended = Math.max(begun, reign.endedAfter);
  if (!next) return reign.endedBy < Infinity ? Math.max(ended, reign.endableAfter) : ended;
  // A successor who found an empty throne: the release comes first. Else the takeover ends it.
  const { afterVacancy, begunAfter } = next;
  return Math.max(ended, afterVacancy ? Math.min(reign.releasedAfter, begunAfter) : begunAfter);
}

function vacancyTrouble({ from, to }: Vacancy, link: FittedInterval | undefined): string {
  return `nobody owned it between ${from.toFixed(3)} and ${to.toFixed(3)}, ` +
    `when epoch ${link?.interval.epoch ?? "none"} stood`;
}
