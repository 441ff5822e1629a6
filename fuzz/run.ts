/**
 * `npm run fuzz`: sends hostile input to real nodes, with bounds on memory, descriptors and delay.
 *
 * Takes `--runtime NAME… [--part NAME…] [--minutes N] [--seed S] [--from N] [--inputs N]`. Sends
 * each part's input to a separate node on each runtime; prints progress on standard error and a
 * table on standard output. Exits with 0; 1 if a bound was broken, after printing which one and
 * how to repeat it; 2 on bad usage.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { table } from "../adapters/cli/output.ts";
import { endAll, type RuntimeName } from "../test/e2e/process.ts";
import { redisMissing, warnIfRedisMissing } from "../test/support/redis.ts";
import type { Part } from "./attack.ts";
import { MAX_DELAY_MS } from "./bounds.ts";
import { type PartResult, runPart } from "./campaign.ts";
import { chunks } from "./part_chunks.ts";
import { http } from "./part_http.ts";
import { links } from "./part_links.ts";
import { fileRows, redisRows } from "./part_rows.ts";
import { sockets } from "./part_sockets.ts";
import { upstash } from "./part_upstash.ts";
import { mib, unmeasurable } from "./watch.ts";

const USAGE = `npm run fuzz -- --runtime bun|deno|node… [--part NAME…] [--minutes N] [--seed S]

  --runtime NAME  what the nodes run on; may be given several times
  --part NAME     http, chunks, sockets, links, rows or upstash; default all, which share the time
  --minutes N     how long on each runtime; default 10
  --seed S        a whole number that draws the input; default: another each time
  --from N        the number of the first input; default 0
  --delay MS      how long /healthz may take at most; default ${MAX_DELAY_MS}
  --inputs N      how many inputs of each part, at most; default: as many as there is time for`;

const RUNTIMES: readonly RuntimeName[] = ["bun", "deno", "node"];
/** The parts that run under each name. */
const PARTS: Readonly<Record<string, readonly Part[]>> = {
  http: [http],
  chunks: [chunks],
  sockets: [sockets],
  links: [links],
  rows: [fileRows, redisRows],
  upstash: [upstash],
};

interface Settings {
  readonly runtimes: readonly RuntimeName[];
  readonly parts: readonly string[];
  readonly minutes: number;
  readonly seed: number;
  readonly from: number;
  readonly inputs: number;
  readonly maxDelayMs: number;
}

async function main(args: string[]): Promise<number> {
  const settings = read(args);
  if (typeof settings === "string") {
    console.error(settings === "" ? USAGE : `${settings}\n\n${USAGE}`);
    return settings === "" ? 0 : 2;
  }
  if (unmeasurable) {
    console.error(unmeasurable);
    return 2;
  }
  warnIfRedisMissing("the parts whose registry is a Redis");
  process.on("exit", () => void endAll());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
  const results: PartResult[] = [];
  try {
    for (const runtime of settings.runtimes) results.push(...await runOn(runtime, settings));
  } finally {
    await endAll();
  }
  console.log(textOf(results));
  return results.some(({ violations }) => violations.length > 0) ? 1 : 0;
}

/** All parts on one runtime, one after the other. */
async function runOn(runtime: RuntimeName, settings: Settings): Promise<PartResult[]> {
  const { parts, minutes, seed, from, inputs, maxDelayMs } = settings;
  const results: PartResult[] = [];
  for (const name of parts) {
    const kinds = (PARTS[name] as readonly Part[]).filter(({ registry }) =>
      registry === "file" || !redisMissing
    );
    for (const part of kinds) {
      const ms = minutes * 60_000 / parts.length / kinds.length;
      console.error(`${runtime}: ${part.name} for ${(ms / 1_000).toFixed(1)} s, seed ${seed}`);
      const result = await runPart({ runtime, part, seed, ms, from, inputs, maxDelayMs });
      results.push(result);
      console.error(textOf([result]));
      printResult(result, name, settings);
    }
  }
  return results;
}

/** Prints the answers by status, and the violations with the commands that repeat them. */
function printResult(
  { runtime, part, statuses, violations, artifacts }: PartResult,
  name: string,
  settings: Settings,
): void {
  const counts = [...statuses].sort(([a], [b]) => a - b).map(([status, count]) =>
    `${status}: ${count}`
  );
  console.error(`  answers by status: ${counts.join(", ") || "none"}`);
  for (const { rule, message, count } of violations) {
    console.error(`  ${part} broke ${rule}, ${count} times; first: ${message}`);
  }
  if (violations.length === 0) return;
  const minutes = settings.minutes / settings.parts.length;
  console.error(`  log and last inputs: ${artifacts}`);
  console.error(
    `  again: npm run fuzz -- --runtime ${runtime} --part ${name} --seed ${settings.seed} ` +
      `--minutes ${Number(minutes.toFixed(3))}` +
      (settings.from > 0 ? ` --from ${settings.from}` : ""),
  );
}

const HEAD = [
  "runtime",
  "part",
  "minutes",
  "inputs",
  "connections",
  "peak MiB (base, left)",
  "peak fds (base, left)",
  "worst healthz ms",
  "no CPU s",
  "healthy calls ok/failed",
  "worst gap ms",
  "events",
  "lapses",
  "broken",
];

function textOf(results: readonly PartResult[]): string {
  const rows = results.map(({ runtime, part, minutes, inputs, connections, watch, violations }) => {
    const { peak, base, left, figures: { health, calls, socket }, lapses, starvedMs } = watch;
    return [
      runtime,
      part,
      minutes.toFixed(1),
      inputs,
      connections,
      `${mib(peak.resident)} (${mib(base.resident)}, ${mib(left.resident)})`,
      `${peak.descriptors} (${base.descriptors}, ${left.descriptors})`,
      health.worstMs.toFixed(0),
      (starvedMs / 1_000).toFixed(1),
      `${calls.ok}/${calls.failed}`,
      calls.gapMs.toFixed(0),
      socket.events,
      lapses,
      violations.map(({ rule }) => rule).join(", ") || "nothing",
    ];
  });
  return table(HEAD, rows).trimEnd();
}

/** The settings; or the error; or an empty text if help was requested. */
function read(args: string[]): Settings | string {
  try {
    const { values } = parseArgs({
      args,
      options: {
        runtime: { type: "string", multiple: true },
        part: { type: "string", multiple: true },
        minutes: { type: "string", default: "10" },
        seed: { type: "string" },
        from: { type: "string", default: "0" },
        inputs: { type: "string" },
        delay: { type: "string", default: String(MAX_DELAY_MS) },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) return "";
    const runtimes = values.runtime ?? [];
    if (runtimes.length === 0) return "--runtime is missing";
    const parts = values.part ?? Object.keys(PARTS);
    const odd = oneNotIn("--runtime", runtimes, RUNTIMES) ??
      oneNotIn("--part", parts, Object.keys(PARTS));
    if (odd !== null) return odd;
    const minutes = Number(values.minutes);
    if (!(minutes > 0) || !Number.isFinite(minutes)) {
      return `--minutes is ${values.minutes}: it must be a number above 0`;
    }
    return {
      runtimes: runtimes as RuntimeName[],
      parts,
      minutes,
      seed: whole("seed", values.seed ?? String(Date.now() % 1_000_000_000)),
      from: whole("from", values.from),
      maxDelayMs: whole("delay", values.delay),
      inputs: values.inputs === undefined ? Infinity : whole("inputs", values.inputs),
    };
  } catch (error) {
    return (error as Error).message;
  }
}

function oneNotIn(
  option: string,
  given: readonly string[],
  allowed: readonly string[],
): string | null {
  const odd = given.find((name) => !allowed.includes(name));
  return odd === undefined ? null : `${option} is ${odd}: use ${allowed.join(", ")}`;
}

function whole(option: string, text: string): number {
  const value = Number(text);
  if (text !== "" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`--${option} is ${text}: it must be a whole number from 0`);
}

process.exit(await main(process.argv.slice(2)));
