/** How a cost grows with its size: the fitted exponent, and when it counts as too steep. */
import type { GrowthLine } from "./growth/line.ts";

/** A cost at a size. */
export interface Point {
  readonly size: number;
  readonly cost: number;
}

/** A measured line: its points and the exponent that fits them. */
export interface Measured {
  readonly name: string;
  readonly size: string;
  readonly cost: string;
  readonly how: GrowthLine["how"];
  /** The runtime that measured it, such as `bun 1.4.4`. */
  readonly runtime: string;
  readonly points: readonly Point[];
  /** The fitted exponent; the cost is proportional to `size ^ exponent`. */
  readonly exponent: number;
  /** The largest exponent that the line allows. */
  readonly most: number;
}

/** A cost of zero counts as this share of the largest one. */
const ZERO_SHARE = 1e-3;

/**
 * The exponent of the power law nearest to the points: the slope of the least squares line through
 * the logarithms of sizes and costs. NaN for fewer than two sizes.
 */
export function exponentOf(points: readonly Point[]): number {
  const least = ZERO_SHARE * Math.max(...points.map(({ cost }) => cost));
  if (!(least > 0)) return points.length < 2 ? NaN : 0;
  const xs = points.map(({ size }) => Math.log(size));
  const ys = points.map(({ cost }) => Math.log(cost > 0 ? cost : least));
  const mean = (values: number[]) => values.reduce((sum, it) => sum + it, 0) / values.length;
  const [x, y] = [mean(xs), mean(ys)];
  const above = xs.reduce((sum, it, i) => sum + (it - x) * ((ys[i] as number) - y), 0);
  const below = xs.reduce((sum, it) => sum + (it - x) ** 2, 0);
  return below === 0 ? NaN : Math.round(100 * above / below) / 100;
}

/** Whether a line grows faster than it may. A line without an exponent does, too. */
export function isTooSteep({ exponent, most }: Pick<Measured, "exponent" | "most">): boolean {
  return !(exponent <= most);
}
