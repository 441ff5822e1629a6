/**
 * A Redis connection that reconnects by itself and never queues.
 *
 * While it is down every request rejects with `unavailable` at once, and so does all that was in
 * flight when it went down. A request without an answer within its time ends the connection: a peer
 * that hangs can't be distinguished from one that has ended.
 *
 * It uses a master only. If a server reports that it is a replica, when the connection opens or in
 * any later answer, the connection is closed at once and the answer is discarded. If a locator
 * finds the server (sentinels), it is asked before each attempt, and periodically while connected.
 */
import { AtlasError, isAtlasError, messageOf } from "../../../src/errors.ts";
import { closedError, failedStep, unavailable, unsent } from "../check.ts";
import {
  defaultDialer,
  dialIoredis,
  type RedisAddress,
  type RedisClient,
  type RedisDialer,
} from "./client.ts";
import type { EvictionMonitor } from "./eviction.ts";
import type { RedisRunner } from "./replica_ack.ts";
import type { ReplicaGroup } from "./replicas.ts";
import { fieldOf, isReplica, NOT_SERVING, refusalIn, REFUSED, replicaOf } from "./replies.ts";
import { requestTimeout, withTimeout } from "./request_timeout.ts";
import { scanShards, type Shard } from "./scan.ts";
import { SCAN } from "./scripts.ts";
import type { RedisBackend } from "./store.ts";

export interface RedisConnectionOptions {
  /** How long one request, or one attempt to connect, may take, in ms. */
  timeoutMs: number;
  /** Which client; default the quickest on this runtime. */
  dial?: RedisDialer;
  /** Scripts to load whenever a connection opens. */
  scripts: readonly string[];
  /** Runs when a connection has ended that this end didn't close. */
  ended?: () => void;
  /** Checks whether the server may evict keys. Absent: no check. */
  eviction?: EvictionMonitor;
}

/** Sends ASKING before a command, for a slot that is being moved to this node. */
export interface Asking {
  readonly asking: boolean | undefined;
}

/**
 * Backoff of reconnections, from the first to the longest, doubling, with a random half to whole of
 * it; in ms. The longest is short compared to any lease, so that if a server comes back during a
 * lease, a renewal reaches it before the lease ends.
 */
const FIRST_BACKOFF = 25;
const LAST_BACKOFF = 250;

/** How often the locator is asked whether the connection is to the right server, in ms. */
const WATCH_MS = 1_000;

/** How often a server is asked whether it may evict keys, in ms. */
const EVICTION_MS = 5_000;

export class RedisConnection implements RedisBackend {
  readonly #locator: MasterLocator | null;
  readonly #options: RedisConnectionOptions;
  readonly #dial: RedisDialer;
  readonly #shas = new Map<string, string>();
  readonly #pending = new Set<(error: Error) => void>();
  #address: RedisAddress | null;
  #client: RedisClient | null = null;
  /** Identifies the run of the connected server. */
  #run = "0";
  #why = "it was not reached yet";
  #backoff = FIRST_BACKOFF;
  #redialTimer: ReturnType<typeof setTimeout> | undefined;
  #watchTimer: ReturnType<typeof setTimeout> | undefined;
  #evictionTimer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  /** Whether this Redis is a node of a cluster. Known once connected. */
  clustered = false;
  /** Why the last attempt was given up, if the server is unfit. */
  refusal: AtlasError | null = null;

  /** A connection to a Redis with a fixed address, or to the Redis that a locator finds. */
  constructor(target: RedisAddress | MasterLocator, options: RedisConnectionOptions) {
    this.#locator = "find" in target ? target : null;
    this.#address = "find" in target ? null : target;
    this.#options = options;
    this.#dial = options.dial ?? defaultDialer();
  }

  get up(): boolean {
    return this.#client !== null;
  }

  /** The reason why it is down, as a message, while it is down. */
  get lastError(): string {
    return this.#unreachable().message;
  }

  /**
   * Connects, trying again until `timeoutMs` have passed.
   *
   * @throws AtlasError `unavailable` if nobody answers, `bad_request` if the Redis refuses these
   * credentials or this database, or isn't what the URL says.
   */
  async open(): Promise<void> {
    const giveUp = performance.now() + this.#options.timeoutMs;
    let before: string | null = null;
    for (;;) {
      const left = giveUp - performance.now();
      try {
        return await this.#connect(Math.max(1, left));
      } catch (error) {
        if (this.#closed || isRefusal(error)) throw error;
        const hadTime = performance.now() < giveUp - 1;
        // The locator has classified its error already.
        const isJudged = isAtlasError(error);
        const why = isJudged ? error.message : await this.#explain(error);
        if (!isJudged && REFUSED.test(why)) {
          throw new AtlasError("bad_request", `${this.#name()} refused: ${why}`, { cause: error });
        }
        const wait = this.#nextBackoff();
        if (performance.now() + wait >= giveUp) {
          // If the last attempt had no time left, the error of the one before is more informative.
          const shown = hadTime ? why : before ?? why;
          throw unavailable(`${this.#name()} can't be reached: ${shown}`, error);
        }
        before = why;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /**
   * Begins to connect, and continues until {@link close}. Resolves when the first attempt
   * succeeded, rejects when it failed.
   */
  begin(): Promise<void> {
    return this.#attempt();
  }

  /** Runs a script. A listing of keys gets cursors that only this run of the server takes. */
  script(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    if (script !== SCAN) return this.run(script, keys, args);
    return scanShards([this.shard(0)], args);
  }

  /** This server as a shard of a listing, serving slots from `slot` on. */
  shard(slot: number): Shard {
    return {
      slot,
      life: this.#run,
      scan: (...args) => this.run(SCAN, [], args),
    };
  }

  /** Runs a script by its digest, or sends it in full if Redis doesn't have it. */
  async run(
    script: string,
    keys: readonly string[],
    args: readonly string[],
    how?: Asking,
  ): Promise<unknown> {
    const sha = this.#shas.get(script);
    const all = [sha ?? script, String(keys.length)].concat(keys, args);
    try {
      if (sha !== undefined) return await this.send("EVALSHA", all, how);
    } catch (error) {
      if (!messageOf(error).includes("NOSCRIPT")) throw error;
    }
    all[0] = script;
    return this.send("EVAL", all, how);
  }

  /** This master's replication id: which copy of the data it is. */
  async replicationId(): Promise<string> {
    const client = this.#client;
    const about = await this.send("INFO", ["replication"]);
    if (client && isReplica(about)) {
      this.#drop(client, replicaOf(about));
      throw this.#unreachable();
    }
    const id = fieldOf(about, "master_replid");
    if (id === "") throw unavailable(`${this.#name()} doesn't tell its replication id`);
    return id;
  }

  /** The connection that ran the last script: this one. */
  runnerOf(): RedisRunner {
    return {
      address: this.#hostPort,
      connection: this,
      send: (command, args) => this.send(command, args),
    };
  }

  /**
   * The server's replicas, as the locator reports them; null if there is no locator, or it knows
   * none.
   */
  replicasOf(_runner: RedisRunner, timeoutMs: number): Promise<ReplicaGroup | null> {
    return this.#locator?.replicas?.(timeoutMs) ?? Promise.resolve(null);
  }

  get #hostPort(): string {
    return this.#address ? `${this.#address.host}:${this.#address.port}` : "";
  }

  /**
   * Sends one command. Rejects with `unavailable` on every failure. If the server refused the
   * command, the cause holds its message.
   */
  send(command: string, args: string[], how?: Asking): Promise<unknown> {
    const client = this.#client;
    if (this.#closed) return Promise.reject(closedError());
    if (!client) return Promise.reject(unsent(this.lastError));
    return new Promise((resolve, reject) => {
      const { timeoutMs } = this.#options;
      const settle = (): void => {
        answered();
        this.#pending.delete(fail);
      };
      const fail = (error: Error): void => {
        settle();
        reject(error);
      };
      const answered = requestTimeout(
        timeoutMs,
        () => this.#drop(client, `no answer within ${timeoutMs} ms`),
      );
      this.#pending.add(fail);
      const refuse = (error: unknown): void => {
        const why = messageOf(error);
        // Rejects this request before all others fail, because it certainly did not run.
        fail(failedStep(why, `${this.#name()}: ${why}`, error));
        if (NOT_SERVING.test(why)) this.#drop(client, why);
      };
      // Both are sent together, so no other command comes between them.
      if (how?.asking) client.send("ASKING", []).catch(() => {});
      client.send(command, args).then((reply) => {
        const why = command.startsWith("EVAL") ? refusalIn(reply) : null;
        if (why !== null) return refuse(new Error(why));
        settle();
        resolve(reply);
      }, refuse);
    });
  }

  /** Values of keys. This server also takes the writes. */
  mget(keys: readonly string[], how?: Asking): Promise<unknown> {
    return this.send("MGET", [...keys], how);
  }

  /** Closes it finally. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#redialTimer);
    clearTimeout(this.#watchTimer);
    clearTimeout(this.#evictionTimer);
    this.#locator?.close();
    const client = this.#client;
    this.#client = null;
    client?.close();
    this.#rejectAll(closedError());
  }

  async #connect(timeoutMs: number): Promise<void> {
    const giveUp = performance.now() + timeoutMs;
    if (this.#locator) this.#address = await this.#locator.find(timeoutMs);
    try {
      await this.#connectTo(
        this.#address as RedisAddress,
        Math.max(1, giveUp - performance.now()),
      );
    } catch (error) {
      this.#locator?.invalidate();
      throw error;
    }
  }

  async #connectTo(address: RedisAddress, timeoutMs: number): Promise<void> {
    let ended: string | null = null;
    let opened: RedisClient | null = null;
    const client = await this.#dial(address, timeoutMs, (why) => {
      ended = why;
      if (opened) this.#drop(opened, why);
    });
    try {
      await withTimeout(timeoutMs, this.#prepare(client, address));
      if (ended !== null) throw new Error(ended);
      if (this.#closed) throw closedError();
    } catch (error) {
      client.close();
      throw error;
    }
    opened = client;
    this.#client = client;
    this.#backoff = FIRST_BACKOFF;
    if (this.#locator) this.#watchLater(client, this.#locator, address);
    this.#checkEvictionLater(client);
  }

  /** Selects the database, reads INFO, and proves that scripts run. */
  async #prepare(client: RedisClient, { database }: RedisAddress): Promise<void> {
    if (database !== 0) await client.send("SELECT", [String(database)]);
    const about = await client.send("INFO", []);
    if (isReplica(about)) throw new Error(replicaOf(about));
    this.#options.eviction?.judge(this.#name(), about);
    const shas = await Promise.all(
      this.#options.scripts.map((script) => client.send("SCRIPT", ["LOAD", script])),
    );
    this.clustered = fieldOf(about, "cluster_enabled") === "1";
    this.#run = fieldOf(about, "run_id").slice(0, 8) || "0";
    this.#options.scripts.forEach((script, i) => this.#shas.set(script, String(shas[i])));
  }

  /** Asks server and locator periodically whether this is still the master. */
  #watchLater(client: RedisClient, locator: MasterLocator, address: RedisAddress): void {
    this.#watchTimer = setTimeout(() => {
      const about = this.send("INFO", ["replication"]).then(
        (reply) => isReplica(reply) ? replicaOf(reply) : null,
        () => null,
      );
      Promise.all([about, locator.elsewhere(address, WATCH_MS)]).then(([demoted, moved]) => {
        if (this.#client !== client) return;
        const why = demoted ?? moved;
        if (why === null) this.#watchLater(client, locator, address);
        else this.#drop(client, why);
      });
    }, WATCH_MS);
  }

  /** Checks periodically whether the server may evict keys by now. */
  #checkEvictionLater(client: RedisClient): void {
    const { eviction } = this.#options;
    if (!eviction) return;
    this.#evictionTimer = setTimeout(() => {
      this.send("INFO", ["memory"]).then((about) => eviction.judge(this.#name(), about))
        .catch(() => {})
        .then(() => this.#client === client && this.#checkEvictionLater(client));
    }, EVICTION_MS);
  }

  #drop(client: RedisClient, why: string): void {
    if (this.#client !== client) return;
    this.#client = null;
    this.#why = why;
    clearTimeout(this.#watchTimer);
    clearTimeout(this.#evictionTimer);
    this.#rejectAll(this.#unreachable());
    client.close();
    this.#redialLater();
    this.#options.ended?.();
  }

  #redialLater(): void {
    if (this.#closed) return;
    this.#redialTimer = setTimeout(() => this.#attempt().catch(() => {}), this.#nextBackoff());
  }

  /** One attempt to connect. If it fails, another one follows. */
  async #attempt(): Promise<void> {
    try {
      await this.#connect(this.#options.timeoutMs);
    } catch (error) {
      this.#why = messageOf(error);
      this.refusal = isRefusal(error) ? error : null;
      this.#redialLater();
      throw error;
    }
  }

  #nextBackoff(): number {
    const wait = this.#backoff * (0.5 + Math.random() / 2);
    this.#backoff = Math.min(LAST_BACKOFF, this.#backoff * 2);
    return wait;
  }

  /** Why a first attempt failed; if the client gives no reason, ioredis tries once. */
  async #explain(error: unknown): Promise<string> {
    const address = this.#address;
    if (this.#dial === dialIoredis || this.#closed || !address) return messageOf(error);
    try {
      (await dialIoredis(address, 1_000, () => {})).close();
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
    if (!this.#locator) return `the Redis at ${this.#hostPort}`;
    return this.#address ? `${this.#locator.name} at ${this.#hostPort}` : this.#locator.name;
  }
}

function isRefusal(error: unknown): error is AtlasError {
  return isAtlasError(error) && error.code === "bad_request";
}

/** Finds a Redis whose address changes. */
export interface MasterLocator {
  /** The name, in messages, of what the locator finds. */
  readonly name: string;
  /**
   * The present address. Rejects if it can't be found, with `bad_request` if it can never be found.
   */
  find(timeoutMs: number): Promise<RedisAddress>;
  /** The address that was found turned out to be wrong. */
  invalidate(): void;
  /** Why a connection to `address` must be given up; null if it may stay. Never rejects. */
  elsewhere(address: RedisAddress, timeoutMs: number): Promise<string | null>;
  /** The replicas of that Redis, as of now. Absent: unknown. */
  replicas?(timeoutMs: number): Promise<ReplicaGroup>;
  close(): void;
}
