/**
 * `npm run bench -- growth`: measures what things cost at growing sizes, fits the exponent of each
 * line, and fails where it is above the stated one in three measurements after one another.
 */
import { spawn } from "node:child_process";
import { type RuntimeCommand, RUNTIMES, versionOf } from "../scripts/runtimes.ts";
import { exponentOf, isTooSteep, type Measured, type Point } from "./growth_fit.ts";
import { allLines, type Found } from "./growth_lines.ts";
import { digits, writeCapacity } from "./growth_report.ts";

export interface GrowthOptions {
  /** Names of lines; none means all. */
  readonly names: readonly string[];
  /** The runtime that measures; default Bun. */
  readonly runtime: string | undefined;
  /** All sizes but the largest. */
  readonly quick: boolean;
  readonly json: boolean;
  /** Writes `docs/capacity.md` and its plots. */
  readonly write: boolean;
}

/** How often a line is measured before it counts as too steep. */
const TRIES = 3;

/** The longest that one measurement may take, in ms. */
const LONGEST_MS = 600_000;

/** Measures, prints, and gives the exit code. */
export async function runGrowth(options: GrowthOptions): Promise<number> {
  const runtime = RUNTIMES.find(({ name }) => name === (options.runtime ?? "bun"));
  const all = await allLines();
  const unknown = options.names.filter((name) => !all.some(({ line }) => line.name === name));
  if (!runtime || unknown.length > 0) {
    const known = all.map(({ line }) => `"${line.name}"`).join(", ");
    console.error(`no growth line named "${unknown.join('", "')}"; there are: ${known}`);
    return 2;
  }
  const { names } = options;
  const asked = names.length === 0 ? all : all.filter(({ line }) => names.includes(line.name));
  const done: Measured[] = [];
  let failed = 0;
  for (const found of asked) {
    try {
      const measured = await confirmed(found, runtime, options.quick);
      done.push(measured);
      console.log(options.json ? JSON.stringify(measured) : textOf(measured));
      if (isTooSteep(measured)) failed += 1;
    } catch (error) {
      failed += 1;
      console.error(`${found.line.name}: ${(error as Error).message}`);
    }
  }
  if (options.write) writeCapacity(done);
  return failed > 0 ? 1 : 0;
}

/** The first measurement that isn't too steep; the last one if all are. */
async function confirmed(
  found: Found,
  runtime: RuntimeCommand,
  quick: boolean,
): Promise<Measured> {
  let measured = await measureLine(found, runtime, quick);
  for (let i = 1; i < TRIES && isTooSteep(measured); i++) {
    console.error(`${found.line.name}: exponent ${measured.exponent}, measured again`);
    measured = await measureLine(found, runtime, quick);
  }
  return measured;
}

async function measureLine(
  { file, line }: Found,
  runtime: RuntimeCommand,
  quick: boolean,
): Promise<Measured> {
  const sizes = quick && line.sizes.length > 2 ? line.sizes.slice(0, -1) : line.sizes;
  const points: Point[] = [];
  for (const size of sizes) {
    console.error(`${line.name}: ${size} ${line.size}`);
    points.push({ size, cost: await costAt(file, line.name, size, runtime) });
  }
  const { name, cost, how } = line;
  const runtimeName = `${runtime.name} ${versionOf(runtime) ?? ""}`.trim();
  return {
    name,
    size: line.size,
    cost,
    how,
    runtime: runtimeName,
    points,
    exponent: exponentOf(points),
    most: line.exponent,
  };
}

/** Measures one size in a process of its own. */
function costAt(
  file: string,
  name: string,
  size: number,
  runtime: RuntimeCommand,
): Promise<number> {
  const [binary, ...args] = runtime.run as [string, ...string[]];
  const worker = new URL("growth_worker.ts", import.meta.url).pathname;
  return new Promise((resolve, reject) => {
    const child = spawn(binary, [...args, worker, file, name, String(size)], {
      stdio: ["ignore", "pipe", "inherit"],
      timeout: LONGEST_MS,
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const last = text.trim().split("\n").at(-1) ?? "";
      if (code !== 0 || !last.startsWith("{")) {
        const end = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
        return reject(new Error(`the measurement at ${size} ${end}`));
      }
      resolve((JSON.parse(last) as { cost: number }).cost);
    });
  });
}

function textOf({ name, size, cost, how, points, exponent, most }: Measured): string {
  const costs = points.map((it) => `${it.size.toLocaleString("en")}: ${digits(it.cost)}`);
  const verdict = isTooSteep({ exponent, most }) ? "TOO STEEP" : "ok";
  return `${name} (${cost} by ${size}; ${how}): ${costs.join(", ")} | ` +
    `exponent ${exponent}, at most ${most}: ${verdict}`;
}
