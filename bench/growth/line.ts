/** One cost that is measured at growing sizes by `npm run bench -- growth`. */
export interface GrowthLine {
  /** Short name, e.g. "count of names". */
  readonly name: string;
  /** What grows, e.g. "names". */
  readonly size: string;
  /** What is measured and its unit, e.g. "ms a count". */
  readonly cost: string;
  /** Sizes in ascending order; the first ones are small enough for a quick run. */
  readonly sizes: readonly number[];
  /** The fitted exponent may not be above this (cost ~ size^exponent). */
  readonly exponent: number;
  /** Where the number comes from. */
  readonly how: "real processes" | "simulation" | "one process";
  /** Measures the cost once at one size. */
  measure(size: number): Promise<number>;
}
