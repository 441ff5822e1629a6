/**
 * Opens the registry's store in a Redis over TCP: the door to the notary's office that
 * has pneumatic post.
 *
 * It takes a URL and gives a `RedisStore` over one lasting connection. Of a cluster of
 * several nodes only the one that is dialled is used, so the keys of others answer
 * `unavailable`.
 */
import type { Store } from "../../src/ports/store.ts";
import { checkWhole } from "./check.ts";
import { OPTIMISTIC_SCRIPTS, RedisBook } from "./optimistic_redis.ts";
import { checkStrategy, openOptimistic, type StrategyOptions } from "./optimistic_strategy.ts";
import { parseRedisUrl } from "./redis_client.ts";
import type { RedisDialer } from "./redis_client.ts";
import { confirming } from "./redis_confirming.ts";
import { RedisConnection } from "./redis_connection.ts";
import { RedisStore } from "./redis_store.ts";
import { SCRIPTS } from "./scripts.ts";

export interface RedisStoreOptions extends StrategyOptions {
  /** How long one step, and the first connection, may take, in ms. Default 5,000. */
  timeoutMs?: number;
  /** Which client to use; default the quickest on this runtime. */
  dial?: RedisDialer;
  /**
   * How many replicas must have a step that writes before it counts, by WAIT; until they
   * have, and for half of `timeoutMs` at most, it isn't answered. Default: the URL's
   * `?replicas=N`, else 0.
   */
  replicas?: number;
}

/** Code units of text after which a script or MGET is sent, and another one begun. */
const MAX_BATCH_TEXT = 1_048_576;

/**
 * Connects to the Redis at `redis://[user[:password]@]host[:port][/database][?replicas=N]`.
 *
 * Afterwards the store redials for ever by itself; while Redis is away every step
 * rejects with `unavailable` at once.
 *
 * @throws AtlasError `bad_request` where the URL is wrong or its credentials are
 * refused, `unavailable` where nobody answers within `timeoutMs`.
 */
export async function redisStore(url: string, options: RedisStoreOptions = {}): Promise<Store> {
  const timeoutMs = options.timeoutMs ?? 5_000;
  checkWhole("timeoutMs", timeoutMs, 1);
  const masters = checkStrategy(options);
  const address = parseRedisUrl(url);
  const replicas = options.replicas ?? address.replicas ?? 0;
  checkWhole("replicas", replicas, 0);
  const connection = new RedisConnection(address, {
    timeoutMs,
    dial: options.dial,
    scripts: masters ? OPTIMISTIC_SCRIPTS : SCRIPTS,
  });
  await connection.open();
  if (masters) return await openOptimistic(new RedisBook(connection, masters), masters, options);
  const waitMs = Math.max(1, Math.floor(timeoutMs / 2));
  const line = replicas > 0 ? confirming(connection, replicas, waitMs) : connection;
  return new RedisStore(line, MAX_BATCH_TEXT);
}
