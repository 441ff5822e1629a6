/**
 * What processes observed of one key's owners: for each ownership, the bounds of its beginning and
 * its end.
 *
 * Takes the processes' requests and replies, with true times; gives intervals and attempts for
 * {@link fitIntervals}.
 */
import type { Ownership } from "../../src/model/ownership.ts";
import type { Claim, ClaimReply } from "../../src/ports/store.ts";
import type { Report } from "./checker.ts";

/** One ownership of a key. All times in true ms. */
export interface OwnershipInterval {
  readonly epoch: number;
  readonly incarnation: string;
  /** It had begun by then: a process knew of it. */
  begunBy: number;
  /** It had not ended before: a request that was sent then found it. */
  endedAfter: number;
  /** It had ended by then: a process found it gone. */
  endedBy: number;
  /** When its end was first requested, by release or takeover; Infinity: never. */
  endableAfter: number;
  /** When its release was first requested; Infinity: never. */
  releasedAfter: number;
  /** Whether a process was told that it had released it: then no takeover ended it. */
  wasReleased: boolean;
  /** The attempt whose reply said that it won. */
  winner: Attempt | null;
}

/** One compare-and-set, however often it was requested under the same `opId`. */
export interface Attempt {
  readonly opId: string;
  readonly incarnation: string;
  readonly expected: Claim["expected"];
  /** When it was first requested. */
  readonly at: number;
}

/** The key was unowned at some instant of this span. */
export interface Vacancy {
  readonly from: number;
  readonly to: number;
  /** The process that saw it knew of this epoch, which had begun before. 0: it knew of none. */
  readonly after: number;
}

export class Observations {
  readonly key: string;
  readonly intervals: Map<number, OwnershipInterval> = new Map();
  readonly attempts: Map<string, Attempt> = new Map();
  readonly vacancies: Vacancy[] = [];
  /** Epochs that a late reassertion may have restored after they had ended. */
  readonly #revived = new Set<number>();
  readonly #report: Report;

  constructor(key: string, report: Report) {
    this.key = key;
    this.#report = report;
  }

  /** A claim is requested; a process that expects an owner knows of it. */
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

  /** A claim requested at `from` was answered at `to`. */
  claimed(claim: Claim, { won, owner }: ClaimReply, from: number, to: number): void {
    const { opId, expected } = claim;
    const interval = this.saw(owner, from, to, expected?.epoch);
    // Whether it was taken over or was already gone: the expected ownership has ended.
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

  /** An owner reasserts an ownership, which may have been released by then or soon after. */
  reasserted(epoch: number): void {
    this.#revived.add(epoch);
    const interval = this.intervals.get(epoch);
    if (!interval) return;
    interval.wasReleased = false;
    interval.endedBy = Infinity;
  }

  /**
   * A release requested at `from` was answered at `to`: whatever the answer, the interval is over.
   */
  released(epoch: number, wasDone: boolean, from: number, to: number): void {
    if (this.#revived.has(epoch)) return;
    this.gone(epoch, to);
    const interval = this.intervals.get(epoch);
    if (!interval || !wasDone) return;
    interval.endedAfter = Math.max(interval.endedAfter, from);
    if (interval.wasReleased) this.#report(`${this.key}: epoch ${epoch} was released twice`);
    interval.wasReleased = true;
  }

  /**
   * A process that knew of epoch `after` asked for the owner at `from`, and got the reply at `to`.
   */
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
