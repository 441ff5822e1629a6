/**
 * What processes observed of one key's owners: for each ownership, the bounds of its beginning and
 * its end.
 *
 * Takes what processes asked and were told, with true times; gives intervals and attempts for
 * {@link fitIntervals}.
 */
import type { Ownership } from "../../src/model/ownership.ts";
import type { Claim, ClaimReply } from "../../src/ports/store.ts";
import type { Report } from "./checker.ts";

/** One ownership of a key. All times in true ms. */
export interface OwnershipInterval {
  readonly epoch: number;
  readonly incarnation: string;
  /** It had begun by then: somebody had heard of it. */
  begunBy: number;
  /** It had not ended before: somebody who asked then found it. */
  endedAfter: number;
  /** It had ended by then: somebody found it gone. */
  endedBy: number;
  /** From when on somebody wanted it to end, by release or takeover; Infinity: nobody. */
  endableAfter: number;
  /** From when on its release was asked for; Infinity: never. */
  releasedAfter: number;
  /** Whether somebody was told that he had released it: then nobody took it over. */
  wasReleased: boolean;
  /** The attempt that was told to have won it. */
  winner: Attempt | null;
}

/** One compare-and-set, however often it was asked for under the same name. */
export interface Attempt {
  readonly opId: string;
  readonly incarnation: string;
  readonly expected: Claim["expected"];
  /** First asked for. */
  readonly at: number;
}

/** Nobody owned the key at some instant of this span. */
export interface Vacancy {
  readonly from: number;
  readonly to: number;
  /** Whoever saw it knew of this epoch: it had begun before. 0: of none. */
  readonly after: number;
}

export class Observations {
  readonly key: string;
  readonly intervals: Map<number, OwnershipInterval> = new Map();
  readonly attempts: Map<string, Attempt> = new Map();
  readonly vacancies: Vacancy[] = [];
  /** Epochs that may have been written back after they had ended: by a late reassertion. */
  readonly #revived = new Set<number>();
  readonly #report: Report;

  constructor(key: string, report: Report) {
    this.key = key;
    this.#report = report;
  }

  /** A claim is asked for; whoever expects an owner has heard of it. */
  attempted({ opId, incarnation, expected }: Claim, at: number): void {
    if (!this.attempts.has(opId)) this.attempts.set(opId, { opId, incarnation, expected, at });
    if (!expected) return;
    const interval = this.#interval(expected.incarnation, expected.epoch, at);
    interval.endableAfter = Math.min(interval.endableAfter, at);
  }

  releasing(incarnation: string, epoch: number, at: number): void {
    const interval = this.#interval(incarnation, epoch, at);
    interval.releasedAfter = Math.min(interval.releasedAfter, at);
    interval.endableAfter = Math.min(interval.endableAfter, at);
  }

  /** A claim asked for at `from` was answered at `to`. */
  claimed(claim: Claim, { won, owner }: ClaimReply, from: number, to: number): void {
    const { opId, expected } = claim;
    const interval = this.saw(owner, from, to, expected?.epoch);
    // Whether it was taken over or was gone already: what was expected is over.
    if (expected) this.gone(expected.epoch, to);
    const attempt = this.attempts.get(opId);
    if (!won || !interval || !attempt) return;
    interval.winner ??= attempt;
    if (interval.winner !== attempt) {
      const rival = interval.winner.incarnation;
      this.#report(
        `${this.key}: epoch ${interval.epoch} was won by ${rival} and ${attempt.incarnation}`,
      );
    }
  }

  /** Its owner says an ownership again: it may have been released by then, or be so soon. */
  reasserted(epoch: number): void {
    this.#revived.add(epoch);
    const interval = this.intervals.get(epoch);
    if (!interval) return;
    interval.wasReleased = false;
    interval.endedBy = Infinity;
  }

  /** A release asked for at `from` was answered at `to`: either way the interval is over. */
  released(epoch: number, wasDone: boolean, from: number, to: number): void {
    if (this.#revived.has(epoch)) return;
    this.gone(epoch, to);
    const interval = this.intervals.get(epoch);
    if (!interval || !wasDone) return;
    interval.endedAfter = Math.max(interval.endedAfter, from);
    if (interval.wasReleased) this.#report(`${this.key}: epoch ${epoch} was released twice`);
    interval.wasReleased = true;
  }

  /** Somebody, who knew of epoch `after`, asked for the owner at `from`, and heard at `to`. */
  saw(
    owner: Ownership | null,
    from: number,
    to: number,
    after: number = 0,
  ): OwnershipInterval | null {
    if (owner) return this.stood(owner.incarnation, owner.epoch, from, to);
    this.vacancies.push({ from, to, after });
    return null;
  }

  /** An ownership stood at some instant of this span. */
  stood(incarnation: string, epoch: number, from: number, to: number): OwnershipInterval {
    const interval = this.#interval(incarnation, epoch, to);
    interval.endedAfter = Math.max(interval.endedAfter, from);
    return interval;
  }

  /** An ownership was found to have ended, by `to`. */
  gone(epoch: number, to: number): void {
    const interval = this.intervals.get(epoch);
    if (interval) interval.endedBy = Math.min(interval.endedBy, to);
  }

  #interval(incarnation: string, epoch: number, begunBy: number): OwnershipInterval {
    let interval = this.intervals.get(epoch);
    if (!interval) {
      interval = {
        epoch,
        incarnation,
        begunBy,
        endedAfter: -Infinity,
        endedBy: Infinity,
        endableAfter: Infinity,
        releasedAfter: Infinity,
        wasReleased: false,
        winner: null,
      };
      this.intervals.set(epoch, interval);
    }
    if (interval.incarnation !== incarnation) {
      this.#report(`${this.key}: epoch ${epoch} is ${interval.incarnation}'s and ${incarnation}'s`);
    }
    interval.begunBy = Math.min(interval.begunBy, begunBy);
    return interval;
  }
}
