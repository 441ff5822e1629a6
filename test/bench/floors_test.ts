/** When a ratio counts as fallen, and the page and plots of figures. No time is measured. */
import { expect, test } from "vitest";
import { confirm, floorsOf, isBelow, keyOf, type Run } from "../../bench/floors.ts";
import { type Figure, figure } from "../../bench/kit.ts";
import { merged, page, plot } from "../../bench/report.ts";

const ABOUT = { bench: "calls", unit: "calls/s", peer: "peer", runtime: "bun 1.4.4" };

function rate(ratio: number, metric = "rate"): Figure {
  return figure({ ...ABOUT, metric }, [ratio * 100], [100]);
}

function cpu(ratio: number): Figure {
  return figure({ ...ABOUT, metric: "CPU", better: "less" }, [ratio * 100], [100]);
}

const KEY = keyOf(rate(1));
const FLOORS = new Map([[KEY, 2], [keyOf(cpu(1)), 2]]);

/** Confirms with these runs, one after the other; an error is a run that throws. */
async function outcomeOf(runs: readonly (Run | Error)[], hasTime = () => true) {
  let used = 0;
  const { verdict, below } = await confirm(
    FLOORS,
    () => {
      const run = runs[used++] as Run | Error;
      return run instanceof Error ? Promise.reject(run) : Promise.resolve(run);
    },
    () => {},
    hasTime,
  );
  return { verdict, below, used };
}

const quiet = (...figures: Figure[]): Run => ({ figures, others: 0.02 });

test("a figure's name leaves out the version of its runtime", () => {
  expect(KEY).toBe("calls on bun: rate / peer");
});

test("a ratio is below its floor from more than 15 % on, in the direction that is worse", () => {
  expect(isBelow(rate(1.7), FLOORS)).toBe(false);
  expect(isBelow(rate(1.69), FLOORS)).toBe(true);
  expect(isBelow(rate(9), FLOORS)).toBe(false);
  expect(isBelow(cpu(2.35), FLOORS)).toBe(false);
  expect(isBelow(cpu(2.36), FLOORS)).toBe(true);
  expect(isBelow(cpu(0.1), FLOORS)).toBe(false);
  expect(isBelow(rate(0.1, "unknown"), FLOORS)).toBe(false);
});

test("floors are the medians of the runs that nobody disturbed", () => {
  const busy: Run = { figures: [rate(9)], others: 0.5 };
  const tail = figure({ ...ABOUT, metric: "p99", isFloor: false }, [1], [1]);
  const runs = [quiet(rate(2), tail), quiet(rate(3)), quiet(rate(1)), busy];
  expect([...floorsOf(runs)]).toEqual([[KEY, 2]]);
  expect([...floorsOf([busy])]).toEqual([]);
});

test("one good run passes, without another one", async () => {
  const good = await outcomeOf([quiet(rate(1.9))]);
  expect(good).toEqual({ verdict: "passed", below: [], used: 1 });
  const later = await outcomeOf([quiet(rate(1)), quiet(rate(1.9))]);
  expect(later).toEqual({ verdict: "passed", below: [], used: 2 });
});

test("a ratio fails if it is too low in three runs after one another", async () => {
  const low = quiet(rate(1.6), cpu(2));
  expect(await outcomeOf([low, low, low])).toEqual({ verdict: "failed", below: [KEY], used: 3 });
});

test("two figures that are too low in different runs don't confirm each other", async () => {
  const runs = [quiet(rate(1), cpu(2)), quiet(rate(2), cpu(4))];
  expect(await outcomeOf(runs)).toEqual({ verdict: "passed", below: [], used: 2 });
});

test("a run on a busy machine isn't judged, and ends the check of its bench", async () => {
  const busy: Run = { figures: [rate(1)], others: 0.11 };
  expect((await outcomeOf([busy])).verdict).toBe("busy");
  expect((await outcomeOf([quiet(rate(1)), busy])).verdict).toBe("busy");
  const unknown: Run = { figures: [rate(1)], others: null };
  expect((await outcomeOf([unknown, unknown, unknown])).verdict).toBe("failed");
});

test("without time for three runs nothing fails", async () => {
  let runs = 0;
  const low = quiet(rate(1));
  const outcome = await outcomeOf([low, low, low], () => runs++ < 2);
  expect(outcome).toEqual({ verdict: "unconfirmed", below: [KEY], used: 2 });
});

test("a bench that throws each time is broken; one that throws once confirms nothing", async () => {
  const error = new Error("no");
  expect((await outcomeOf([error, error, error])).verdict).toBe("broken");
  expect((await outcomeOf([error, quiet(rate(2))])).verdict).toBe("passed");
  const low = quiet(rate(1));
  expect((await outcomeOf([low, error, low])).verdict).toBe("unconfirmed");
});

test("figures of a bench replace its former ones on the same runtime only", () => {
  const old = [rate(1), { ...rate(2), runtime: "node 24.0.0" }, { ...rate(3), bench: "http" }];
  const added = [{ ...rate(4), runtime: "node 24.1.0" }];
  expect(merged(old, added).map(({ bench, runtime, ratio }) => [bench, runtime, ratio])).toEqual([
    ["http", "bun 1.4.4", 3],
    ["calls", "bun 1.4.4", 1],
    ["calls", "node 24.1.0", 4],
  ]);
});

test("the page has a row for each figure, and says what its goal is and whether it is met", () => {
  const machine = { date: "2026-01-02", cpus: 2, model: "CPU", system: "linux x64", others: 0.04 };
  const goal = { of: "ratio" as const, least: 0.3 };
  const it = figure({ ...ABOUT, metric: "rate", goal }, [1_234_567], [10_000_000]);
  const text = page(machine, [it]);
  expect(text).toContain("2 CPUs (CPU, linux x64)");
  expect(text).toContain("at most 4 %");
  expect(text).toContain("![calls](benchmarks/calls.svg)");
  expect(text).toContain(
    "| rate | bun 1.4.4 | 1,234,567 calls/s | peer | 10,000,000 calls/s | 0.123 | ratio ≥ 0.3: " +
      "**not met** |",
  );
});

test("a plot's bars are to the scale of the longer one, and its text is escaped", () => {
  const svg = plot([figure({ ...ABOUT, metric: "a < b" }, [50], [100])]);
  expect(svg).toContain("a &lt; b, bun 1.4.4");
  const widths = [...svg.matchAll(/<rect class="(\w+)"[^>]* width="(\d+)"/g)];
  expect(widths.map(([, kind, width]) => [kind, Number(width)])).toEqual([
    ["ours", 220],
    ["theirs", 440],
  ]);
  expect(svg).toContain("prefers-color-scheme:dark");
});
