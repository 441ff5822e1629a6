/**
 * Benches within one process: an echo call to a resource of the same node, a cached lookup of an
 * owner on another node, and the choice of a channel by a module's load balancer.
 *
 * Peers: Moleculer's call of a local action; a bare Map behind a promise; an evenly random choice
 * from an array.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchOptions, type Figure, figure, type Goal, inTurns, type Load } from "./kit.ts";
import { startOn, Workers } from "./worker.ts";

const IN_FLIGHT = 64;
const NAMES = 10_000;
const CHANNELS = 10_000;

/** The least local calls per second, by runtime. */
const LEAST = { bun: 2_000_000, node: 1_400_000, deno: undefined };

export async function runLocal(options: BenchOptions): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const bench of [calls, lookups, picks]) {
    const workers = new Workers();
    try {
      figures.push(...[await bench(options, workers)].flat());
    } finally {
      await workers.stop();
    }
  }
  return figures;
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `wall_${i}`);
}

async function calls(options: BenchOptions, workers: Workers): Promise<Figure> {
  const { runtime, runtimeName, runs, seconds, log } = options;
  const atlas = await workers.add(startOn(runtime, "atlas_node.ts", "local", "memory:"));
  const moleculer = await workers.add(startOn(runtime, "peers/moleculer.ts", "local"));
  const load = { do: "throughput", inFlight: IN_FLIGHT, ids: names(64) };
  const sides = (s: number) =>
    [atlas, moleculer].map((it) => () => it.ask<Load>({ ...load, seconds: s }));
  for (const side of sides(0.5)) await side();
  log(`local calls, ${IN_FLIGHT} in flight`);
  const [ours = [], theirs = []] = await inTurns(runs, sides(seconds));
  const least = LEAST[runtime.name];
  return figure(
    {
      bench: "local",
      metric: `local call, ${IN_FLIGHT} in flight`,
      unit: "calls/s",
      peer: "Moleculer, local action",
      runtime: runtimeName,
      goal: least === undefined ? undefined : { of: "value", least },
    },
    ours.map(({ rate }) => rate),
    theirs.map(({ rate }) => rate),
  );
}

async function lookups(options: BenchOptions, workers: Workers): Promise<Figure> {
  const { runtime, runtimeName, runs, seconds, log } = options;
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-"));
  try {
    const registry = `file:${join(folder, "registry.db")}`;
    const ids = names(NAMES);
    const owner = await workers.add(startOn(runtime, "atlas_node.ts", "owner", registry));
    const caller = await workers.add(startOn(runtime, "atlas_node.ts", "caller", registry));
    const bare = await workers.add(startOn(runtime, "micro.ts"));
    for (const node of [owner, caller]) await node.ask({ do: "own", ids });
    const sides = (s: number) => [
      () => caller.ask<number>({ do: "lookups", ids, seconds: s }),
      () => bare.ask<number>({ do: "map", ids, seconds: s }),
    ];
    for (const side of sides(0.5)) await side();
    log(`cached lookups, ${NAMES} names`);
    const [ours = [], theirs = []] = await inTurns(runs, sides(seconds));
    const about = {
      bench: "local",
      metric: `cached lookup, ${NAMES.toLocaleString("en-US")} names`,
      unit: "per s",
      peer: "bare Map behind a promise",
      runtime: runtimeName,
      goal: { of: "value", least: 5_000_000 } satisfies Goal,
    };
    return figure(about, ours, theirs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function picks(options: BenchOptions, workers: Workers): Promise<Figure[]> {
  const { runtime, runtimeName, runs, seconds, log } = options;
  const micro = await workers.add(startOn(runtime, "micro.ts"));
  const side = (what: string) => () =>
    micro.ask<number>({ do: what, channels: CHANNELS, seconds: seconds / 3 });
  const sides = [side("pick"), side("spend"), side("array")] as const;
  for (const run of sides) await run();
  log(`picks, ${CHANNELS} channels`);
  const [picks, spends, choices] = await inTurns(runs, sides);
  const about = {
    bench: "local",
    unit: "ns",
    peer: "evenly random element of an array",
    runtime: runtimeName,
    better: "less" as const,
    // A few instructions: their time varies with how they are compiled.
    isFloor: false,
  };
  const at = `${CHANNELS.toLocaleString("en-US")} channels`;
  const goal: Goal = { of: "value", most: 200 };
  return [
    figure({ ...about, metric: `pick of a channel, ${at}`, goal }, picks, choices),
    figure({ ...about, metric: `pick, spend and return of a credit, ${at}` }, spends, choices),
  ];
}
