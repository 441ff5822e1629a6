/**
 * The clocks of a simulated machine. Implements the port `Clock` on the scheduler's true time: a
 * monotonic clock with its own rate that stands still while the machine is suspended, and a wall
 * clock that goes on and may be set forward or back.
 */
import type { Clock, Timer } from "../../src/ports/clock.ts";
import type { SimProcess } from "./process.ts";
import type { Scheduled, Scheduler } from "./scheduler.ts";

/** Added to each timer's true time, so that rounding never lets one fire early. In ms. */
const ROUNDING_MS = 1e-6;
/** Wall time at true time 0: 2026-01-01, ms since the Unix epoch. */
const WALL_START = 1_767_225_600_000;

class SimTimer implements Timer {
  /** The local monotonic time at which it fires. */
  readonly due: number;
  scheduled: Scheduled | null = null;
  run: (() => void) | null;
  readonly #clock: SimClock;

  constructor(clock: SimClock, due: number, run: () => void) {
    this.#clock = clock;
    this.due = due;
    this.run = run;
  }

  cancel(): void {
    this.run = null;
    this.#clock.forget(this);
  }
}

export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #process: SimProcess;
  readonly #timers = new Set<SimTimer>();
  #rate: number;
  /** Local time `#local` was reached at true time `#since`. */
  #local: number;
  #since: number;
  #wallOffset = 0;
  readonly #suspensions = new Set<object>();

  /** @param rate local ms in one true ms, such as 1.0005. @param start its first reading. */
  constructor(scheduler: Scheduler, process: SimProcess, rate: number, start: number) {
    this.#scheduler = scheduler;
    this.#process = process;
    this.#rate = rate;
    this.#local = start;
    this.#since = scheduler.now;
    process.onEnd(() => {
      for (const timer of [...this.#timers]) timer.cancel();
    });
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    if (this.#suspensions.size > 0) return this.#local;
    return this.#local + (this.#scheduler.now - this.#since) * this.#rate;
  }

  /** Whole milliseconds, as on real machines. */
  wall(): number {
    return Math.floor(WALL_START + this.#scheduler.now + this.#wallOffset);
  }

  after(ms: number, run: () => void): Timer {
    const timer = new SimTimer(this, this.now() + (ms > 0 ? ms : 0), run);
    if (!this.#process.isAlive) return timer;
    this.#timers.add(timer);
    this.#schedule(timer);
    return timer;
  }

  /** Sets the wall clock forward or back, in ms. */
  jump(ms: number): void {
    this.#wallOffset += ms;
  }

  /** Changes the rate from now on. */
  setRate(rate: number): void {
    this.#settle();
    this.#rate = rate;
    this.#reschedule();
  }

  /** The machine sleeps: the monotonic clock stands still. The process must be paused with it. */
  suspend(token: object): void {
    this.#settle();
    this.#suspensions.add(token);
    this.#reschedule();
  }

  /** The machine wakes. */
  wake(token: object): void {
    this.#settle();
    this.#suspensions.delete(token);
    this.#reschedule();
  }

  /** Ends every suspension. */
  wakeAll(): void {
    for (const token of [...this.#suspensions]) this.wake(token);
  }

  /** A timer was cancelled. */
  forget(timer: SimTimer): void {
    this.#timers.delete(timer);
    if (timer.scheduled) this.#scheduler.cancel(timer.scheduled);
    timer.scheduled = null;
  }

  #settle(): void {
    this.#local = this.now();
    this.#since = this.#scheduler.now;
  }

  #reschedule(): void {
    for (const timer of this.#timers) {
      if (timer.scheduled) this.#scheduler.cancel(timer.scheduled);
      timer.scheduled = null;
      this.#schedule(timer);
    }
  }

  #schedule(timer: SimTimer): void {
    if (this.#suspensions.size > 0) return;
    const at = this.#since + (timer.due - this.#local) / this.#rate + ROUNDING_MS;
    timer.scheduled = this.#scheduler.at(at, () => {
      this.#timers.delete(timer);
      timer.scheduled = null;
      // It may be cancelled while the process is paused.
      this.#process.enter(() => timer.run?.(), true);
    });
  }
}
