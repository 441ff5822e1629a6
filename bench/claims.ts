/**
 * Bench: claims of new names on a real Redis, 256 in flight, on Bun.
 *
 * Measured through the store alone (`store.claim`) and through a whole node (the first call of a
 * name: look up, claim, load, run, answer). Peer: redis-benchmark with the same script, one claim
 * per request and as many in flight.
 */
import { createHash, randomUUID } from "node:crypto";
import { redisStore } from "../adapters/store/open/redis.ts";
import { STEPS } from "../adapters/store/redis/scripts.ts";
import type { Store } from "../src/ports/store.ts";
import { type BenchOptions, byTurns, type Figure, figure, rateOf } from "./kit.ts";
import { benchmark, startRedis } from "./redis.ts";
import { startBunWorker, type Worker } from "./worker.ts";

const IN_FLIGHT = 256;
const INCARNATION: string = randomUUID();

export async function runClaims({ quick, log }: BenchOptions): Promise<Figure[]> {
  const redis = await startRedis();
  let node: Worker | undefined;
  let store: Store | undefined;
  try {
    // Opening it loads the script that redis-benchmark calls by its digest.
    store = await redisStore(redis.url);
    node = await startBunWorker("atlas_node.ts", "claimer", redis.url);
    const peer = () => benchmark(redis.port, quick ? 100_000 : 400_000, scriptCall());
    const claims = new Claims(store, node, quick ? 30_000 : 100_000);
    const peerName = `redis-benchmark ${redis.version}, the same script`;
    const figures: Figure[] = [];
    for (const [metric, run] of claims.metrics()) {
      log(metric);
      await run();
      const { ours, theirs } = await byTurns(quick ? 3 : 5, run, peer);
      const about = { bench: "claims", metric, unit: "claims/s", peer: peerName };
      figures.push(figure(about, ours, theirs));
    }
    return figures;
  } finally {
    await node?.stop();
    await store?.close();
    await redis.stop();
  }
}

/** One claim of a new name, as redis-benchmark sends it. */
function scriptCall(): string[] {
  const digest = createHash("sha1").update(STEPS).digest("hex");
  const key = "echo/peer:__rand_int__";
  const claim = `${INCARNATION} ${randomUUID()} rrp:bench/peer/${key}`;
  return ["EVALSHA", digest, "2", `atlas:{s7}:own:${key}`, "atlas:{s7}:epoch", "C", claim, "", "0"];
}

class Claims {
  readonly #store: Store;
  readonly #node: Worker;
  readonly #count: number;
  #round = 0;

  constructor(store: Store, node: Worker, count: number) {
    this.#store = store;
    this.#node = node;
    this.#count = count;
  }

  /** The metrics, each with its measurement. Each round claims new names. */
  metrics(): [string, () => Promise<number>][] {
    return [
      [`store.claim of new names, ${IN_FLIGHT} in flight`, () => this.#throughStore()],
      [`first calls of new names, ${IN_FLIGHT} in flight`, () => this.#throughNode()],
    ];
  }

  #throughStore(): Promise<number> {
    const round = `store_${++this.#round}_`;
    return rateOf(this.#count, IN_FLIGHT, async (n) => {
      const key = `echo/${round}${n}`;
      const { won } = await this.#store.claim({
        key,
        rrp: `rrp:bench/claimer/${key}`,
        incarnation: INCARNATION,
        opId: randomUUID(),
        expected: null,
      });
      if (!won) throw new Error(`${key} had an owner already`);
    });
  }

  #throughNode(): Promise<number> {
    const prefix = `node_${++this.#round}_`;
    return this.#node.ask<number>({
      do: "claims",
      prefix,
      count: this.#count,
      inFlight: IN_FLIGHT,
    });
  }
}
