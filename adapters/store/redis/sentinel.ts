/**
 * Finds the master that Redis Sentinels watch.
 *
 * Takes the sentinels' addresses and a master's name; gives the master's present address. Each
 * failover raises the configuration epoch. A sentinel that reports an earlier epoch than one
 * already seen was cut off, and is ignored while another sentinel answers.
 *
 * Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/
 */
import { AtlasError, messageOf } from "../../../src/errors.ts";
import { closedError, unavailable } from "../check.ts";
import { dialIoredis, type RedisAddress, type RedisClient } from "./client.ts";
import type { MasterLocator } from "./connection.ts";
import { type ReplicaGroup, replicasBySentinels, type SentinelAnswer } from "./replicas.ts";
import { REFUSED } from "./replies.ts";
import { withTimeout } from "./request_timeout.ts";
import type { SentinelTarget } from "./url.ts";

/** The master's address, as a sentinel reports it. */
interface MasterAddress {
  readonly host: string;
  readonly port: number;
  readonly epoch: number;
}

/** Finds a master by its sentinels. Keeps at most one connection open to each. */
export class SentinelLocator implements MasterLocator {
  readonly name: string;
  readonly #target: SentinelTarget;
  readonly #clients = new Map<RedisAddress, RedisClient>();
  /** Which sentinel is asked first. */
  #first = 0;
  /** Sentinels that didn't answer the last question. */
  readonly #unresponsive = new Set<RedisAddress>();
  /** Sentinels that are being asked for replicas. */
  readonly #asked = new Set<RedisAddress>();
  /** The latest configuration epoch seen. */
  #epoch = -1;
  #closed = false;

  constructor(target: SentinelTarget) {
    this.#target = target;
    this.name = `the Redis master ${JSON.stringify(target.master)}`;
  }

  async find(timeoutMs: number): Promise<RedisAddress> {
    let stale: MasterAddress | null = null;
    const news = await askInTurn({
      what: this.name,
      addresses: this.#inTurn(),
      timeoutMs,
      ask: async (sentinel, ms) => {
        const found = await this.#news(sentinel, ms);
        if (found.epoch >= this.#epoch) return found;
        if (!stale || found.epoch > stale.epoch) stale = found;
        throw new Error(`it is behind, at epoch ${found.epoch} of ${this.#epoch}`);
      },
    }).catch((error) => {
      // No sentinel that answers knows a later epoch: the sentinels were set up again from scratch.
      if (stale) return stale as MasterAddress;
      throw error;
    });
    this.#epoch = news.epoch;
    return { host: news.host, port: news.port, ...this.#target.login };
  }

  invalidate(): void {
    this.#first++;
  }

  /** Asks the next sentinel. If none answers, a connection to a master that responds is kept. */
  async elsewhere({ host, port }: RedisAddress, timeoutMs: number): Promise<string | null> {
    this.#first++;
    try {
      const [sentinel] = this.#inTurn();
      const found = await this.#news(sentinel as RedisAddress, timeoutMs);
      if (found.epoch < this.#epoch || (found.host === host && found.port === port)) return null;
      return `its sentinels name ${found.host}:${found.port} as the master now`;
    } catch {
      return null;
    }
  }

  /**
   * The replicas that may be promoted, by all sentinels that answer. A sentinel that did not answer
   * the last time is waited for only as long as the others take, and gets one question at a time.
   */
  async replicas(timeoutMs: number): Promise<ReplicaGroup> {
    const { sentinels } = this.#target;
    const askedAt = performance.now();
    const answers: SentinelAnswer[] = [];
    let why: unknown = null;
    const awaited: Promise<void>[] = [];
    const others: Promise<void>[] = [];
    for (const sentinel of sentinels) {
      const isSilent = this.#unresponsive.has(sentinel);
      if (isSilent && this.#asked.has(sentinel)) continue;
      this.#asked.add(sentinel);
      const asked = this.#replicasBy(sentinel, timeoutMs).then((answer) => {
        answers.push(answer);
        this.#unresponsive.delete(sentinel);
      }, (error) => {
        why = error;
        this.#unresponsive.add(sentinel);
      }).finally(() => this.#asked.delete(sentinel));
      (isSilent ? others : awaited).push(asked);
    }
    await Promise.all(awaited);
    if (answers.length * 2 <= sentinels.length) await Promise.all(others);
    if (answers.length === 0) throw unavailable(`no sentinel answers: ${messageOf(why)}`, why);
    return replicasBySentinels([...answers], sentinels.length, askedAt);
  }

  #replicasBy(sentinel: RedisAddress, timeoutMs: number): Promise<SentinelAnswer> {
    const { master } = this.#target;
    return this.#ask(sentinel, timeoutMs, async (client) => {
      const [address, about, replicas] = await Promise.all([
        client.send("SENTINEL", ["GET-MASTER-ADDR-BY-NAME", master]),
        client.send("SENTINEL", ["MASTER", master]),
        client.send("SENTINEL", ["REPLICAS", master]),
      ]);
      const { host, port, epoch } = masterAddressOf(address, about);
      const listed = Array.isArray(replicas) ? replicas.map(fieldsOf) : [];
      return { primary: `${host}:${port}`, epoch, replicas: listed };
    });
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

  #news(sentinel: RedisAddress, timeoutMs: number): Promise<MasterAddress> {
    const { master } = this.#target;
    return this.#ask(sentinel, timeoutMs, async (client) => {
      // The address comes from a separate command, whose answer is right even at the end of a
      // failover.
      const [address, about] = await Promise.all([
        client.send("SENTINEL", ["GET-MASTER-ADDR-BY-NAME", master]),
        client.send("SENTINEL", ["MASTER", master]),
      ]);
      return masterAddressOf(address, about);
    });
  }

  async #ask<Answer>(
    sentinel: RedisAddress,
    timeoutMs: number,
    ask: (client: RedisClient) => Promise<Answer>,
  ): Promise<Answer> {
    if (this.#closed) throw closedError();
    const giveUp = performance.now() + timeoutMs;
    const client = await this.#clientOf(sentinel, timeoutMs);
    try {
      return await withTimeout(Math.max(1, giveUp - performance.now()), ask(client));
    } catch (error) {
      this.#forget(sentinel, client);
      throw error;
    }
  }

  async #clientOf(sentinel: RedisAddress, timeoutMs: number): Promise<RedisClient> {
    const known = this.#clients.get(sentinel);
    if (known) return known;
    // Through ioredis on all runtimes: it reports why a connection failed.
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

/** A flat list of names and values. */
function fieldsOf(flat: unknown): ReadonlyMap<string, string> {
  const list = Array.isArray(flat) ? flat.map(String) : [];
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < list.length; i += 2) fields.set(list[i] as string, list[i + 1] as string);
  return fields;
}

/** Reads both answers of a sentinel about a master. */
function masterAddressOf(address: unknown, about: unknown): MasterAddress {
  const [host, port] = Array.isArray(address) ? address : [];
  const news = { host, port: Number(port), epoch: Number(fieldsOf(about).get("config-epoch")) };
  if (typeof host === "string" && host !== "" && news.port > 0 && news.epoch >= 0) return news;
  const shown = JSON.stringify([address, about])?.slice(0, 80);
  throw new Error(`it answers as no sentinel does: ${shown}`);
}

/** The longest that one server may take to answer, in ms. */
const MAX_ANSWER_MS = 1_000;

/** One question to each of several servers. */
export interface Question<Answer> {
  /** The name of what is looked for, as the beginning of a message: `X can't be found`. */
  readonly what: string;
  /** The servers, in the order in which they are asked. */
  readonly addresses: readonly RedisAddress[];
  /** How long the whole search may take, in ms. */
  readonly timeoutMs: number;
  ask(address: RedisAddress, timeoutMs: number): Promise<Answer>;
}

/**
 * The first answer.
 *
 * @throws AtlasError `bad_request` if every server refuses for a reason that stays, `unavailable`
 * otherwise.
 */
export async function askInTurn<Answer>(inquiry: Question<Answer>): Promise<Answer> {
  const { what, addresses, timeoutMs, ask } = inquiry;
  const giveUp = performance.now() + timeoutMs;
  const share = Math.min(MAX_ANSWER_MS, timeoutMs / Math.max(1, addresses.length));
  const reasons: string[] = [];
  let refusals = 0;
  for (const address of addresses) {
    try {
      return await ask(address, Math.max(1, Math.min(share, giveUp - performance.now())));
    } catch (error) {
      const why = messageOf(error);
      if (REFUSED.test(why)) refusals++;
      reasons.push(`${address.host}:${address.port}: ${why}`);
    }
  }
  const message = `${what} can't be found: ${reasons.join("; ").slice(0, 1_000)}`;
  if (refusals > 0 && refusals === addresses.length) throw new AtlasError("bad_request", message);
  throw unavailable(message);
}
