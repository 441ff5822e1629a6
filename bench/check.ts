/**
 * `npm run bench -- --check` and `--write`: compares ratios with the stored ones, and stores new
 * ones with the page and its plots.
 */
import type { RuntimeCommand } from "../scripts/runtimes.ts";
import { BENCHES, runOne, type Unit, type Work, workOf } from "./benches.ts";
import { countOthers } from "./contention.ts";
import { change, confirm, type Floors, floorsOf, keyOf, MAX_OTHERS, type Run } from "./floors.ts";
import type { Figure } from "./kit.ts";
import { merged, readFigures, thisMachine, writeReport } from "./report.ts";

/** What `--check` runs unless benches are named: the two paths that most changes touch. */
const CHEAP: readonly string[] = ["http", "calls"];
/** No run begins after this time of a check, in ms. */
const CHECK_MS = 160_000;

/** How long a write may spend on repeating disturbed benches, in ms. */
const REPEAT_MS = 60_000;
/** How many runs the floor of a cheap bench is the median of. */
const FLOOR_RUNS = 3;

const CHECK_PACE = { runs: 3, seconds: 0.6, floorsOnly: true };
const WRITE_PACE = { runs: 3, seconds: 1.2, floorsOnly: false };

/** Runs one bench; also gives how much of the machine others used. */
async function measured(
  name: string,
  runtime: RuntimeCommand,
  pace: typeof CHECK_PACE,
): Promise<Run> {
  const others = countOthers();
  const figures = await runOne(name, runtime, pace) ?? [];
  return { figures, others: BENCHES[name]?.isUntimed ? null : others() };
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** Such as `3 % worse`. */
function changeText(share: number): string {
  return `${percent(Math.abs(share))} ${share < 0 ? "worse" : "better"}`;
}

function printRun({ figures, others }: Run, below: readonly string[], floors: Floors): void {
  const isBusy = (others ?? 0) > MAX_OTHERS;
  for (const it of figures.filter(({ isFloor }) => isFloor)) {
    const key = keyOf(it);
    const floor = floors.get(key);
    const beside = floor === undefined
      ? "no floor yet"
      : `floor ${floor}, ${changeText(change(it, floor))}`;
    const mark = isBusy ? "busy" : below.includes(key) ? "low" : "ok";
    console.log(`${mark.padEnd(4)} ${key}: ratio ${it.ratio}, ${beside}`);
  }
  if (isBusy) {
    console.log(`     not judged: other processes used ${percent(others ?? 0)} of the CPUs`);
  }
}

/** Prints ratios beside their floors. Gives the exit code. */
export async function check(work: Work): Promise<number> {
  const { machine, floors: stored } = readFigures();
  const isAlike = machine?.cpus === thisMachine(null).cpus;
  if (!isAlike) {
    console.log(`not judged: the floors are those of ${machine?.cpus ?? "no"} CPUs, unlike these`);
  }
  const floors: Floors = new Map(isAlike ? Object.entries(stored) : []);
  const begun = performance.now();
  const bad: string[] = [];
  let judged = 0;
  const units = workOf(cheapUnlessNamed(work));
  for (const { name, runtime } of units) {
    const { verdict, below } = await confirm(
      floors,
      () => measured(name, runtime, CHECK_PACE),
      (run, low) => printRun(run, low, floors),
      () => performance.now() - begun < CHECK_MS,
    );
    if (verdict === "passed" || verdict === "failed") judged += 1;
    if (verdict === "failed") bad.push(...below);
    if (verdict === "broken") bad.push(`${name} on ${runtime.name}: every run failed`);
    if (verdict === "unconfirmed") console.log(`     ${name} on ${runtime.name}: not confirmed`);
  }
  for (const key of bad) console.log(`FAILED ${key}`);
  const outcome = bad.length === 0 ? "no ratio fell" : `${bad.length} fell`;
  console.log(`${outcome}; ${judged} of ${units.length} judged; took ${seconds(begun)} s`);
  return bad.length > 0 ? 1 : 0;
}

function cheapUnlessNamed(work: Work): Work {
  return work.names.length > 0 ? work : { ...work, names: CHEAP };
}

function seconds(begun: number): number {
  return Math.round((performance.now() - begun) / 1_000);
}

/**
 * Measures, and writes the file, the page and the plots. A bench that is disturbed by other
 * processes is repeated once, and sets no floor by a run that is disturbed again. Gives the exit
 * code.
 */
export async function write(
  work: Work,
  onFigures: (figures: readonly Figure[]) => void,
): Promise<number> {
  const begun = performance.now();
  const before = readFigures();
  const floors = new Map(Object.entries(before.floors));
  let { figures } = before;
  // Rows that stay were measured under what was known then.
  const isPart = work.names.length > 0 || work.runtimes !== undefined;
  let most = isPart ? before.machine?.others ?? 0 : 0;
  let missing = 0;
  const patience = { leftMs: REPEAT_MS };
  for (const unit of workOf(work)) {
    const runs = await runsOf(unit, patience);
    const [shown] = runs;
    if (!shown) {
      missing += 1;
      continue;
    }
    onFigures(shown.figures);
    most = Math.max(most, shown.others ?? 0);
    for (const [key, ratio] of floorsOf(runs)) floors.set(key, ratio);
    // Written after each bench, so that nothing is lost if a later one fails.
    figures = merged(figures, shown.figures);
    const known = new Set(figures.map(keyOf));
    for (const key of floors.keys()) if (!known.has(key)) floors.delete(key);
    writeReport(thisMachine(most), figures, floors);
  }
  console.error(`all of it took ${seconds(begun)} s`);
  return missing > 0 ? 1 : 0;
}

/**
 * The runs of one bench: first the one that is shown, then short ones as a check does them, from
 * all of which the floors of the cheap benches follow. None if it failed twice.
 */
async function runsOf({ name, runtime }: Unit, patience: { leftMs: number }): Promise<Run[]> {
  const run = () => measured(name, runtime, WRITE_PACE);
  let shown = await run().catch(() => run()).catch(() => null);
  if (shown === null) return [];
  if ((shown.others ?? 0) > MAX_OTHERS && patience.leftMs > 0) {
    const begun = performance.now();
    const again = await run().catch(() => null);
    if (again !== null && (again.others ?? 0) < (shown.others ?? 0)) shown = again;
    patience.leftMs -= performance.now() - begun;
  }
  const share = shown.others ?? 0;
  if (share > MAX_OTHERS) {
    console.error(
      `${name} on ${runtime.name}: disturbed: other processes used ${percent(share)} of the CPUs`,
    );
  }
  const runs = [shown];
  for (let i = 1; i < FLOOR_RUNS && CHEAP.includes(name); i++) {
    const short = await measured(name, runtime, CHECK_PACE).catch(() => null);
    if (short !== null) runs.push(short);
  }
  return runs;
}
