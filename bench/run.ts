/**
 * `npm run bench`: runs benches by name and prints each figure with the peer's figure from the same
 * run.
 *
 * Takes `[--runtime NAME]… [--quick] [--json] [--check] [--write] [--list] [--help] [NAME…]`; prints a
 * table, or with `--json` one line per figure, on standard output; progress and skipped benches with
 * the reason on standard error. Exits with 0, 1 if a bench failed or a ratio fell, or 2 on bad usage.
 */
import { parseArgs } from "node:util";
import { BENCHES, list, runOne, type Work, workOf } from "./benches.ts";
import { check, write } from "./check.ts";
import { runGrowth } from "./growth.ts";
import { type Figure, goalText, meetsGoal, show } from "./kit.ts";
import { RUNTIMES } from "../scripts/runtimes.ts";

const USAGE = `npm run bench -- [--runtime NAME]… [--quick] [--json] [--check] [--write] [NAME…]

  --runtime  only on this runtime: bun, node or deno; default: on each that the bench names
  --quick    shorter runs, for a look rather than a claim
  --json     one JSON line a figure: bench, metric, value, unit, peer, peerValue, ratio, better,
             goal, runtime, runs
  --check    short runs; prints each ratio beside the stored one, and fails if one is more than 15 %
             worse in three runs after one another; default: http and calls
  --write    measures and writes bench/figures.json, docs/benchmarks.md and its plots
  --list     names the benches

npm run bench -- growth [--runtime NAME] [--quick] [--json] [--write] ["LINE"…]

  measures what things cost at growing sizes, fits the exponent of each line, and fails if it is
  above the stated one in three measurements; --quick leaves out the largest size, --write writes
  the table and plots of docs/capacity.md

${list()}`;

async function main(args: string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        runtime: { type: "string", multiple: true },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        check: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return misused(`${(error as Error).message}\n\n${USAGE}`);
  }
  const { values, positionals } = parsed;
  if (values.help || values.list) {
    console.log(values.help ? USAGE : list());
    return 0;
  }
  const strange = values.runtime?.find((name) => !RUNTIMES.some((it) => it.name === name));
  if (strange !== undefined) {
    const known = RUNTIMES.map((it) => it.name).join(" ");
    return misused(`--runtime ${strange} is unknown, use: ${known}`);
  }
  if (positionals[0] === "growth") {
    const { quick, json, write, runtime = [] } = values;
    if (values.check || runtime.length > 1) {
      return misused(`growth takes --quick, --json, --write, one --runtime and names of lines`);
    }
    return await runGrowth({
      names: positionals.slice(1),
      runtime: runtime[0],
      quick,
      json,
      write,
    });
  }
  const unknown = positionals.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) {
    const known = Object.keys(BENCHES).join(" ");
    return misused(`no bench named ${unknown.join(", ")}; there are: ${known}`);
  }
  const work: Work = { names: positionals, runtimes: values.runtime };
  const all = (figures: readonly Figure[]) => {
    for (const it of figures) print(it, values.json === true);
  };
  if (values.check && values.write) return misused("either --check or --write");
  if (values.check) return await check(work);
  if (values.write) return await write(work, all);
  const pace = values.quick ? { runs: 3, seconds: 1 } : { runs: 5, seconds: 3 };
  let failed = 0;
  for (const { name, runtime } of workOf(work)) {
    try {
      all(await runOne(name, runtime, { ...pace, floorsOnly: false }) ?? []);
    } catch {
      failed += 1;
    }
  }
  return failed > 0 ? 1 : 0;
}

function misused(why: string): number {
  console.error(why);
  return 2;
}

function print(it: Figure, json: boolean): void {
  if (json) return console.log(JSON.stringify(it));
  const met = meetsGoal(it);
  const goal = met === null ? "" : ` | goal ${met ? "met" : "NOT met"}: ${goalText(it)}`;
  console.log(
    `${it.bench}: ${it.metric}: ${show(it.value)} ${it.unit} | ${it.peer}: ` +
      `${show(it.peerValue)} ${it.unit} | ratio ${it.ratio} | ${it.runtime}, median of ${it.runs}` +
      goal,
  );
}

process.exit(await main(process.argv.slice(2)));
