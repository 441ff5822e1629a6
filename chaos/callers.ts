/**
 * Callers, which call journals over HTTP through any process, also frozen and replaced ones, with
 * idempotency keys or without, and record the answers in the simulator's format. Each caller waits
 * for its answer before the next call, because requests over HTTP keep no order.
 */
import type { CallOptions } from "../src/api/calls.ts";
import { isAtlasError } from "../src/errors.ts";
import { parseKey } from "../src/model/rrp.ts";
import { type CallRecord, openRecord } from "../sim/engine/history.ts";
import { SeededRandom } from "../sim/engine/random.ts";
import type { NodeRun } from "./managed_node.ts";
import type { HistoryRecorder } from "./history_recorder.ts";

/** A call to make. */
export interface ChaosCall {
  readonly what: CallRecord["what"];
  readonly key: string;
  readonly value: string;
  readonly idempotencyKey: string | null;
  readonly caller: string;
  readonly timeoutMs: number;
  /** For a lookup: requires a confirmed answer. */
  readonly isConfirmed?: boolean;
}

/** How often a keyed call is repeated until it is answered, through another process each time. */
const MAX_REPEATS = 3;
/** The longest pause of a caller between two calls, in ms. */
const LONGEST_PAUSE_MS = 100;
const TIMEOUTS_MS = [300, 1_000, 3_000];
/** The most calls of a burst. */
const BURST = 6;

/** Makes calls and keeps their records. */
export class Recorder {
  /** The calls of this round. */
  readonly calls: CallRecord[] = [];
  readonly #history: HistoryRecorder;
  readonly #ids: { next: number };

  /** @param ids shared by all rounds: ids and values are used once. */
  constructor(history: HistoryRecorder, ids: { next: number }) {
    this.#history = history;
    this.#ids = ids;
  }

  /** A value that was never appended before. */
  value(): string {
    return `v${this.#ids.next++}`;
  }

  /** Makes one call through a process. Never rejects: the record has the outcome. */
  async call(run: NodeRun, call: ChaosCall): Promise<CallRecord> {
    const { what, key, value, idempotencyKey, caller, timeoutMs } = call;
    const record = openRecord({
      id: this.#ids.next++,
      what,
      key,
      process: run.id,
      caller,
      idempotencyKey,
      value,
      timeoutMs,
      invokedAt: performance.now(),
    });
    this.calls.push(record);
    this.#history.called(record);
    try {
      Object.assign(record, { outcome: "ok", ...await ask(run, call) });
    } catch (error) {
      record.outcome = isAtlasError(error) && !error.maybeExecuted ? "fail" : "info";
      record.code = isAtlasError(error) ? error.code : String(error);
    }
    record.returnedAt = performance.now();
    this.#history.returned(record);
    return record;
  }
}

async function ask({ atlas }: NodeRun, call: ChaosCall): Promise<Partial<CallRecord>> {
  const { what, value, idempotencyKey, timeoutMs } = call;
  const { type, id } = parseKey(call.key);
  if (what === "lookup") {
    const require = call.isConfirmed ? { require: "confirmed" } as const : {};
    const { rrp, epoch, verdict } = await atlas.lookup(type, id, { ...require, timeoutMs });
    return { rrp, epoch, verdict };
  }
  const options: CallOptions = idempotencyKey === null
    ? { timeoutMs }
    : { timeoutMs, idempotencyKey };
  if (what === "read") {
    const { result, rrp, epoch } = await atlas.call(type, id, "count", [], options);
    return { seq: result as number, rrp, epoch };
  }
  const { result, rrp, epoch } = await atlas.call(type, id, "append", [value], options);
  return { seq: (result as number[])[0] as number, rrp, epoch };
}

/** Concurrent callers that call until they are stopped. */
export class Callers {
  readonly #recorder: Recorder;
  readonly #keys: readonly string[];
  readonly #runs: () => readonly NodeRun[];
  readonly #working: Promise<void>[];
  #isOver = false;

  constructor(
    recorder: Recorder,
    keys: readonly string[],
    runs: () => readonly NodeRun[],
    seed: number,
    count: number,
  ) {
    this.#recorder = recorder;
    this.#keys = keys;
    this.#runs = runs;
    this.#working = Array.from(
      { length: count },
      (_, i) => this.#work(`c${i}`, new SeededRandom(seed, `caller ${i}`)),
    );
  }

  /** Stops all callers; resolves when each has its last answer. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#working);
  }

  async #work(caller: string, random: SeededRandom): Promise<void> {
    for (let n = 0; !this.#isOver; n++) {
      const call = this.#draw(caller, random);
      const count = random.chance(0.03) ? 2 + random.below(BURST - 1) : 1;
      if (count === 1) await this.#run(call, random);
      else await this.#burst(call, count, random);
      await new Promise((resolve) => setTimeout(resolve, random.next() * LONGEST_PAUSE_MS));
    }
  }

  #draw(caller: string, random: SeededRandom): ChaosCall {
    const what = random.pick(["append", "append", "append", "read", "read", "lookup"] as const);
    const value = this.#recorder.value();
    // The first keys are called most often: some are always busy, others mostly idle.
    const key = this.#keys[Math.floor(random.next() ** 2 * this.#keys.length)] as string;
    const isKeyed = what === "append" && random.chance(0.5);
    return {
      what,
      key,
      value,
      idempotencyKey: isKeyed ? `i-${value}` : null,
      caller,
      timeoutMs: random.pick(TIMEOUTS_MS),
      isConfirmed: random.chance(0.6),
    };
  }

  /**
   * Makes one call; with an idempotency key it is repeated until it is answered or its repeats are
   * used up.
   */
  async #run(call: ChaosCall, random: SeededRandom): Promise<void> {
    // A call without repeats shows whether "not executed" was correct for the first attempt.
    const repeats = random.below(MAX_REPEATS + 1);
    for (let repeat = 0; repeat <= repeats; repeat++) {
      const runs = this.#runs();
      if (runs.length === 0) return;
      const caller = repeat === 0 ? call.caller : `again ${call.value} ${repeat}`;
      const record = await this.#recorder.call(random.pick(runs), { ...call, caller });
      if (record.outcome === "ok" || call.idempotencyKey === null) return;
    }
  }

  /**
   * Makes several calls at once, each by its own caller; sometimes all with one idempotency key.
   */
  async #burst(call: ChaosCall, count: number, random: SeededRandom): Promise<void> {
    const isTwin = call.idempotencyKey !== null && random.chance(0.5);
    const calls = Array.from({ length: count }, (_, i) => {
      const value = isTwin ? call.value : this.#recorder.value();
      const idempotencyKey = call.idempotencyKey && `i-${value}`;
      return { ...call, value, idempotencyKey, caller: `burst ${value} ${i}` };
    });
    await Promise.all(calls.map((it) => this.#run(it, random)));
  }
}
