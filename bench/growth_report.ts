/**
 * Writes measured growth lines into `docs/capacity.md`: the table between its two marks, and a plot
 * of each line. The text around the table is written by hand.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { ROOT } from "../scripts/runtimes.ts";
import type { Measured, Point } from "./growth_fit.ts";
import { isTooSteep } from "./growth_fit.ts";
import { thisMachine } from "./report.ts";

const PAGE = `${ROOT}docs/capacity.md`;
const PLOTS = `${ROOT}docs/capacity`;
const BEGIN = "<!-- measured: begin -->";
const END = "<!-- measured: end -->";

/** Replaces the table and the plots. */
export function writeCapacity(lines: readonly Measured[]): void {
  mkdirSync(PLOTS, { recursive: true });
  for (const line of lines) writeFileSync(`${PLOTS}/${fileOf(line)}`, plotOf(line));
  writeFileSync(PAGE, withTable(readFileSync(PAGE, "utf8"), tableOf(lines)));
}

/** The page with another table between its marks. */
export function withTable(page: string, table: string): string {
  const from = page.indexOf(BEGIN);
  const to = page.indexOf(END);
  if (from < 0 || to < from) throw new Error(`${PAGE} lacks "${BEGIN}" and "${END}"`);
  return `${page.slice(0, from + BEGIN.length)}\n\n${table}\n\n${page.slice(to)}`;
}

/** The table and the plots of all lines, as Markdown. */
export function tableOf(lines: readonly Measured[]): string {
  const { date, cpus, model, system } = thisMachine(null);
  const rows = lines.map((line) => {
    const costs = line.points.map((it) => `${short(it.size)}: ${digits(it.cost)}`).join("<br>");
    const verdict = isTooSteep(line) ? "**no**" : "yes";
    return `| ${line.name} | ${line.cost} | ${line.size} | ${costs} | ${line.exponent} | ` +
      `${line.most}: ${verdict} | ${line.how} |`;
  });
  const plots = lines.map((line) => `![${line.name}](capacity/${fileOf(line)})`);
  return `Measured on ${date} on ${cpus} CPUs (${model}, ${system}) with ${
    [...new Set(lines.map(({ runtime }) => runtime))].join(", ")
  }.\n\n| what | cost | grows with | cost at each size | exponent | at most | from |\n` +
    `|---|---|---|---|---|---|---|\n${rows.join("\n")}\n\n${plots.join("\n")}`;
}

function fileOf({ name }: Measured): string {
  return `${name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")}.svg`;
}

/** Such as `10 k` or `1 M`. */
function short(size: number): string {
  if (size >= 1e6) return `${digits(size / 1e6)} M`;
  return size >= 1e4 ? `${digits(size / 1e3)} k` : digits(size);
}

/** Three significant digits. */
export function digits(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

const WIDTH = 380;
const HEIGHT = 220;
const LEFT = 56;
const RIGHT = 24;
const TOP = 40;
const BOTTOM = 44;

const STYLE = `text{font:11px system-ui,sans-serif;fill:#59636e}.title{font-size:13px;fill:#1f2328}
.axis{stroke:#8c959f}.line{fill:none;stroke:#2f6feb;stroke-width:2}.point{fill:#2f6feb}
.most{stroke:#8c959f;stroke-dasharray:4 3}
@media (prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#e6edf3}.line{stroke:#4493f8}.point{fill:#4493f8}}`;

/**
 * The plot of one line, as SVG: both axes are logarithmic, so that a power law is a straight line.
 * The dashed line begins at the first point and has the largest slope that is allowed.
 */
export function plotOf(line: Measured): string {
  const { points, most } = line;
  const first = points[0] as Point;
  const last = points.at(-1) as Point;
  const bound = first.cost * (last.size / first.size) ** most;
  const costs = [...points.map(({ cost }) => cost), bound].map((it) => Math.max(it, 1e-9));
  const scale = (least: number, greatest: number, from: number, to: number) => {
    const [a, b] = [Math.log(least), Math.log(greatest)];
    return (value: number) =>
      Math.round(
        from + (b === a ? 0.5 : (Math.log(Math.max(value, 1e-9)) - a) / (b - a)) * (to - from),
      );
  };
  const x = scale(first.size, last.size, LEFT, WIDTH - RIGHT);
  // A cost that hardly changes is drawn as a flat line, not stretched over the whole height.
  const greatest = Math.max(...costs, 10 * Math.min(...costs));
  const y = scale(Math.min(...costs), greatest, HEIGHT - BOTTOM, TOP);
  const path = points.map(({ size, cost }) => `${x(size)},${y(cost)}`).join(" ");
  const marks = points.map(({ size, cost }) =>
    `<circle class="point" cx="${x(size)}" cy="${y(cost)}" r="3"/>` +
    `<text x="${x(size)}" y="${y(cost) - 7}" text-anchor="middle">${digits(cost)}</text>` +
    `<text x="${x(size)}" y="${HEIGHT - BOTTOM + 15}" text-anchor="middle">${short(size)}</text>`
  );
  const base = HEIGHT - BOTTOM;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
    `width="${WIDTH}" height="${HEIGHT}" role="img">\n<style>${STYLE}</style>\n` +
    `<text class="title" x="8" y="16">${escaped(`${line.name}: ${line.cost}`)}</text>\n` +
    `<path class="axis" d="M${LEFT} ${base}H${WIDTH - RIGHT}"/>` +
    `<path class="most" d="M${x(first.size)} ${y(first.cost)}L${x(last.size)} ${y(bound)}"/>` +
    `<polyline class="line" points="${path}"/>\n${marks.join("\n")}\n` +
    `<text x="${WIDTH / 2}" y="${HEIGHT - 8}" text-anchor="middle">` +
    `${escaped(`${line.size} · exponent ${line.exponent}, dashed: ${most}`)}</text>\n</svg>\n`;
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c] as string);
}
