/**
 * `npm run bench`: runs benches by name and prints each figure with the peer's figure from the same
 * run.
 *
 * Takes `[--quick] [--json] [--list] [--help] [NAME…]`; prints a table, or with `--json` one line
 * per figure, on standard output; progress and skipped benches with the reason on standard error.
 * Exits with 0, 1 if a bench failed, or 2 on bad usage.
 */
import { parseArgs } from "node:util";
import { type Bench, type Figure, PeerMissing } from "./kit.ts";

const BENCHES: Record<string, { about: string; load: () => Promise<Bench> }> = {
  calls: {
    about: "remote echo calls between two processes, against Moleculer and a bare WebSocket",
    load: async () => (await import("./calls.ts")).runCalls,
  },
  modules: {
    about: "module calls between two processes, against Moleculer and a bare WebSocket",
    load: async () => (await import("./calls.ts")).runModules,
  },
  local: {
    about: "echo calls within one node, against Moleculer's local actions",
    load: async () => (await import("./local.ts")).runLocal,
  },
  claims: {
    about: "claims of new names on Redis, against redis-benchmark with the same script",
    load: async () => (await import("./claims.ts")).runClaims,
  },
  upstash: {
    about: "claims of new names on an HTTP Redis, against @upstash/redis with the same script",
    load: async () => (await import("./upstash.ts")).runUpstash,
  },
  memory: {
    about: "bytes of an idle resource on each runtime, against the bare object in a Map",
    load: async () => (await import("./memory.ts")).runMemory,
  },
};

const USAGE = `npm run bench -- [--quick] [--json] [NAME…]

  --quick  shorter runs, for a look rather than a claim
  --json   one JSON line a figure: bench, metric, value, unit, peer, peerValue, ratio,
           runtime, runs
  --list   names the benches

${list()}`;

function list(): string {
  return Object.entries(BENCHES).map(([name, { about }]) => `${name.padEnd(8)} ${about}`).join(
    "\n",
  );
}

async function main(args: string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help || values.list) {
    console.log(values.help ? USAGE : list());
    return 0;
  }
  const unknown = positionals.filter((name) => !Object.hasOwn(BENCHES, name));
  if (unknown.length > 0) {
    console.error(
      `no bench named ${unknown.join(", ")}; there are: ${Object.keys(BENCHES).join(" ")}`,
    );
    return 2;
  }
  return await runAll(positionals.length > 0 ? positionals : Object.keys(BENCHES), values);
}

async function runAll(
  names: string[],
  { quick, json }: { quick?: boolean; json?: boolean },
): Promise<number> {
  let broken = 0;
  for (const name of new Set(names)) {
    const log = (line: string) => console.error(`${name}: ${line}`);
    try {
      const run = await (BENCHES[name] as { load: () => Promise<Bench> }).load();
      for (const it of await run({ quick: quick === true, log })) print(it, json === true);
    } catch (error) {
      if (error instanceof PeerMissing) {
        log(`skipped: ${error.message}`);
        continue;
      }
      broken += 1;
      log(`failed: ${error instanceof Error ? error.stack : error}`);
    }
  }
  return broken > 0 ? 1 : 0;
}

function print(it: Figure, json: boolean): void {
  if (json) return console.log(JSON.stringify(it));
  console.log(
    `${it.bench}: ${it.metric}: ${show(it.value)} ${it.unit} | ${it.peer}: ` +
      `${show(it.peerValue)} ${it.unit} | ratio ${it.ratio} | ${it.runtime}, median of ${it.runs}`,
  );
}

function show(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 2 : 0 });
}

process.exit(await main(process.argv.slice(2)));
