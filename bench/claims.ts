/**
 * Bench: claims of new names on a real Redis, 256 in flight.
 *
 * Measured through a whole node (the first call of a name: claim, load, run, answer) and, on Bun,
 * through the store alone (`store.claim`). Peer: redis-benchmark with the same script, one claim per
 * request and as many in flight.
 */
import { createHash, randomUUID } from "node:crypto";
import { redisStore } from "../adapters/store/open/redis.ts";
import { STEPS } from "../adapters/store/redis/scripts.ts";
import { claimStep } from "../adapters/store/redis/steps.ts";
import type { Claim } from "../src/ports/store.ts";
import { type BenchOptions, type Figure, figure, type Goal, inTurns, rateOf } from "./kit.ts";
import { benchmark, keysOf, type OwnRedis, startRedis } from "./redis.ts";
import { startOn, Workers } from "./worker.ts";

const IN_FLIGHT = 256;
const INCARNATION: string = randomUUID();

function claimOf(key: string): Claim {
  const rrp = `rrp:bench/claimer/${key}`;
  return { key, rrp, incarnation: INCARNATION, opId: randomUUID(), expected: null };
}

export async function runClaims(options: BenchOptions): Promise<Figure[]> {
  const { runtime, seconds } = options;
  const redis = await startRedis();
  const workers = new Workers();
  // Opening it loads the script that redis-benchmark calls by its digest.
  const store = await redisStore(redis.url);
  try {
    const node = await workers.add(startOn(runtime, "atlas_node.ts", "claimer", redis.url));
    const count = Math.round(30_000 * seconds);
    // Each round claims new names.
    let round = 0;
    const throughNode = () =>
      node.ask<number>({ do: "claims", prefix: `${++round}_`, count, inFlight: IN_FLIGHT });
    const throughStore = () => {
      const prefix = `echo/store_${++round}_`;
      return rateOf(count, IN_FLIGHT, async (n) => {
        const { won } = await store.claim(claimOf(`${prefix}${n}`));
        if (!won) throw new Error(`${prefix}${n} had an owner already`);
      });
    };
    const first = `first call of new names, Redis, ${IN_FLIGHT} in flight`;
    const goal: Goal = { of: "ratio", least: 0.75 };
    const figures = [await compare(options, redis, first, throughNode, goal)];
    if (runtime.name === "bun") {
      const alone = `store.claim of new names, Redis, ${IN_FLIGHT} in flight`;
      figures.push(await compare(options, redis, alone, throughStore));
    }
    return figures;
  } finally {
    await workers.stop();
    await store.close();
    await redis.stop();
  }
}

async function compare(
  { runtimeName, runs, seconds, log }: BenchOptions,
  redis: OwnRedis,
  metric: string,
  run: () => Promise<number>,
  goal?: Goal,
): Promise<Figure> {
  const count = Math.round(100_000 * seconds);
  const peer = async () => {
    const before = keysOf(redis.port);
    // A prefix of its own: runs of redis-benchmark may draw the same numbers.
    const rate = await benchmark(redis.port, count, scriptCall(randomUUID()));
    // Few of a run's numbers are drawn twice.
    if (keysOf(redis.port) - before < count * 0.99) {
      throw new Error(`the peer claimed ${keysOf(redis.port) - before} of ${count} names`);
    }
    return rate;
  };
  log(metric);
  await run();
  const [ours, theirs] = await inTurns(runs, [run, peer]);
  const about = { bench: "claims", metric, unit: "claims/s", runtime: runtimeName };
  return figure({ ...about, peer: "redis-benchmark, the same script", goal }, ours, theirs);
}

/** One claim of a new name, as redis-benchmark sends it. */
function scriptCall(prefix: string): string[] {
  const digest = createHash("sha1").update(STEPS).digest("hex");
  const { keys, args } = claimStep(claimOf(`echo/${prefix}:__rand_int__`));
  return ["EVALSHA", digest, String(keys.length), ...keys, ...args];
}
