/**
 * Sends plain commands to a test's Redis, without a store. Takes a server and a command, and gives
 * its answer; or waits until replicas have all writes.
 */
import { dialIoredis, parseRedisUrl, type RedisClient } from "../../adapters/store/redis/client.ts";
import type { TestRedis } from "./redis.ts";

/** How long a connection may take to open, in ms. */
const PATIENCE_MS = 30_000;

type Server = Pick<TestRedis, "url">;

/** One command to one server, and its answer. */
export async function command(
  server: Server,
  name: string,
  ...args: readonly string[]
): Promise<unknown> {
  return await over(server, (client) => client.send(name, [...args]));
}

/**
 * Waits until this many replicas have all that a server has.
 *
 * @param key a key in one of its slots, if it is a node of a cluster.
 */
export async function copied(server: Server, replicas: number, key = "copied"): Promise<void> {
  await over(server, async (client) => {
    // WAIT waits for this connection's own last write: a connection without writes doesn't wait.
    await client.send("SET", [key, "all before this"]);
    while (Number(await client.send("WAIT", [String(replicas), "1000"])) < replicas);
  });
}

async function over<T>({ url }: Server, run: (client: RedisClient) => Promise<T>): Promise<T> {
  const client = await dialIoredis(parseRedisUrl(url), PATIENCE_MS, () => {});
  try {
    return await run(client);
  } finally {
    client.close();
  }
}
