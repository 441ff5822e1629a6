/**
 * Writes figures as `figures.json`, as the tables of `docs/benchmarks.md` and as plots beside it.
 *
 * A plot has two bars for each figure, Atlas and its peer, to the scale of the longer one. It is
 * SVG text; its colours are readable on a light and on a dark page.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import process from "node:process";
import { ROOT } from "../scripts/runtimes.ts";
import { BENCHES } from "./benches.ts";
import type { Floors } from "./floors.ts";
import { type Figure, goalText, meetsGoal, show } from "./kit.ts";

const FILE = `${ROOT}bench/figures.json`;
const PAGE = `${ROOT}docs/benchmarks.md`;
const PLOTS = `${ROOT}docs/benchmarks`;

/** Where and when figures were measured. */
export interface Machine {
  readonly date: string;
  readonly cpus: number;
  readonly model: string;
  readonly system: string;
  /** The largest share of the CPUs that other processes used during a bench; null: unknown. */
  readonly others: number | null;
}

export interface Stored {
  readonly machine: Machine | null;
  /** Ratios by name, as `floors.ts` names figures. */
  readonly floors: Readonly<Record<string, number>>;
  readonly figures: readonly Figure[];
}

export function thisMachine(others: number | null): Machine {
  const models = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpus: models.length,
    model: models[0]?.model ?? "unknown CPUs",
    system: `${process.platform} ${process.arch}`,
    others,
  };
}

export function readFigures(): Stored {
  try {
    return JSON.parse(readFileSync(FILE, "utf8")) as Stored;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") {
      return { machine: null, floors: {}, figures: [] };
    }
    throw error;
  }
}

/** Figures of a bench and runtime that was run again replace the former ones. */
export function merged(old: readonly Figure[], added: readonly Figure[]): Figure[] {
  const unit = ({ bench, runtime }: Figure) => `${bench} ${runtime.split(" ")[0]}`;
  const again = new Set(added.map(unit));
  const all = [...old.filter((it) => !again.has(unit(it))), ...added];
  const order = Object.keys(BENCHES);
  const runtimes = ["bun", "node", "deno"];
  const rank = ({ bench, runtime }: Figure) =>
    order.indexOf(bench) * 3 + runtimes.indexOf(runtime.split(" ")[0] as string);
  return all.filter(({ bench }) => order.includes(bench)).sort((a, b) => rank(a) - rank(b));
}

/** Writes the file, the page and the plots. */
export function writeReport(machine: Machine, figures: readonly Figure[], floors: Floors): void {
  // One line for each, so that a change of it is one changed line.
  const sorted = [...floors].sort(([a], [b]) => a < b ? -1 : 1);
  const lines = sorted.map(([key, ratio]) => `    ${JSON.stringify(key)}: ${ratio}`);
  const rows = figures.map((it) => `    ${JSON.stringify(it)}`);
  writeFileSync(
    FILE,
    `{\n  "machine": ${JSON.stringify(machine)},\n  "floors": {\n${lines.join(",\n")}\n  },\n` +
      `  "figures": [\n${rows.join(",\n")}\n  ]\n}\n`,
  );
  mkdirSync(PLOTS, { recursive: true });
  for (const name of benchesOf(figures)) {
    writeFileSync(`${PLOTS}/${name}.svg`, plot(figures.filter(({ bench }) => bench === name)));
  }
  writeFileSync(PAGE, page(machine, figures));
}

function benchesOf(figures: readonly Figure[]): string[] {
  return [...new Set(figures.map(({ bench }) => bench))];
}

/** The page, as Markdown. */
export function page(machine: Machine, figures: readonly Figure[]): string {
  const { date, cpus, model, system, others } = machine;
  const share = others === null ? "an unknown share" : `at most ${Math.round(100 * others)} %`;
  const sections = benchesOf(figures).map((name) => {
    const rows = figures.filter(({ bench }) => bench === name);
    const about = BENCHES[name]?.about ?? name;
    return `## \`${name}\`: ${about}\n\n![${name}](benchmarks/${name}.svg)\n\n${table(rows)}`;
  });
  return `# Benchmarks

\`npm run bench -- --write\` measures all figures and writes this page. Measured on ${date}
on ${cpus} CPUs (${model}, ${system}), everything on this one machine over loopback. Other processes used ${share} of the
CPUs during any bench.

**How it is measured.** Each row is measured in one run, on the named runtime: Atlas and its peer by turns, in processes
of their own. Load generators are separate processes, too. A value is the median of its runs. Nodes have all checks on,
as in production: leases, fences, deadlines and limits. Calls carry 100 characters each way. *CPU* is the time that the
processes used, not the time that passed.

**What is not claimed.** A rate holds for this machine only; on another one compare the ratios. Nothing here crosses a
real network, so one call at a time will take longer in production. Load generators, servers and Redis share the same
cores, so a server alone on a core can do more. The peers do less than Atlas: a bare route, a bare WebSocket and
\`publish\` have no owner, no lease and no deadline; Moleculer and NATS have no single owner of a name. They show what
such a program costs without Atlas, not what to use instead. A ratio at high load says nothing about low load, and
the 99th percentile of one machine varies by half between runs.

**Floors.** \`npm run bench -- --check\` compares ratios with stored ones (\`bench/figures.json\`), by default those of
\`http\` and \`calls\`. It fails if one is more than 15 % worse in three runs after one another. A run in which other
processes used more than 10 % of the CPUs isn't judged, nor is any on a machine with another number of CPUs. Tail
latencies, single calls and steps of a few nanoseconds vary too much, and have no floor.

A ratio is Atlas's value divided by the peer's. For times, sizes and CPU, lower is better.

${sections.join("\n\n")}
`;
}

function table(rows: readonly Figure[]): string {
  const lines = rows.map((it) => {
    const met = meetsGoal(it);
    const goal = met === null ? "" : `${goalText(it)}: ${met ? "met" : "**not met**"}`;
    const cells = [
      it.metric,
      it.runtime,
      `${show(it.value)} ${it.unit}`,
      it.peer,
      `${show(it.peerValue)} ${it.unit}`,
      String(it.ratio),
      goal,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| figure | runtime | Atlas | peer | peer's value | ratio | goal |",
    "|---|---|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

const WIDTH = 760;
const BAR = 14;
const ROW = 62;
/** The longest bar; the rest of the width is for its value. */
const LONGEST = 440;

const STYLE = `text{font:13px system-ui,sans-serif;fill:#1f2328}
.note{font-size:11px;fill:#59636e}.ours{fill:#2f6feb}.theirs{fill:#8c959f}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.ours{fill:#4493f8}.theirs{fill:#6e7681}}`;

/** The plot of one bench, as SVG. */
export function plot(rows: readonly Figure[]): string {
  const height = rows.length * ROW + 8;
  const parts = rows.map((it, i) => {
    const y = i * ROW + 18;
    const most = Math.max(it.value, it.peerValue);
    const bar = (value: number, at: number, kind: string, name: string) => {
      const length = Math.max(1, Math.round(LONGEST * value / most));
      return `<rect class="${kind}" x="0" y="${at}" width="${length}" height="${BAR}" rx="2"/>` +
        `<text class="note" x="${length + 6}" y="${at + 11}">${escaped(name)}</text>`;
    };
    const better = it.better === "less" ? " (less is better)" : "";
    return `<text x="0" y="${y}">${escaped(`${it.metric}, ${it.runtime}${better}`)}</text>` +
      bar(it.value, y + 6, "ours", `Atlas ${show(it.value)} ${it.unit}`) +
      bar(it.peerValue, y + 22, "theirs", `${show(it.peerValue)}, ${it.peer}`);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ` +
    `width="${WIDTH}" height="${height}" role="img">\n<style>${STYLE}</style>\n` +
    `${parts.join("\n")}\n</svg>\n`;
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c] as string);
}
