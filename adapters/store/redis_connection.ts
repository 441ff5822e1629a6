/**
 * One lasting line to a Redis over connections that come and go: a switchboard that
 * redials, and never keeps anyone on hold.
 *
 * It takes scripts and commands, and gives replies. Nothing waits for a reconnection:
 * while the line is down every request rejects with `unavailable` at once, and so does
 * all that was in flight when it went down. A request that isn't answered in its time
 * brings the line down: a peer that hangs can't be told from one that is gone.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { closedError, unavailable } from "./check.ts";
import { defaultDialer, dialIoredis, within } from "./redis_client.ts";
import type { RedisAddress, RedisClient, RedisDialer } from "./redis_client.ts";
import type { RedisLine } from "./redis_store.ts";

export interface RedisConnectionOptions {
  /** How long one request, or one attempt to connect, may take, in ms. */
  timeoutMs: number;
  /** Which client; default the quickest on this runtime. */
  dial?: RedisDialer;
  /** Scripts to load whenever a connection opens. */
  scripts: readonly string[];
}

/** Redials wait between these, doubling, each by a random half to whole; in ms. */
const FIRST_BACKOFF = 25;
const LAST_BACKOFF = 1_000;

/** What a Redis says that no retry will change. */
const REFUSED =
  /WRONGPASS|NOAUTH|NOPERM|invalid password|DB index is out of range|unknown command/i;

export class RedisConnection implements RedisLine {
  readonly #address: RedisAddress;
  readonly #options: RedisConnectionOptions;
  readonly #dial: RedisDialer;
  readonly #shas = new Map<string, string>();
  readonly #pending = new Set<(error: Error) => void>();
  #client: RedisClient | null = null;
  #why = "it was not reached yet";
  #backoff = FIRST_BACKOFF;
  #redial: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  /** Whether this Redis is a node of a cluster; known once connected. */
  clustered = false;

  constructor(address: RedisAddress, options: RedisConnectionOptions) {
    this.#address = address;
    this.#options = options;
    this.#dial = options.dial ?? defaultDialer();
  }

  get up(): boolean {
    return this.#client !== null;
  }

  /**
   * Connects, trying again until `timeoutMs` have passed.
   *
   * @throws AtlasError `unavailable` where nobody answers, `bad_request` where the
   * Redis refuses these credentials or this database.
   */
  async open(): Promise<void> {
    const giveUp = performance.now() + this.#options.timeoutMs;
    for (;;) {
      const left = giveUp - performance.now();
      try {
        return await this.#connect(Math.max(1, left));
      } catch (error) {
        const why = await this.#explain(error);
        if (REFUSED.test(why)) {
          throw new AtlasError("bad_request", `${this.#name()} refused: ${why}`, { cause: error });
        }
        const wait = this.#nextBackoff();
        if (performance.now() + wait >= giveUp) {
          throw unavailable(`${this.#name()} can't be reached: ${why}`, error);
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /** Runs a script: by its digest, or whole where Redis has forgotten it. */
  async script(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    const sha = this.#shas.get(script);
    try {
      if (sha !== undefined) return await this.send("EVALSHA", [sha, ...rest]);
    } catch (error) {
      if (!messageOf(error).includes("NOSCRIPT")) throw error;
    }
    return this.send("EVAL", [script, ...rest]);
  }

  /** Sends one command. Rejects with `unavailable`, whatever went wrong. */
  send(command: string, args: string[]): Promise<unknown> {
    const client = this.#client;
    if (this.#closed) return Promise.reject(closedError());
    if (!client) return Promise.reject(this.#unreachable());
    return new Promise((resolve, reject) => {
      const { timeoutMs } = this.#options;
      const settle = (): void => {
        clearTimeout(timer);
        this.#pending.delete(fail);
      };
      const fail = (error: Error): void => {
        settle();
        reject(error);
      };
      const timer = setTimeout(
        () => this.#drop(client, `no answer within ${timeoutMs} ms`),
        timeoutMs,
      );
      this.#pending.add(fail);
      client.send(command, args).then((reply) => {
        settle();
        resolve(reply);
      }, (error) => fail(unavailable(`${this.#name()}: ${messageOf(error)}`, error)));
    });
  }

  /** Values of keys: this server does the writes, too. */
  mget(keys: readonly string[]): Promise<unknown> {
    return this.send("MGET", [...keys]);
  }

  /** Ends it for good. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#redial);
    const client = this.#client;
    this.#client = null;
    client?.close();
    this.#rejectAll(closedError());
  }

  async #connect(timeoutMs: number): Promise<void> {
    let ended: string | null = null;
    let opened: RedisClient | null = null;
    const client = await this.#dial(this.#address, timeoutMs, (why) => {
      ended = why;
      if (opened) this.#drop(opened, why);
    });
    try {
      await within(timeoutMs, this.#greet(client));
      if (ended !== null) throw new Error(ended);
      if (this.#closed) throw closedError();
    } catch (error) {
      client.close();
      throw error;
    }
    opened = client;
    this.#client = client;
    this.#backoff = FIRST_BACKOFF;
  }

  /** Selects the database, proves that scripts run here, and asks what kind of Redis it is. */
  async #greet(client: RedisClient): Promise<void> {
    const { database } = this.#address;
    if (database !== 0) await client.send("SELECT", [String(database)]);
    const about = client.send("INFO", ["cluster"]);
    const shas = this.#options.scripts.map((script) => client.send("SCRIPT", ["LOAD", script]));
    const replies = await Promise.all([about, ...shas]);
    this.clustered = String(replies[0]).includes("cluster_enabled:1");
    this.#options.scripts.forEach((script, i) => this.#shas.set(script, String(replies[i + 1])));
  }

  #drop(client: RedisClient, why: string): void {
    if (this.#client !== client) return;
    this.#client = null;
    this.#why = why;
    this.#rejectAll(this.#unreachable());
    client.close();
    this.#redialLater();
  }

  #redialLater(): void {
    if (this.#closed) return;
    this.#redial = setTimeout(() => {
      this.#connect(this.#options.timeoutMs).catch((error) => {
        this.#why = messageOf(error);
        this.#redialLater();
      });
    }, this.#nextBackoff());
  }

  #nextBackoff(): number {
    const wait = this.#backoff * (0.5 + Math.random() / 2);
    this.#backoff = Math.min(LAST_BACKOFF, this.#backoff * 2);
    return wait;
  }

  /** Why a first attempt failed: where the client doesn't say, ioredis is asked to. */
  async #explain(error: unknown): Promise<string> {
    if (this.#dial === dialIoredis || this.#closed) return messageOf(error);
    try {
      (await dialIoredis(this.#address, 1_000, () => {})).close();
      return messageOf(error);
    } catch (reason) {
      return messageOf(reason);
    }
  }

  #rejectAll(error: Error): void {
    for (const reject of [...this.#pending]) reject(error);
  }

  #unreachable(): AtlasError {
    return unavailable(`${this.#name()} can't be reached: ${this.#why}`);
  }

  #name(): string {
    return `the Redis at ${this.#address.host}:${this.#address.port}`;
  }
}
