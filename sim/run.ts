/**
 * `npm run sim`: plays many simulations on all hands, or one in full.
 *
 * Takes flags (see `arguments.ts`); prints progress, each violation with the command that
 * replays it, and as last line the score. Exit 1 on a violation, 2 on bad usage.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArguments, type SimArguments } from "./arguments.ts";
import { makePlan } from "./plan.ts";
import { runPlan } from "./simulation.ts";
import { addResult, addTally, newTally, summary, type Tally } from "./tally.ts";

/** Seeds that a worker plays before it reports. */
const BATCH = 25;
const REMARKS = 60;
const SHOWN_FAILURES = 20;

async function main(): Promise<number> {
  let options: SimArguments;
  try {
    options = parseArguments(process.argv.slice(2));
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
  if (options.seed !== null) return await playOne(options.seed);
  if (options.isWorker) return await work(options);
  return await playMany(options);
}

/** One seed, told in full where a rule was broken. */
async function playOne(seed: number): Promise<number> {
  const started = performance.now();
  const plan = makePlan(seed);
  let result = await runPlan(plan);
  const isGood = result.violations.length === 0;
  // The same again, this time with remarks, which cost too much to keep always.
  if (!isGood) result = await runPlan(plan, { remarks: REMARKS });
  if (!isGood) {
    console.log("stage:", JSON.stringify(plan.shape));
    console.log("faults:");
    for (const fault of plan.faults) console.log("  ", JSON.stringify(fault));
    console.log(`the last of ${result.events} events:`);
    for (const remark of result.remarks) console.log("  ", remark);
    for (const { rule, message, at } of result.violations) {
      console.log(`violation at ${at.toFixed(3)} ms: ${rule}: ${message}`);
    }
  }
  console.log(`trace ${result.hash}`);
  const tally = newTally();
  addResult(tally, result);
  console.log(summary(tally, (performance.now() - started) / 1_000));
  return isGood ? 0 : 1;
}

/** Plays each seed that falls to this worker, and reports in lines of JSON. */
async function work({ seeds, from, workers }: SimArguments): Promise<number> {
  let tally = newTally();
  const report = (): void => {
    console.log(JSON.stringify(tally));
    tally = newTally();
  };
  for (let seed = from; seed < from + seeds; seed += workers) {
    addResult(tally, await runPlan(makePlan(seed)));
    if (tally.seeds >= BATCH) report();
  }
  report();
  return 0;
}

/** Shares the seeds out among worker processes. */
async function playMany(options: SimArguments): Promise<number> {
  const { seeds, from, minutes, workers } = options;
  const started = performance.now();
  const seconds = (): number => (performance.now() - started) / 1_000;
  const tally = newTally();
  let toldAt = 0;
  let shown = 0;
  const take = (part: Tally): void => {
    addTally(tally, part);
    for (const { seed, what } of part.failed) {
      if (++shown > SHOWN_FAILURES) break;
      console.log(`seed ${seed}: ${what}\n  replay: npm run sim -- --seed ${seed}`);
    }
    if (seconds() - toldAt < 10) return;
    toldAt = seconds();
    console.log(`${toldAt.toFixed(0)} s: ${tally.seeds} seeds, ${tally.failed.length} failed`);
  };
  const codes = await Promise.all(
    Array.from({ length: workers }, (_, number) => {
      const flags = [
        "--from",
        from + number,
        "--seeds",
        Math.min(seeds - number, Number.MAX_SAFE_INTEGER),
        "--workers",
        workers,
      ];
      if (seeds <= number) return Promise.resolve(0);
      return runWorker(["--worker", ...flags.map(String)], minutes, take);
    }),
  );
  console.log(summary(tally, seconds()));
  return tally.failed.length > 0 || codes.some((code) => code !== 0) ? 1 : 0;
}

/** Runs one worker to its end, or until its time is up. Gives its exit code. */
function runWorker(
  flags: string[],
  minutes: number | null,
  take: (part: Tally) => void,
): Promise<number> {
  const script = fileURLToPath(import.meta.url);
  const head = "Deno" in globalThis ? ["run", "-A"] : [];
  const worker = spawn(process.execPath, [...head, script, ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let isTimeUp = false;
  const timer = minutes === null ? undefined : setTimeout(() => {
    isTimeUp = true;
    worker.kill();
  }, minutes * 60_000);
  createInterface({ input: worker.stdout }).on("line", (line) => take(JSON.parse(line)));
  return new Promise((resolve) =>
    worker.on("close", (code) => {
      clearTimeout(timer);
      resolve(isTimeUp ? 0 : code ?? 1);
    })
  );
}

process.exitCode = await main();
