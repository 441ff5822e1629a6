/**
 * Finds the master that sentinels watch: a guide who asks the town's watchmen, and believes
 * the one with the latest news.
 *
 * It takes the sentinels' addresses and a master's name, and gives the master's address now.
 * Each failover has a higher configuration epoch: a sentinel that tells of an earlier one
 * than was heard of has been cut off, and isn't followed as long as another one answers.
 *
 * Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/
 */
import { closedError } from "./check.ts";
import { within } from "./patience.ts";
import { dialIoredis } from "./redis_client.ts";
import type { RedisAddress, RedisClient } from "./redis_client.ts";
import type { RedisGuide } from "./redis_connection.ts";
import { askInTurn } from "./redis_inquiry.ts";
import type { SentinelTarget } from "./redis_url.ts";

/** Where a sentinel says that the master is. */
interface News {
  readonly host: string;
  readonly port: number;
  readonly epoch: number;
}

/** The guide to a master by its sentinels. One connection to each is kept open, at most. */
export class SentinelGuide implements RedisGuide {
  readonly name: string;
  readonly #target: SentinelTarget;
  readonly #clients = new Map<RedisAddress, RedisClient>();
  /** Which sentinel is asked first. */
  #first = 0;
  /** The latest configuration epoch heard of. */
  #epoch = -1;
  #closed = false;

  constructor(target: SentinelTarget) {
    this.#target = target;
    this.name = `the Redis master ${JSON.stringify(target.master)}`;
  }

  async find(timeoutMs: number): Promise<RedisAddress> {
    let stale: News | null = null;
    const news = await askInTurn({
      what: this.name,
      addresses: this.#inTurn(),
      timeoutMs,
      ask: async (sentinel, patience) => {
        const told = await this.#ask(sentinel, patience);
        if (told.epoch >= this.#epoch) return told;
        if (!stale || told.epoch > stale.epoch) stale = told;
        throw new Error(`it is behind, at epoch ${told.epoch} of ${this.#epoch}`);
      },
    }).catch((error) => {
      // Nobody who answers knows of a later one: the sentinels were set up anew.
      if (stale) return stale as News;
      throw error;
    });
    this.#epoch = news.epoch;
    return { host: news.host, port: news.port, ...this.#target.login };
  }

  mistaken(): void {
    this.#first++;
  }

  /** Asks the next sentinel; what it can't tell is no reason to leave a master that answers. */
  async elsewhere({ host, port }: RedisAddress, timeoutMs: number): Promise<string | null> {
    this.#first++;
    try {
      const [sentinel] = this.#inTurn();
      const told = await this.#ask(sentinel as RedisAddress, timeoutMs);
      if (told.epoch < this.#epoch || (told.host === host && told.port === port)) return null;
      return `its sentinels name ${told.host}:${told.port} as the master now`;
    } catch {
      return null;
    }
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #inTurn(): RedisAddress[] {
    const { sentinels } = this.#target;
    const first = this.#first % sentinels.length;
    return [...sentinels.slice(first), ...sentinels.slice(0, first)];
  }

  async #ask(sentinel: RedisAddress, timeoutMs: number): Promise<News> {
    if (this.#closed) throw closedError();
    const giveUp = performance.now() + timeoutMs;
    const client = await this.#clientOf(sentinel, timeoutMs);
    const { master } = this.#target;
    try {
      // The address comes by a command of its own: it is right while a failover still ends.
      const [address, about] = await within(
        Math.max(1, giveUp - performance.now()),
        Promise.all([
          client.send("SENTINEL", ["GET-MASTER-ADDR-BY-NAME", master]),
          client.send("SENTINEL", ["MASTER", master]),
        ]),
      );
      return newsOf(address, about);
    } catch (error) {
      this.#forget(sentinel, client);
      throw error;
    }
  }

  async #clientOf(sentinel: RedisAddress, timeoutMs: number): Promise<RedisClient> {
    const known = this.#clients.get(sentinel);
    if (known) return known;
    // Through ioredis everywhere: it tells why a connection failed.
    const client = await dialIoredis(sentinel, timeoutMs, () => this.#forget(sentinel, client));
    const rival = this.#clients.get(sentinel);
    if (this.#closed || rival) client.close();
    if (this.#closed) throw closedError();
    if (rival) return rival;
    this.#clients.set(sentinel, client);
    return client;
  }

  #forget(sentinel: RedisAddress, client: RedisClient): void {
    if (this.#clients.get(sentinel) === client) this.#clients.delete(sentinel);
    client.close();
  }
}

/** Reads both answers of a sentinel; the second is a flat list of names and values. */
function newsOf(address: unknown, about: unknown): News {
  const [host, port] = Array.isArray(address) ? address : [];
  const fields = Array.isArray(about) ? about : [];
  const at = fields.findIndex((name, i) => i % 2 === 0 && name === "config-epoch");
  const news = { host, port: Number(port), epoch: Number(at < 0 ? NaN : fields[at + 1]) };
  if (typeof host === "string" && host !== "" && news.port > 0 && news.epoch >= 0) return news;
  const shown = JSON.stringify([address, about])?.slice(0, 80);
  throw new Error(`it answers as no sentinel does: ${shown}`);
}
