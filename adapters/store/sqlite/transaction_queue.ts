/**
 * A queue to a SQLite file whose steps of one tick share a transaction.
 *
 * Takes steps as functions over the database; each gets its answer once the transaction is
 * committed. Waiting for another process's transaction is by timer, never by blocking.
 */
import { setImmediate } from "node:timers";
import { isAtlasError, messageOf } from "../../../src/errors.ts";
import { fileRefused } from "../../../src/model/refusal.ts";
import { Batcher, type Queued } from "../batch.ts";
import { closedError, unavailable, unsent } from "../check.ts";
import { type Database, isBusy, type Statement } from "./schema.ts";

export interface TransactionQueueOptions {
  /** The file, for messages. */
  name: string;
  /** `BEGIN IMMEDIATE` takes the write lock; `BEGIN` is for steps that only read. */
  begin: "BEGIN" | "BEGIN IMMEDIATE";
  /** Whether the open file is still the one at its path. */
  isPresent: () => boolean;
  /** Runs before each COMMIT, and after each ROLLBACK. */
  finish?: () => void;
  rollback?: () => void;
  /** How long a step waits for the lock before it is `unavailable`, in ms. */
  timeoutMs: number;
}

interface Step {
  readonly run: () => unknown;
  /** The time at which it fails, on the monotonic clock; Infinity until its tick has ended. */
  giveUp: number;
}

/**
 * The largest number of steps in one transaction, which then blocks the process for a few
 * milliseconds.
 */
const MAX_STEPS = 512;
/**
 * Backoff of a busy file, from the first to the longest, doubling, with a random half to whole of
 * it; in ms.
 */
const FIRST_BACKOFF = 2;
const LAST_BACKOFF = 50;

const GONE = "deleted or replaced while it was open: what it held is not what is there now";

export class TransactionQueue {
  readonly #options: TransactionQueueOptions;
  readonly #batcher: Batcher<Step>;
  readonly #begin: Statement;
  readonly #commit: Statement;
  readonly #rollback: Statement;
  #waiting: Queued<Step>[] = [];
  #backoff = FIRST_BACKOFF;
  /** Whether a further attempt is scheduled. */
  #coming = false;
  #closed = false;
  #up = true;

  constructor(database: Database, options: TransactionQueueOptions) {
    this.#options = options;
    this.#begin = database.prepare(options.begin);
    this.#commit = database.prepare("COMMIT");
    this.#rollback = database.prepare("ROLLBACK");
    this.#batcher = new Batcher<Step>({
      maxOps: Infinity,
      maxSize: Infinity,
      sizeOf: () => 0,
      // A file answers within the same turn of the event loop. A caller that asks again after each
      // answer would starve every timer, including the heartbeats.
      atTickEnd: (send) => void setImmediate(send),
      run: (batch) => this.#take(batch),
    });
  }

  /** Whether the last transaction succeeded. */
  get up(): boolean {
    return this.#up && !this.#closed;
  }

  /**
   * Runs `run` in this tick's transaction. If it throws, it is rolled back, and may run again in a
   * transaction of its own.
   */
  do<Reply>(run: () => Reply): Promise<Reply> {
    if (this.#closed) return Promise.reject(closedError());
    return this.#batcher.push({ run, giveUp: Infinity });
  }

  /** Rejects all waiting steps. Returns whether the queue was open. */
  close(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    for (const entry of this.#waiting.splice(0)) entry.reject(this.#closedError());
    return true;
  }

  #closedError(): Error {
    return this.#options.isPresent() ? closedError() : this.#goneError();
  }

  #goneError(): Error {
    return unavailable(`the SQLite file ${JSON.stringify(this.#options.name)} was ${GONE}`);
  }

  #take(batch: Queued<Step>[]): void {
    if (this.#closed) {
      for (const entry of batch) entry.reject(this.#closedError());
      return;
    }
    const giveUp = performance.now() + this.#options.timeoutMs;
    for (const entry of batch) {
      entry.op.giveUp = giveUp;
      this.#waiting.push(entry);
    }
    if (!this.#coming) this.#pump();
  }

  readonly #pump = (): void => {
    this.#coming = false;
    if (this.#waiting.length === 0) return;
    const batch = this.#waiting.slice(0, MAX_STEPS);
    const settled = this.#transact(batch);
    this.#waiting = this.#waiting.slice(settled);
    if (settled === batch.length) {
      this.#backoff = FIRST_BACKOFF;
      this.#coming = this.#waiting.length > 0;
      if (this.#coming) setImmediate(this.#pump);
    } else {
      // Checked only after an attempt: this process may have been suspended while the file was
      // free.
      this.#dropOverdue();
      this.#coming = this.#waiting.length > 0;
      if (!this.#coming) return;
      setTimeout(this.#pump, this.#backoff * (0.5 + Math.random() / 2));
      this.#backoff = Math.min(LAST_BACKOFF, this.#backoff * 2);
    }
  };

  #dropOverdue(): void {
    const now = performance.now();
    if (this.#waiting.every((entry) => now < entry.op.giveUp)) return;
    const overdue = this.#waiting.filter((entry) => now >= entry.op.giveUp);
    this.#waiting = this.#waiting.filter((entry) => now < entry.op.giveUp);
    this.#up = false;
    const { name, timeoutMs } = this.#options;
    const error = unsent(
      `the SQLite file ${JSON.stringify(name)} was locked for ${timeoutMs} ms`,
    );
    for (const entry of overdue) entry.reject(error);
  }

  /**
   * Runs a batch and returns how many of its first entries are settled: fewer than all if another
   * process holds the file. If one step fails, each step gets a transaction of its own, so that the
   * failure affects no other step.
   */
  #transact(batch: Queued<Step>[]): number {
    let replies: unknown[];
    if (!this.#options.isPresent()) {
      this.#up = false;
      for (const entry of batch) entry.reject(this.#goneError());
      return batch.length;
    }
    try {
      this.#begin.run();
      replies = batch.map((entry) => entry.op.run());
      this.#options.finish?.();
      this.#commit.run();
    } catch (error) {
      this.#undo();
      if (isBusy(error)) return 0;
      if (batch.length > 1) {
        const stuck = batch.findIndex((entry) => this.#transact([entry]) === 0);
        return stuck < 0 ? batch.length : stuck;
      }
      this.#fail(batch[0] as Queued<Step>, error);
      return 1;
    }
    this.#up = true;
    batch.forEach((entry, i) => entry.resolve(replies[i]));
    return batch.length;
  }

  #undo(): void {
    this.#options.rollback?.();
    try {
      this.#rollback.run();
    } catch {
      // No transaction is open: it never began, or SQLite rolled it back.
    }
  }

  #fail(entry: Queued<Step>, error: unknown): void {
    if (isAtlasError(error)) return entry.reject(error);
    this.#up = false;
    const name = JSON.stringify(this.#options.name);
    const why = `the SQLite file ${name} failed: ${messageOf(error)}`;
    entry.reject(fileRefused(error, why) ?? unavailable(why, error));
  }
}
