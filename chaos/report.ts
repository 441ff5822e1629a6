/**
 * What went wrong, as it is handed from the referees to the reporter.
 */

/** A rule that was broken. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
  /** ms of the run's clock. */
  readonly at: number;
}

/** Reports that a rule was broken, and how. */
export type Report = (rule: string, message: string) => void;
