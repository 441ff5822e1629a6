/** The type of a violation that checkers report. */

/** A rule that was broken. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
  /** ms of the run's clock. */
  readonly at: number;
}

/** Reports that a rule was broken, and how. */
export type Report = (rule: string, message: string) => void;
