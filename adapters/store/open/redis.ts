/**
 * Opens the store in a Redis over TCP. Takes a URL; gives a `RedisStore` over a connection to the
 * named server, to the master that sentinels name, or to each master of a cluster.
 */
import type { Store } from "../../../src/ports/store.ts";
import { checkMs, checkWhole, refused } from "../check.ts";
import { checkStrategy, openOptimistic, type StrategyOptions } from "../optimistic/options.ts";
import { OPTIMISTIC_SCRIPTS, RedisMaster } from "../optimistic/redis_master.ts";
import type { RedisDialer } from "../redis/client.ts";
import { RedisCluster } from "../redis/cluster.ts";
import { RedisConnection, type RedisConnectionOptions } from "../redis/connection.ts";
import { EvictionMonitor, type EvictionOptions } from "../redis/eviction.ts";
import { withReplicaAck } from "../redis/replica_ack.ts";
import { SCRIPTS } from "../redis/scripts.ts";
import { SentinelLocator } from "../redis/sentinel.ts";
import { RedisStore } from "../redis/store.ts";
import { parseRedisTarget, type RedisTarget } from "../redis/url.ts";

export interface RedisStoreOptions extends StrategyOptions, EvictionOptions {
  /** How long one step, and the first connection, may take, in ms. Default 5,000. */
  timeoutMs?: number;
  /** Which client to use; default the quickest on this runtime. */
  dial?: RedisDialer;
  /**
   * The number of replicas that must have a write before it counts (by WAIT). The step is answered
   * only once they have it, or fails after half of `timeoutMs`. Default: the URL's `?replicas=N`,
   * else 0.
   */
  replicas?: number;
}

/** The size of text after which a script or MGET is sent and the next one begins, in code units. */
const MAX_BATCH_TEXT = 1_048_576;

/**
 * Connects to the Redis at `redis://[user[:password]@]host[:port][/database]`, to the master that
 * is watched at `redis+sentinel://[user[:password]@]host[:port],…/master[/database]`, or to the
 * cluster at `redis+cluster://[user[:password]@]host[:port],…`; `rediss` for TLS. Each may end with
 * `?replicas=N`, the option `replicas`, and `eviction=allow`, the option `eviction`.
 *
 * Afterwards the store reconnects by itself, without a time limit; while Redis is unreachable every
 * step rejects with `unavailable` at once.
 *
 * @throws AtlasError `bad_request` if the URL is wrong, its credentials are refused or the server
 * may evict keys that have no TTL, `unavailable` if nobody answers within `timeoutMs`.
 */
export async function redisStore(url: string, options: RedisStoreOptions = {}): Promise<Store> {
  const timeoutMs = options.timeoutMs ?? 5_000;
  checkMs("timeoutMs", timeoutMs);
  const masters = checkStrategy(options);
  const target = parseRedisTarget(url);
  if (masters && target.kind !== "single") {
    throw refused(
      "strategy",
      `optimistic with ${target.kind}`,
      "left out: a key has one master there",
    );
  }
  const replicas = options.replicas ?? target.replicas;
  checkWhole("replicas", replicas, 0);
  if (masters && replicas > 0) {
    throw refused("replicas", String(replicas), "0 or absent with strategy optimistic");
  }
  const scripts = masters ? OPTIMISTIC_SCRIPTS : SCRIPTS;
  const { onEvent } = options;
  const eviction = new EvictionMonitor({ eviction: options.eviction ?? target.eviction, onEvent });
  const backend = backendTo(target, { timeoutMs, dial: options.dial, scripts, eviction });
  try {
    await backend.open();
  } catch (error) {
    backend.close();
    throw error;
  }
  eviction.opened();
  if (masters) return await openOptimistic(new RedisMaster(backend, masters), masters, options);
  if (replicas === 0) return new RedisStore(backend, MAX_BATCH_TEXT, onEvent);
  const waitMs = Math.max(1, Math.floor(timeoutMs / 2));
  return new RedisStore(withReplicaAck(backend, replicas, waitMs), MAX_BATCH_TEXT, onEvent);
}

/** A backend that is not yet open. */
function backendTo(
  target: RedisTarget,
  options: RedisConnectionOptions,
): RedisConnection | RedisCluster {
  switch (target.kind) {
    case "single":
      return new RedisConnection(target.address, options);
    case "sentinel":
      return new RedisConnection(new SentinelLocator(target), options);
    case "cluster":
      return new RedisCluster(target.seeds, options);
  }
}
