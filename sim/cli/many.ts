/**
 * Runs many simulations on worker processes and adds up their results. Prints progress, each
 * violation with the command that replays it, and the total as last line.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { SimArguments } from "./arguments.ts";
import { printFailure, replayCommand } from "./one.ts";
import type { Result } from "../run/run_world.ts";
import { runPlan } from "../worlds/simulation.ts";
import { addResults, addTally, newTally, summary, type Tally } from "./tally.ts";
import { planOf } from "../draw/draw.ts";

/** The number of seeds that a worker runs before it reports. */
const BATCH = 25;
const SHOWN_FAILURES = 20;
/** Time between two lines of progress, in s. */
const PROGRESS_S = 10;
/** How much longer than its time limit a worker may take before it is stopped, in ms. */
const GRACE_MS = 60_000;

/** Runs each seed of this worker, and reports in lines of JSON. Gives the exit code. */
export async function work(options: SimArguments): Promise<number> {
  const { seeds, from, workers, minutes, worlds } = options;
  const end = performance.now() + (minutes ?? Infinity) * 60_000;
  const parent = process.ppid;
  let tally = newTally();
  const report = (): void => {
    console.log(JSON.stringify(tally));
    tally = newTally();
  };
  for (let seed = from; seed < from + seeds && performance.now() < end; seed += workers) {
    const results: Result[] = [];
    for (const world of worlds) results.push(await runPlan(planOf(world, seed)));
    addResults(tally, results);
    if (tally.seeds >= BATCH || tally.failed.length > 0) report();
    // The parent process has ended.
    if (process.ppid !== parent) return 1;
  }
  report();
  return 0;
}

/** Distributes the seeds among worker processes. Gives the exit code. */
export async function runMany(options: SimArguments): Promise<number> {
  const { seeds, from, minutes, workers } = options;
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1_000;
  const tally = newTally();
  let toldAt = 0;
  const take = (part: Tally): void => {
    addTally(tally, part);
    const shown = tally.failed.length - part.failed.length;
    for (const it of part.failed.slice(0, Math.max(0, SHOWN_FAILURES - shown))) {
      const { seed, world, what } = it;
      console.log(`seed ${seed}: ${what}\n  replay: ${replayCommand(seed, world)}`);
    }
    if (seconds() - toldAt < PROGRESS_S) return;
    toldAt = seconds();
    console.log(`${toldAt.toFixed(0)} s: ${tally.seeds} seeds, ${tally.failed.length} violations`);
  };
  const codes = await Promise.all(
    Array.from({ length: Math.min(workers, seeds) }, (_, number) => {
      const limit = minutes === null ? [] : ["--minutes", minutes];
      const share = seeds === Infinity ? [] : ["--seeds", seeds - number];
      const [world = "all", ...more] = options.worlds;
      const kind = ["--world", more.length > 0 ? "all" : world];
      const part = ["--from", from + number, "--workers", workers, ...share, ...limit];
      const flags = ["--worker", ...kind, ...part];
      return runWorker(flags.map(String), minutes, take);
    }),
  );
  const time = seconds();
  const broken = codes.filter((code) => code !== 0);
  await printFirst(tally, options);
  for (const code of broken) {
    console.log(`a worker ended with ${code ?? "a signal"}: seeds are missing`);
  }
  console.log(summary(tally, time));
  return tally.failed.length > 0 || broken.length > 0 ? 1 : 0;
}

/** Prints in full the first seed that broke a rule. */
async function printFirst({ failed }: Tally, options: SimArguments): Promise<void> {
  const { keep, isShrunk } = options;
  const [first] = failed.toSorted((one, other) => one.seed - other.seed);
  if (!first) return;
  const { seed, world } = first;
  const plan = planOf(world, seed);
  const replay = replayCommand(seed, world);
  console.log(`\nseed ${seed} in full:`);
  await printFailure(plan, await runPlan(plan), { replay, keep, isShrunk });
  console.log("");
}

/** Runs one worker to its end. Gives its exit code; null if it had to be stopped. */
function runWorker(
  flags: string[],
  minutes: number | null,
  take: (part: Tally) => void,
): Promise<number | null> {
  const script = fileURLToPath(new URL("./run.ts", import.meta.url));
  const head = "Deno" in globalThis ? ["run", "-A"] : [];
  const worker = spawn(process.execPath, [...head, script, ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const timer = minutes === null
    ? undefined
    : setTimeout(() => worker.kill(), minutes * 60_000 + GRACE_MS);
  createInterface({ input: worker.stdout }).on("line", (line) => take(JSON.parse(line)));
  return new Promise((resolve) =>
    worker.on("close", (code) => {
      clearTimeout(timer);
      resolve(code);
    })
  );
}
