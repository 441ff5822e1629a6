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
import { type BenchOptions, byTurns, type Figure, figure, rateOf } from "./kit.ts";
import { startRedis } from "./redis.ts";
import { startBunWorker, type Worker } from "./worker.ts";

const INCARNATION: string = randomUUID();

export async function runUpstash({ quick, log }: BenchOptions): Promise<Figure[]> {
  const redis = await startRedis();
  const token = randomUUID();
  let server: Worker | undefined;
  let store: Store | undefined;
  try {
    server = await startBunWorker("upstash_server.ts", `${redis.port}`, token);
    const url = String(server.ready["url"]);
    store = await upstashStore({ url, token });
    const client = new Redis({ url, token, enableTelemetry: false });
    const digests = await Promise.all(SCRIPTS.map((script) => client.scriptLoad(script)));
    const digest = digests[SCRIPTS.indexOf(STEPS)] as string;
    const figures: Figure[] = [];
    for (const [inFlight, count] of [[256, quick ? 20_000 : 60_000], [1, quick ? 500 : 2_000]]) {
      const metric = `store.claim of new names over HTTP, ${inFlight} in flight`;
      log(metric);
      const ours = () => claims(store as Store, count as number, inFlight as number);
      const theirs = () => scripts(client, digest, count as number, inFlight as number);
      await ours();
      await theirs();
      const runs = await byTurns(quick ? 3 : 5, ours, theirs);
      const about = { bench: "upstash", metric, unit: "claims/s" };
      const peer = "@upstash/redis, the same script, auto-pipelined";
      figures.push(figure({ ...about, peer }, runs.ours, runs.theirs));
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
    const claim = `${INCARNATION} ${randomUUID()} rrp:bench/peer/${key}`;
    const slot = `atlas:{s${n % 1_024}}`;
    const reply = await client.evalsha<string[], number[]>(
      digest,
      [`${slot}:own:${key}`, `${slot}:epoch`],
      ["C", claim, "", "0"],
    );
    if (typeof reply[0] !== "number") throw new Error(`${key} had an owner already`);
  });
}
