/**
 * `npm run chaos`: real nodes on a real registry under faults, checked by the simulator's checkers.
 *
 * Takes `[--minutes N] [--seed S] [--store KIND] [--json]`. Runs in rounds of faults, healing and
 * verification. Prints a line per round on standard error and a summary on standard output. Exits
 * with 0; 1 on a violation, after the rule, the records, the schedule and the folder of artifacts;
 * 2 on bad usage.
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { endAll } from "../test/e2e/process.ts";
import { redisMissing } from "../test/support/redis.ts";
import { Campaign } from "./campaign.ts";
import { openRegistry, STORE_KINDS, type StoreKind } from "./registry.ts";

const USAGE = `npm run chaos -- [--minutes N] [--seed S] [--store KIND] [--json]

  --minutes N   how long, rounds begun included; default 10
  --seed S      a whole number that draws the schedule; default: another each time
  --store KIND  redis (default); sentinel, a master with two replicas and three sentinels,
                ?replicas=1; or file, a SQLite file
  --json        the summary as one line of JSON`;

interface Settings {
  readonly minutes: number;
  readonly seed: number;
  readonly store: StoreKind;
  readonly isJson: boolean;
}

async function main(args: string[]): Promise<number> {
  const settings = read(args);
  if (typeof settings === "string") {
    console.error(settings === "" ? USAGE : `${settings}\n\n${USAGE}`);
    return settings === "" ? 0 : 2;
  }
  const { minutes, seed, store, isJson } = settings;
  if (store !== "file" && redisMissing) {
    console.error(`${redisMissing}: use --store file`);
    return 2;
  }
  process.on("exit", () => void endAll());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
  const registry = await openRegistry(store);
  const app = fileURLToPath(new URL("./app.ts", import.meta.url));
  const campaign = new Campaign(registry, { seed, env: { ATLAS_APP: app } });
  try {
    const summary = await campaign.run(minutes * 60_000);
    console.log(isJson ? JSON.stringify({ store, ...summary }) : text(store, summary));
    return summary.violations > 0 ? 1 : 0;
  } finally {
    await endAll();
    await registry.close();
  }
}

type Summary = Awaited<ReturnType<Campaign["run"]>>;

function text(store: StoreKind, summary: Summary): string {
  const { faults, slowestHealingMs, ...figures } = summary;
  const parts = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
  const kinds = Object.entries(faults).map(([kind, count]) => `${kind} ${count}`).join(", ");
  return `chaos on ${store}: ${parts.join(", ")}, slowest healing ${slowestHealingMs} ms, ` +
    `faults: ${kinds || "none"}`;
}

/** The settings; or the error; or an empty text if help was requested. */
function read(args: string[]): Settings | string {
  try {
    const { values } = parseArgs({
      args,
      options: {
        minutes: { type: "string", default: "10" },
        seed: { type: "string" },
        store: { type: "string", default: "redis" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) return "";
    const minutes = Number(values.minutes);
    if (!(minutes > 0) || !Number.isFinite(minutes)) {
      return `--minutes is ${values.minutes}: it must be a number above 0`;
    }
    const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
    if (!Number.isSafeInteger(seed) || seed < 0) {
      return `--seed is ${values.seed}: it must be a whole number from 0`;
    }
    const store = STORE_KINDS.find((kind) => kind === values.store);
    if (!store) return `--store is ${values.store}: use ${STORE_KINDS.join(", ")}`;
    return { minutes, seed, store, isJson: values.json === true };
  } catch (error) {
    return (error as Error).message;
  }
}

process.exit(await main(process.argv.slice(2)));
