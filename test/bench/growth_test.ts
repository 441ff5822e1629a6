/** The fit of growing costs, their table and plots. No time is measured. */
import { expect, test } from "vitest";
import { exponentOf, isTooSteep, type Measured } from "../../bench/growth_fit.ts";
import { allLines } from "../../bench/growth_lines.ts";
import { plotOf, tableOf, withTable } from "../../bench/growth_report.ts";

const at = (cost: (size: number) => number) =>
  [10, 100, 1_000].map((size) => ({ size, cost: cost(size) }));

const LINE: Measured = {
  name: "count of names",
  size: "names",
  cost: "ms a count",
  how: "real processes",
  runtime: "bun 1.4.4",
  points: at((size) => size / 1_000),
  exponent: 1,
  most: 0.2,
};

test("the exponent is the power with which a cost grows", () => {
  expect(exponentOf(at((size) => 7 * size ** 2))).toBe(2);
  expect(exponentOf(at((size) => 3 * size))).toBe(1);
  expect(exponentOf(at(() => 5))).toBe(0);
  expect(exponentOf(at(() => 0))).toBe(0);
  expect(exponentOf([{ size: 10, cost: 1 }])).toBeNaN();
});

test("a cost of zero at a small size counts as a thousandth of the largest one", () => {
  expect(exponentOf([{ size: 1, cost: 0 }, { size: 1_000, cost: 8 }])).toBe(1);
});

test("a line is too steep above its stated exponent, or where none fits", () => {
  expect(isTooSteep({ exponent: 0.2, most: 0.2 })).toBe(false);
  expect(isTooSteep({ exponent: 0.21, most: 0.2 })).toBe(true);
  expect(isTooSteep({ exponent: NaN, most: 0.2 })).toBe(true);
});

test("the table replaces what stands between the marks of the page, and nothing else", () => {
  const page = "# Capacity\n<!-- measured: begin -->\nold\n<!-- measured: end -->\ntail\n";
  const table = tableOf([LINE]);
  const written = withTable(page, table);
  expect(table).toContain("10: 0.01<br>100: 0.1<br>1,000: 1 | 1 | 0.2: **no**");
  expect(written).toContain(table);
  expect(written).not.toContain("old");
  expect(withTable(written, table)).toBe(written);
  expect(() => withTable("# Capacity", table)).toThrow("measured: begin");
});

test("a plot is one SVG with a mark and a label for each size", () => {
  const svg = plotOf({ ...LINE, name: "a < b" });
  expect(svg.match(/<circle/g)).toHaveLength(3);
  expect(svg).toContain("a &lt; b: ms a count");
  expect(svg).not.toContain("NaN");
  expect(plotOf({ ...LINE, points: at(() => 0) })).not.toContain("NaN");
});

test("each growth line has a name of its own, ascending sizes and an exponent", async () => {
  const lines = (await allLines()).map(({ line }) => line);
  expect(new Set(lines.map(({ name }) => name)).size).toBe(lines.length);
  for (const { name, sizes, exponent } of lines) {
    expect(sizes.length, name).toBeGreaterThan(1);
    expect(sizes, name).toEqual([...sizes].sort((a, b) => a - b));
    expect(Number.isFinite(exponent), name).toBe(true);
  }
});
