/**
 * Gathers the operations of one tick into batches of bounded count and size, so that they share
 * one round trip, or one transaction. Takes operations one by one, and gives each a promise.
 */

/** An operation, and the promise of its answer. */
export interface Queued<Op> {
  readonly op: Op;
  // deno-lint-ignore no-explicit-any
  readonly resolve: (reply: any) => void;
  readonly reject: (error: Error) => void;
}

export interface BatchOptions<Op> {
  /** The largest number of operations in one batch. */
  maxOps: number;
  /**
   * A batch ends with the operation that brings it to this size, in any unit. An operation that has
   * this size by itself is a batch of its own.
   */
  maxSize: number;
  sizeOf(op: Op): number;
  /** Takes a batch and MUST settle each of its entries; MUST NOT throw. */
  run(batch: Queued<Op>[]): void;
  /** Runs `send` at the tick's end. Default: once microtasks bring no more operations. */
  atTickEnd?(send: () => void): void;
}

/** A tick ends after this many microtask rounds without a new operation. */
const QUIET_ROUNDS = 2;

/**
 * The queue of one tick. By default the tick ends by microtasks, not timers: a single operation is
 * sent within the same turn of the event loop, while operations that follow from one burst of
 * answers, some promise callbacks later, still share a batch.
 */
export class Batcher<Op> {
  readonly #options: BatchOptions<Op>;
  #waiting: Queued<Op>[] = [];
  #size = 0;
  #seen = 0;
  #quiet = 0;

  constructor(options: BatchOptions<Op>) {
    this.#options = options;
  }

  /** Queues `op`; resolves or rejects as `run` settles it. */
  push<Reply>(op: Op): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      const size = this.#options.sizeOf(op);
      if (size >= this.#options.maxSize) this.#send();
      if (this.#waiting.length === 0) {
        this.#seen = this.#quiet = 0;
        if (this.#options.atTickEnd) this.#options.atTickEnd(this.#send);
        else queueMicrotask(this.#tick);
      }
      this.#waiting.push({ op, resolve, reject });
      this.#size += size;
      if (this.#waiting.length >= this.#options.maxOps || this.#size >= this.#options.maxSize) {
        this.#send();
      }
    });
  }

  readonly #tick = (): void => {
    const length = this.#waiting.length;
    if (length === 0) return;
    this.#quiet = length === this.#seen ? this.#quiet + 1 : 0;
    this.#seen = length;
    if (this.#quiet >= QUIET_ROUNDS) this.#send();
    else queueMicrotask(this.#tick);
  };

  readonly #send = (): void => {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    this.#size = 0;
    this.#options.run(batch);
  };
}
