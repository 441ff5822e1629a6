/**
 * A clock for tests that stands still until it is advanced. Timers fire in order; all effects of
 * one are finished before the next fires.
 */
import { AtlasError } from "../../src/errors.ts";
import type { Clock, Timer } from "../../src/ports/clock.ts";

/** Saved before a test can replace it. */
const nextTurn: (run: () => void) => void = globalThis.setImmediate;
/** Turns of the event loop between two timers: a call over in-process links takes a few. */
const TURNS = 8;
/** The initial wall time: 2026-01-01, in ms since the Unix epoch. */
const WALL_START = 1_767_225_600_000;
const DEFAULT_LIMIT_MS = 600_000;

/** A {@link Clock} that a test moves. */
export interface FakeClock extends Clock {
  /** Timers that have not fired. */
  readonly pending: number;
  /**
   * Advances both the monotonic and the wall clock by `ms` milliseconds: fires the timers that are
   * due, in order, each at its time. @throws AtlasError `bad_request` if `ms` is less than 0
   */
  advance(ms: number): Promise<void>;
  /**
   * Advances from timer to timer until `work` is settled, and returns its result.
   *
   * @param limitMs the most ms to advance. Default 600,000.
   * @throws the error with which `work` was rejected; AtlasError `timeout` if the limit was
   * reached, or if `work` waits but not for this clock.
   */
  run<T>(work: Promise<T>, limitMs?: number): Promise<T>;
  /** Sets only the wall clock forward or back, like an operator, or like a machine that slept. */
  jump(ms: number): void;
}

interface FakeTimer {
  readonly due: number;
  readonly run: () => void;
}

/** A clock at 0 ms. */
export function fakeClock(): FakeClock {
  return new StoppedClock();
}

class StoppedClock implements FakeClock {
  #now = 0;
  #wallOffset = 0;
  /** In the order in which they were made. */
  readonly #timers = new Set<FakeTimer>();
  /** Resolves when no advance is running. */
  #moving: Promise<void> = Promise.resolve();

  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  wall(): number {
    return WALL_START + this.#now + this.#wallOffset;
  }

  after(ms: number, run: () => void): Timer {
    const timer: FakeTimer = { due: this.#now + (ms > 0 ? ms : 0), run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  jump(ms: number): void {
    this.#wallOffset += ms;
  }

  async advance(ms: number): Promise<void> {
    if (!(ms >= 0 && ms < Infinity)) {
      throw new AtlasError("bad_request", `ms is ${ms}, it must be a number from 0`);
    }
    await this.#alone(async () => {
      const until = this.#now + ms;
      await quiet();
      for (let next = this.#next(); next && next.due <= until; next = this.#next()) {
        await this.#fire(next);
      }
      this.#now = until;
    });
  }

  async run<T>(work: Promise<T>, limitMs: number = DEFAULT_LIMIT_MS): Promise<T> {
    let isSettled = false;
    const settled = (): void => void (isSettled = true);
    work.then(settled, settled);
    await this.#alone(async () => {
      const until = this.#now + limitMs;
      await quiet();
      while (!isSettled) {
        const next = this.#next();
        if (!next || next.due > until) {
          throw new AtlasError(
            "timeout",
            next
              ? `it was not done within ${limitMs} ms of the fake clock`
              : "it waits for something that is not of the fake clock",
          );
        }
        await this.#fire(next);
      }
    });
    return await work;
  }

  /** Moves the clock once no other advance is running. */
  #alone(move: () => Promise<void>): Promise<void> {
    const moved = this.#moving.then(move);
    this.#moving = moved.catch(() => {});
    return moved;
  }

  #next(): FakeTimer | undefined {
    let first: FakeTimer | undefined;
    for (const timer of this.#timers) if (!first || timer.due < first.due) first = timer;
    return first;
  }

  async #fire(timer: FakeTimer): Promise<void> {
    this.#timers.delete(timer);
    this.#now = Math.max(this.#now, timer.due);
    timer.run();
    await quiet();
  }
}

/** Resolves when all effects that need no further timer are finished. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise<void>((done) => nextTurn(done));
}
