/**
 * The scheduler of a simulation: a heap of events ordered by (time, sequence). True time jumps from
 * each event to the next; the promises of an event settle before the next begins.
 *
 * Each event is a `setImmediate` callback of its own, and Node, Bun and Deno all empty the
 * microtask queue between two such callbacks (the core awaits nothing but promises). Counting
 * `await`s instead would require knowing the longest chain in the core. Callbacks are queued some
 * dozens ahead, which lowers the cost of an event to about 0.2 µs.
 */
import type { Trace } from "./trace.ts";

const nextTurn: (run: () => void) => void = globalThis.setImmediate;
/** The number of turns of the runtime's event loop that are queued at once. */
const AHEAD = 64;

/** A scheduled event. `run` is null once it was cancelled. */
export interface Scheduled {
  readonly at: number;
  readonly sequence: number;
  run: (() => void) | null;
}

export class Scheduler {
  /** True time, ms. */
  now = 0;
  /** Events run so far. */
  events = 0;
  readonly #trace: Trace;
  readonly #heap: Scheduled[] = [];
  #sequence = 0;

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  /** Schedules `run` at true time `at`, or now if that has passed; never before this returns. */
  at(at: number, run: () => void): Scheduled {
    const event: Scheduled = { at: Math.max(at, this.now), sequence: this.#sequence++, run };
    this.#push(event);
    return event;
  }

  /** Schedules `run` in `ms`, in true time. */
  after(ms: number, run: () => void): Scheduled {
    return this.at(this.now + ms, run);
  }

  /** Cancels an event. */
  cancel(event: Scheduled): void {
    event.run = null;
  }

  /**
   * Runs all events until true time `until`, or until `isOver` returns true.
   *
   * @param afterEach runs after each event, once its promises have settled.
   */
  run(until: number, afterEach: () => void, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let asked = 0;
      let over = false;
      let ran = false;
      const turn = (): void => {
        asked--;
        if (over) return;
        try {
          if (ran) afterEach();
          ran = false;
          const event = isOver() ? undefined : this.#next(until);
          if (!event) {
            over = true;
            return resolve();
          }
          ran = true;
          this.now = event.at;
          this.events++;
          this.#trace.event(event.at, event.sequence);
          event.run?.();
        } catch (error) {
          over = true;
          return reject(error);
        }
        if (asked === 0) ask();
      };
      const ask = (): void => {
        for (; asked < AHEAD; asked++) nextTurn(turn);
      };
      ask();
    });
  }

  #next(until: number): Scheduled | undefined {
    for (let event = this.#heap[0]; event && event.at <= until; event = this.#heap[0]) {
      this.#pop();
      if (event.run) return event;
    }
    return undefined;
  }

  #push(event: Scheduled): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Scheduled;
      if (isBefore(above, event)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Scheduled;
    if (heap.length === 0) return;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      const right = heap[child + 1];
      if (right && isBefore(right, heap[child] as Scheduled)) child++;
      const below = heap[child] as Scheduled;
      if (isBefore(last, below)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}
