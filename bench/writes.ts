/**
 * Bench: a call that writes, from one process to the owner in another, 256 in flight, on a Redis and
 * on a SQLite file.
 *
 * Peer: what two processes can do on this machine without Atlas. One sends batched JSON tuples over
 * a bare WebSocket; the other commits all calls of a frame with the same script, by the same client,
 * or with the same statements in one transaction.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BenchOptions,
  type Figure,
  figure,
  type Goal,
  inTurns,
  type Load,
  PeerMissing,
} from "./kit.ts";
import { startRedis } from "./redis.ts";
import { startOn, Workers } from "./worker.ts";

const IN_FLIGHT = 256;
/** As many names as calls in flight, because a resource runs one call at a time. */
const IDS: string[] = Array.from({ length: IN_FLIGHT }, (_, i) => `wall_${i}`);

export async function runWrites(options: BenchOptions): Promise<Figure[]> {
  return [...await onRedis(options), ...await onSqlite(options)];
}

async function onRedis(options: BenchOptions): Promise<Figure[]> {
  let redis;
  try {
    redis = await startRedis();
  } catch (error) {
    if (!(error instanceof PeerMissing)) throw error;
    options.log(`without Redis: ${error.message}`);
    return [];
  }
  try {
    const goal: Goal = { of: "ratio", least: 0.8 };
    return [await compare(options, "Redis", redis.url, redis.url, goal)];
  } finally {
    await redis.stop();
  }
}

async function onSqlite(options: BenchOptions): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "atlas-bench-"));
  const url = (name: string) => `file:${join(folder, name)}`;
  try {
    const goal: Goal = { of: "value", least: 180_000 };
    return [await compare(options, "SQLite", url("atlas.db"), url("peer.db"), goal)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function compare(
  { runtime, runtimeName, runs, seconds, log }: BenchOptions,
  store: string,
  registry: string,
  peerStore: string,
  goal: Goal,
): Promise<Figure> {
  const workers = new Workers();
  try {
    const start = (script: string, ...args: (string | number)[]) =>
      workers.add(startOn(runtime, script, ...args));
    const owner = await start("atlas_node.ts", "owner", registry);
    const caller = await start("atlas_node.ts", "caller", registry);
    await owner.ask({ do: "own", what: "note", ids: IDS });
    const server = await start("peers/raw_websocket.ts", "json", "server", peerStore);
    const port = Number(server.ready["port"]);
    const client = await start("peers/raw_websocket.ts", "json", "client", port);
    const load = { do: "throughput", what: "note", ids: IDS, names: IDS.length };
    const sides = (s: number) =>
      [caller, client].map((it) => () =>
        it.ask<Load>({ ...load, inFlight: IN_FLIGHT, seconds: s })
      );
    for (const side of sides(0.7)) await side();
    log(`calls that write on ${store}, ${IN_FLIGHT} in flight`);
    const [ours = [], theirs = []] = await inTurns(runs, sides(seconds));
    return figure(
      {
        bench: "writes",
        metric: `call that writes, ${store}, ${IN_FLIGHT} in flight`,
        unit: "calls/s",
        peer: `two processes without Atlas, the same ${
          store === "Redis" ? "script" : "statements"
        }`,
        runtime: runtimeName,
        goal,
      },
      ours.map(({ rate }) => rate),
      theirs.map(({ rate }) => rate),
    );
  } finally {
    await workers.stop();
  }
}
