/**
 * Bench: claims of new names on an HTTP Redis, on Bun, 256 in flight and one at a time.
 *
 * Peer: `@upstash/redis` with the same script, one claim per request, auto-pipelined when many are
 * in flight, as is its default.
 */
import { Redis } from "@upstash/redis";
import { randomUUID } from "node:crypto";
import { SCRIPTS, STEPS } from "../adapters/store/redis/scripts.ts";
import { upstashStore } from "../adapters/store/open/upstash.ts";
import type { Store } from "../src/ports/store.ts";
import { claimStep } from "../adapters/store/redis/steps.ts";
import { type BenchOptions, type Figure, figure, inTurns, rateOf } from "./kit.ts";
import { startRedis } from "./redis.ts";
import { startLoad, type Worker } from "./worker.ts";

const INCARNATION: string = randomUUID();

export async function runUpstash(
  { runtimeName, runs: count, seconds, log }: BenchOptions,
): Promise<Figure[]> {
  const redis = await startRedis();
  const token = randomUUID();
  let server: Worker | undefined;
  let store: Store | undefined;
  try {
    server = await startLoad("upstash_server.ts", redis.port, token);
    const url = String(server.ready["url"]);
    store = await upstashStore({ url, token });
    const client = new Redis({ url, token, enableTelemetry: false });
    const digests = await Promise.all(SCRIPTS.map((script) => client.scriptLoad(script)));
    const digest = digests[SCRIPTS.indexOf(STEPS)] as string;
    const figures: Figure[] = [];
    for (const [inFlight, each] of [[256, 10_000], [1, 1_000]] as const) {
      const metric = `store.claim of new names over HTTP, ${inFlight} in flight`;
      log(metric);
      const calls = Math.round(each * seconds);
      const ours = () => claims(store as Store, calls, inFlight);
      const theirs = () => scripts(client, digest, calls, inFlight);
      await ours();
      await theirs();
      const runs = await inTurns(count, [ours, theirs]);
      const about = { bench: "upstash", metric, unit: "claims/s", runtime: runtimeName };
      const peer = "@upstash/redis, the same script, auto-pipelined";
      figures.push(figure({ ...about, peer }, runs[0], runs[1]));
    }
    return figures;
  } finally {
    await store?.close();
    await server?.stop();
    await redis.stop();
  }
}

function claims(store: Store, count: number, inFlight: number): Promise<number> {
  const round = randomUUID();
  return rateOf(count, inFlight, async (n) => {
    const key = `echo/${round}_${n}`;
    const rrp = `rrp:bench/claimer/${key}`;
    const opId = randomUUID();
    const { won } = await store.claim({
      key,
      rrp,
      incarnation: INCARNATION,
      opId,
      expected: null,
    });
    if (!won) throw new Error(`${key} had an owner already`);
  });
}

function scripts(
  client: Redis,
  digest: string,
  count: number,
  inFlight: number,
): Promise<number> {
  const round = randomUUID();
  return rateOf(count, inFlight, async (n) => {
    const key = `echo/${round}_${n}`;
    const rrp = `rrp:bench/peer/${key}`;
    const opId = randomUUID();
    const step = claimStep({ key, rrp, incarnation: INCARNATION, opId, expected: null });
    const reply = await client.evalsha<string[], number[][]>(digest, [...step.keys], [
      ...step.args,
    ]);
    if (typeof reply[0]?.[0] !== "number") throw new Error(`${key} had an owner already`);
  });
}
