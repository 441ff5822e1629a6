/**
 * The floors: a ratio of each figure, stored in `figures.json`, below which it must not fall by more
 * than {@link TOLERANCE}.
 *
 * A figure fails only if it is too low in {@link ATTEMPTS} runs after one another, on a machine that
 * other processes leave alone. Ratios beside a peer in the same run vary far less between machines
 * than rates do, but a single run may still be disturbed, and on a busy machine the ratio itself
 * changes.
 */
import { type Figure, median } from "./kit.ts";

/** How far a ratio may fall below its floor. */
export const TOLERANCE = 0.15;
/** How many runs must confirm it. */
export const ATTEMPTS = 3;
/** A run isn't judged if other processes used a greater share of the CPUs. */
export const MAX_OTHERS = 0.1;

/** Stored ratios by {@link keyOf}. */
export type Floors = ReadonlyMap<string, number>;

/** A figure's name in the file: without versions, so that an update compares with what was. */
export function keyOf({ bench, metric, peer, runtime }: Figure): string {
  return `${bench} on ${runtime.split(" ")[0]}: ${metric} / ${peer}`;
}

/** The floors that runs of the same benches give: of each figure, the median of its ratios. */
export function floorsOf(runs: readonly Run[]): Map<string, number> {
  const ratios = new Map<string, number[]>();
  for (const { figures, others } of runs) {
    if ((others ?? 0) > MAX_OTHERS) continue;
    for (const it of figures.filter(({ isFloor }) => isFloor)) {
      const key = keyOf(it);
      ratios.set(key, [...ratios.get(key) ?? [], it.ratio]);
    }
  }
  return new Map([...ratios].map(([key, all]) => [key, median(all)]));
}

/** How a ratio compares with its floor: 0.1 is 10 % better, -0.1 is 10 % worse. */
export function change({ ratio, better }: Figure, floor: number): number {
  return (better === "more" ? ratio / floor : floor / ratio) - 1;
}

/** Whether a figure is too far below its floor; false if it has none. */
export function isBelow(figure: Figure, floors: Floors): boolean {
  const floor = floors.get(keyOf(figure));
  // Stored ratios are rounded.
  return floor !== undefined && change(figure, floor) < -TOLERANCE - 1e-9;
}

/** One run of a bench. */
export interface Run {
  readonly figures: readonly Figure[];
  /** The share of the CPUs that other processes used; null: unknown. */
  readonly others: number | null;
}

/** What became of the runs of one bench on one runtime. */
export interface Outcome {
  /**
   * `busy`: the last run could not be judged. `unconfirmed`: there was no time for another run.
   * `broken`: every run threw.
   */
  readonly verdict: "passed" | "failed" | "busy" | "unconfirmed" | "broken";
  /** The figures that were too low in each run. */
  readonly below: readonly string[];
}

/**
 * Runs a bench until its figures are confirmed, one way or the other.
 *
 * @param run one run; `onRun` gets each of them, with the keys that are too low in all so far.
 * @param hasTime whether another run may begin.
 */
export async function confirm(
  floors: Floors,
  run: () => Promise<Run>,
  onRun: (run: Run, below: readonly string[]) => void,
  hasTime: () => boolean,
): Promise<Outcome> {
  let below: string[] | null = null;
  let thrown = 0;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    if (!hasTime()) return { verdict: "unconfirmed", below: below ?? [] };
    let it: Run;
    try {
      it = await run();
    } catch {
      thrown += 1;
      continue;
    }
    if ((it.others ?? 0) > MAX_OTHERS) {
      onRun(it, []);
      return { verdict: "busy", below: below ?? [] };
    }
    const low = it.figures.filter((figure) => isBelow(figure, floors)).map(keyOf);
    below = below === null ? low : below.filter((key) => low.includes(key));
    onRun(it, below);
    if (below.length === 0) return { verdict: "passed", below };
  }
  if (thrown === ATTEMPTS) return { verdict: "broken", below: [] };
  return { verdict: thrown > 0 ? "unconfirmed" : "failed", below: below ?? [] };
}
