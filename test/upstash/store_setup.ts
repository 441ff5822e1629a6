/**
 * The set-up of a test on the HTTP store: a Redis, its REST server and a store, closed when the
 * test ends.
 */

import { upstashStore } from "../../adapters/store/open/upstash.ts";
import type { Store } from "../../src/ports/store.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { plain, RespConnection } from "./resp.ts";
import { startUpstash, type TestUpstash } from "./server.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

/** Cleanups that run when the test ends, the latest first. */
export const cleanups: (() => unknown)[] = cleanupsAfterEach();

/** A Redis, an HTTP server in front of it, and a store on that. */
export interface StoreSetup {
  readonly redis: TestRedis;
  readonly server: TestUpstash;
  readonly store: Store;
  /** Sends commands to the Redis itself, past the store. */
  sendCommand(...command: string[]): Promise<unknown>;
}

/** Makes the set-up of one test; its store waits `timeoutMs` for each answer. */
export async function setUpStore(timeoutMs = 60_000): Promise<StoreSetup> {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const server = await startUpstash(redis.port);
  cleanups.push(() => server.close());
  const store = await upstashStore({ url: server.url, token: server.token, timeoutMs });
  cleanups.push(() => store.close());
  const direct = new RespConnection(redis.port);
  cleanups.push(() => direct.close());
  return {
    redis,
    server,
    store,
    sendCommand: async (...command) => plain(await direct.call(...command)),
  };
}

/** Opens a further store, which sends its own requests. */
export async function furtherStores({ url, token }: TestUpstash, count: number): Promise<Store[]> {
  const opening = Array.from(
    { length: count },
    () => upstashStore({ url, token, timeoutMs: 60_000 }),
  );
  const stores = await Promise.all(opening);
  cleanups.push(() => Promise.all(stores.map((store) => store.close())));
  return stores;
}
