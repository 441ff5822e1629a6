/**
 * Benches: an echo call to a named resource in another process, and to a module there.
 *
 * Two served nodes in two processes share a SQLite file; one owns the names or offers the module,
 * the other calls. Peers of resources, measured alternately: Moleculer over TCP (on Deno: NATS), and
 * a bare batched WebSocket with a Map of promises and JSON tuples, which is what remains of a call
 * without Atlas. Peer of one call at a time: 100 bytes over a bare batched WebSocket. Peer of
 * modules: the resource of the same processes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../test/support/ports.ts";
import {
  type About,
  type BenchOptions,
  type Figure,
  figure,
  type Goal,
  inTurns,
  type Load,
  PeerMissing,
} from "./kit.ts";
import { startNats } from "./nats.ts";
import { startOn, type Worker, Workers } from "./worker.ts";

const IN_FLIGHT = 512;
/** The number of names; calls use them in turn. */
const IDS: string[] = Array.from({ length: 64 }, (_, i) => `wall_${i}`);
/** The least ratio to the framework, by runtime. */
const LEAST = { bun: 5, node: 6, deno: 8 };

/** A process that calls and one that answers. */
interface Pair {
  readonly name: string;
  readonly caller: Worker;
  readonly owner: Worker;
}

/** A load, and the CPU time per call at both ends, in µs. */
interface PairLoad extends Load {
  readonly ownerCpu: number;
}

/** Remote calls of resources. */
export async function runCalls(options: BenchOptions): Promise<Figure[]> {
  return await among(async (workers, folder) => {
    const { runtime, log } = options;
    const atlas = await atlasPair(options, workers, folder);
    await atlas.owner.ask({ do: "own", ids: IDS });
    const bare = await barePair(options, workers, "json");
    const stops: (() => Promise<void>)[] = [];
    try {
      let framework: Pair | null = null;
      if (runtime.name !== "deno") framework = await moleculerPair(options, workers);
      else {
        try {
          const nats = await startNats();
          stops.push(nats.stop);
          framework = await natsPair(options, workers, nats.port);
        } catch (error) {
          if (!(error instanceof PeerMissing)) throw error;
          log(`without NATS: ${error.message}`);
        }
      }
      const many = await manyCalls(options, atlas, bare, framework);
      if (options.floorsOnly) return many;
      return [...many, await oneCall(options, atlas, await barePair(options, workers, "bytes"))];
    } finally {
      for (const stop of stops) await stop();
    }
  });
}

/** Remote calls of a module, each of which spends a credit. */
export async function runModules(options: BenchOptions): Promise<Figure[]> {
  return await among(async (workers, folder) => {
    const { runtimeName: runtime, runs, seconds, log } = options;
    const { caller, owner } = await atlasPair(options, workers, folder);
    await owner.ask({ do: "own", ids: IDS });
    await owner.ask({ do: "publish", capacity: IN_FLIGHT });
    await caller.ask({ do: "discover", capacity: IN_FLIGHT });
    const many = (what: string, s = seconds) => () =>
      caller.ask<Load>({ do: "throughput", what, inFlight: IN_FLIGHT, ids: IDS, seconds: s });
    const one = (what: string) => () =>
      caller.ask<number>({
        do: "latency",
        what,
        count: Math.round(5_000 * seconds),
        ids: IDS.slice(0, 1),
      });
    for (const what of ["wall", "echo"]) await many(what, 0.7)();
    log(`module calls, ${IN_FLIGHT} in flight, and one at a time`);
    const [modules, calls] = await inTurns(runs, [many("wall"), many("echo")]);
    const [single, plain] = await inTurns(runs, [one("wall"), one("echo")]);
    const about = { bench: "modules", peer: "call of a resource, same processes", runtime };
    const metric = `module call, ${IN_FLIGHT} in flight`;
    return [
      figure(
        { ...about, metric, unit: "calls/s", goal: { of: "ratio", least: 0.9 } },
        modules.map(({ rate }) => rate),
        calls.map(({ rate }) => rate),
      ),
      figure(
        {
          ...about,
          metric: "module call, one at a time, p50",
          unit: "µs",
          better: "less",
          isFloor: false,
        },
        single,
        plain,
      ),
    ];
  });
}

async function among(
  measure: (workers: Workers, folder: string) => Promise<Figure[]>,
): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-"));
  const workers = new Workers();
  try {
    return await measure(workers, folder);
  } finally {
    await workers.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function atlasPair({ runtime }: BenchOptions, workers: Workers, folder: string) {
  const registry = `file:${join(folder, "registry.db")}`;
  const owner = await workers.add(startOn(runtime, "atlas_node.ts", "owner", registry));
  const caller = await workers.add(startOn(runtime, "atlas_node.ts", "caller", registry));
  return { name: "Atlas", caller, owner };
}

async function barePair({ runtime }: BenchOptions, workers: Workers, codec: string): Promise<Pair> {
  const script = "peers/raw_websocket.ts";
  const owner = await workers.add(startOn(runtime, script, codec, "server"));
  const port = Number(owner.ready["port"]);
  const caller = await workers.add(startOn(runtime, script, codec, "client", port));
  const name = codec === "json"
    ? "bare WebSocket, JSON tuples, batched"
    : "bare WebSocket, batched, round trip";
  return { name, caller, owner };
}

async function moleculerPair({ runtime }: BenchOptions, workers: Workers): Promise<Pair> {
  const [port, otherPort] = [await freePort(), await freePort()];
  const start = (role: string, own: number, other: number) =>
    workers.add(startOn(runtime, "peers/moleculer.ts", role, own, other));
  const owner = await start("server", port, otherPort);
  const caller = await start("client", otherPort, port);
  return { name: "Moleculer over TCP", caller, owner };
}

async function natsPair(
  { runtime }: BenchOptions,
  workers: Workers,
  port: number,
): Promise<Pair> {
  const owner = await workers.add(startOn(runtime, "peers/nats.ts", "server", port));
  const caller = await workers.add(startOn(runtime, "peers/nats.ts", "client", port));
  return { name: "NATS request and reply", caller, owner };
}

async function loadOf({ caller, owner }: Pair, seconds: number): Promise<PairLoad> {
  const before = await owner.ask<number>({ do: "cpu" });
  const load = { do: "throughput", inFlight: IN_FLIGHT, ids: IDS, seconds };
  const reached = await caller.ask<Load>(load);
  const after = await owner.ask<number>({ do: "cpu" });
  return { ...reached, ownerCpu: (after - before) / reached.calls };
}

async function manyCalls(
  { runtime, runtimeName, runs, seconds, log }: BenchOptions,
  atlas: Pair,
  bare: Pair,
  framework: Pair | null,
): Promise<Figure[]> {
  const pairs = [atlas, bare, ...framework ? [framework] : []];
  for (const pair of pairs) await loadOf(pair, 1);
  log(`remote calls, ${IN_FLIGHT} in flight`);
  const sides = pairs.map((pair) => () => loadOf(pair, seconds));
  const [ours = [], bares = [], others = []] = await inTurns(runs, sides);
  const about = { bench: "calls", runtime: runtimeName };
  const compare = (
    about: About,
    theirs: readonly PairLoad[],
    of: (load: PairLoad) => number,
  ) => figure(about, ours.map(of), theirs.map(of));
  const rate = { ...about, metric: `remote call, ${IN_FLIGHT} in flight`, unit: "calls/s" };
  const cpu = { ...about, unit: "µs", better: "less" as const };
  const figures: Figure[] = [];
  if (framework) {
    const goal: Goal = { of: "ratio", least: LEAST[runtime.name] };
    const peer = framework.name;
    figures.push(
      compare({ ...rate, peer, goal }, others, (it) => it.rate),
      compare(
        { ...cpu, metric: "CPU of caller and owner per call", peer },
        others,
        (it) => it.cpu + it.ownerCpu,
      ),
    );
  }
  const goal: Goal | undefined = runtime.name === "bun" ? { of: "ratio", least: 0.3 } : undefined;
  const peer = bare.name;
  figures.push(
    compare({ ...rate, peer, goal }, bares, (it) => it.rate),
    compare({ ...cpu, metric: "CPU of the caller per call", peer }, bares, (it) => it.cpu),
    compare({ ...cpu, metric: "CPU of the owner per call", peer }, bares, (it) => it.ownerCpu),
  );
  return figures;
}

async function oneCall(
  { runtimeName, runs, seconds, log }: BenchOptions,
  atlas: Pair,
  bare: Pair,
): Promise<Figure> {
  const load = { do: "latency", count: Math.round(5_000 * seconds), ids: IDS.slice(0, 1) };
  const sides = [atlas, bare].map(({ caller }) => () => caller.ask<number>(load));
  for (const side of sides) await side();
  log("remote calls, one at a time");
  const [ours = [], theirs = []] = await inTurns(runs, sides);
  return figure(
    {
      bench: "calls",
      metric: "remote call, one at a time, p50",
      unit: "µs",
      peer: bare.name,
      runtime: runtimeName,
      better: "less",
      goal: { of: "ratio", most: 1.25 },
      // Whether both processes share a core changes it by half, from run to run.
      isFloor: false,
    },
    ours,
    theirs,
  );
}
