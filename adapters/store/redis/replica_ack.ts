/**
 * Adds `confirm` to a connection: a write counts only once replicas have it.
 *
 * `confirm` sends WAIT in short slices until every replica that may be promoted has the step
 * (`replicas.ts`). At most one WAIT is under way on a connection, since it blocks the commands
 * behind it; steps that come meanwhile share the next one.
 *
 * Source: `docs/design.md`, Store failover; the Redis command WAIT.
 */
import { messageOf } from "../../../src/errors.ts";
import { unavailable } from "../check.ts";
import { isConfirmed, type ReplicaGroup } from "./replicas.ts";
import type { RedisBackend } from "./store.ts";

/** A connection to a server that writes. */
export interface RedisRunner {
  /** The server, as `host:port`. */
  readonly address: string;
  /** The connection: commands with the same one keep their order. */
  readonly connection: object;
  send(command: string, args: string[]): Promise<unknown>;
}

/** What {@link withReplicaAck} needs of a backend. */
export interface RedisCommands extends RedisBackend {
  /**
   * The connection over which the last script on this key's slot was answered; commands
   * sent over it one after the other keep their order.
   */
  runnerOf(key: string): RedisRunner;
  /**
   * The replicas of a runner's server, by those that may promote one. Rejects if these can't tell.
   * Null: nothing promotes replicas automatically.
   */
  replicasOf(runner: RedisRunner, timeoutMs: number): Promise<ReplicaGroup | null>;
}

/** The longest time for which one WAIT blocks a connection, in ms. */
const SLICE_MS = 50;
/** The pause before another WAIT for steps that are not confirmed yet, in ms. */
const PAUSE_MS = 10;
/**
 * The time after which the replicas are asked for again, in ms. An answer older than twice that is
 * not used.
 */
const REFRESH_MS = 1_000;
/** How long asking for the replicas may take, in ms. */
const REFRESH_TIMEOUT_MS = 500;

/** A step that is not yet confirmed. */
interface Waiting {
  readonly key: string;
  readonly runner: RedisRunner;
  readonly doneAt: number;
  readonly giveUp: number;
  resolve(): void;
  reject(error: Error): void;
}

/**
 * Adds `confirm` to a backend.
 *
 * @param least the least number of replicas that must have a step, from 1.
 * @param waitMs how long it waits for replicas, in ms; a whole number from 1.
 */
export function withReplicaAck(
  backend: RedisCommands,
  least: number,
  waitMs: number,
): RedisBackend {
  const queues = new WeakMap<object, AckQueue>();
  return {
    get up() {
      return backend.up;
    },
    get clustered() {
      return backend.clustered;
    },
    script: (script, keys, args, once) => backend.script(script, keys, args, once),
    mget: (keys) => (backend.mget as NonNullable<RedisBackend["mget"]>)(keys),
    lineageIds: backend.lineageIds && (() => (backend.lineageIds as () => Promise<string[]>)()),
    close: () => backend.close(),
    confirm(key) {
      const runner = backend.runnerOf(key);
      let queue = queues.get(runner.connection);
      if (!queue) queues.set(runner.connection, queue = new AckQueue(backend, least, waitMs));
      return queue.confirm(key, runner);
    },
  };
}

/** Steps of one connection that wait for replicas. */
class AckQueue {
  readonly #backend: RedisCommands;
  readonly #least: number;
  readonly #waitMs: number;
  #waiting: Waiting[] = [];
  #isBusy = false;
  /** The replicas, by the last answer. */
  #seen: ReplicaGroup | null = null;
  #refreshing: Promise<ReplicaGroup | null> | null = null;
  /** Why asking for the replicas failed last; empty if it succeeded. */
  #refreshError = "";

  constructor(backend: RedisCommands, least: number, waitMs: number) {
    this.#backend = backend;
    this.#least = least;
    this.#waitMs = waitMs;
  }

  confirm(key: string, runner: RedisRunner): Promise<void> {
    return new Promise((resolve, reject) => {
      const doneAt = performance.now();
      const giveUp = doneAt + this.#waitMs;
      this.#waiting.push({ key, runner, doneAt, giveUp, resolve, reject });
      if (!this.#isBusy) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const left = await this.#round(batch);
        if (left.length === 0) continue;
        this.#waiting = [...left, ...this.#waiting];
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      } catch (error) {
        for (const { reject } of batch) reject(error as Error);
      }
    }
    this.#isBusy = false;
  }

  /**
   * Waits for replicas once. Gives the steps that are still unconfirmed. @throws if the backend is
   * down
   */
  async #round(batch: readonly Waiting[]): Promise<Waiting[]> {
    const [{ key, runner }] = batch as [Waiting];
    const isOld = !this.#seen || performance.now() - this.#seen.askedAt >= REFRESH_MS;
    const refresh = isOld ? this.#refresh(runner) : null;
    if (!this.#seen || performance.now() - this.#seen.askedAt >= 2 * REFRESH_MS) await refresh;
    const wanted = Math.max(this.#least, this.#seen?.present ?? 0);
    const latest = batch.reduce((most, { giveUp }) => Math.max(most, giveUp), 0);
    const ms = Math.ceil(Math.min(SLICE_MS, Math.max(1, latest - performance.now())));
    // WAIT is about this connection's last write: a script that changed nothing has made no write,
    // and what it read may not be copied yet.
    const touched = runner.send("INCR", [touchKey(key)]);
    const waited = runner.send("WAIT", [String(wanted), String(ms)]);
    const [, reply] = await Promise.all([touched, waited]);
    const copied = typeof reply === "number" ? reply : 0;
    const left = this.#settle(batch, copied);
    if (left.length === 0) return left;
    await this.#refresh(runner);
    return this.#settle(left, copied).filter((step) => {
      if (performance.now() < step.giveUp) return true;
      step.reject(this.#tooFew(step, copied));
      return false;
    });
  }

  /** Resolves the confirmed steps; gives the others. */
  #settle(steps: readonly Waiting[], copied: number): Waiting[] {
    const group = this.#seen;
    return steps.filter(({ runner: { address }, doneAt, resolve }) => {
      const step = { primary: address, doneAt, copied };
      if (!group || !isConfirmed(step, this.#least, group)) return true;
      resolve();
      return false;
    });
  }

  /**
   * Asks which replicas may be promoted; the question is sent no earlier than now. Never rejects.
   */
  async #refresh(runner: RedisRunner): Promise<void> {
    await this.#refreshing?.catch(() => null);
    const askedAt = performance.now();
    // If nothing promotes replicas automatically, the configured number counts.
    const known = { primary: runner.address, present: this.#least, hasAbsent: false, askedAt };
    try {
      this.#refreshing = this.#backend.replicasOf(runner, REFRESH_TIMEOUT_MS);
      this.#seen = await this.#refreshing ?? known;
      this.#refreshError = "";
    } catch (error) {
      this.#refreshError = messageOf(error);
    } finally {
      this.#refreshing = null;
    }
  }

  #tooFew({ runner }: Waiting, copied: number): Error {
    const { primary, present = 0 } = this.#seen ?? {};
    const wanted = Math.max(this.#least, present);
    const why = this.#refreshError !== ""
      ? `; the replicas can't be determined: ${this.#refreshError}`
      : primary !== undefined && primary !== runner.address
      ? `; ${primary} is the primary now`
      : present < this.#least
      ? `; ${present} are up`
      : "";
    return unavailable(
      `${copied} of ${wanted} replicas had the step within ${this.#waitMs} ms: it may be done${why}`,
    );
  }
}

/** A key of the same slot that is not read. */
function touchKey(key: string): string {
  return `${key.slice(0, key.indexOf("}") + 1)}:touch`;
}
