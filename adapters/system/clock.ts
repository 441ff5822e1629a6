/**
 * The system's clock and randomness: the ports `Clock` and `Random` outside of tests. Uses
 * web-standard globals only, so it is the same on every runtime.
 */
import type { Clock, Timer } from "../../src/ports/clock.ts";
import type { Random } from "../../src/ports/random.ts";

/** The longest delay that `setTimeout` takes; a longer one would run at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** Time of this machine. `after` takes any delay; NaN and less than 0 count as 0. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms: number, run: () => void): Timer {
    const due = performance.now() + (ms > 0 ? ms : 0);
    let handle = setTimeout(fire, delayUntil(due));
    function fire(): void {
      // Timers round to whole milliseconds and may come a fraction early.
      const left = delayUntil(due);
      if (left > 0) handle = setTimeout(fire, left);
      else run();
    }
    return { cancel: () => clearTimeout(handle) };
  },
};

function delayUntil(due: number): number {
  return Math.min(Math.max(0, Math.ceil(due - performance.now())), MAX_TIMEOUT_MS);
}

/** Randomness of this machine, fit for jitter; `uuid` comes from the system's secure source. */
export const systemRandom: Random = {
  next: () => Math.random(),
  uuid: () => crypto.randomUUID(),
};
