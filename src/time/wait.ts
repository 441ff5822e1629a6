/** Waits on the injected clock. */
import { AtlasError } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";

/** Resolves after `ms` milliseconds. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}

/** Resolves as `work`, or rejects with `timeout` after `ms`; the work is not stopped. */
export function within<T>(clock: Clock, ms: number, work: Promise<T>, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => {
      reject(new AtlasError("timeout", `${what} took longer than ${Math.round(ms)} ms`));
    });
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

/**
 * The pause before retry number `attempt` (from 0), in ms: exponential from `base` up
 * to `most`, with full jitter over its upper half so that callers spread out.
 */
export function backoffMs(random: Random, attempt: number, base: number, most: number): number {
  const full = Math.min(most, base * 2 ** Math.min(attempt, 20));
  return full / 2 + random.next() * full / 2;
}

export class Signal {
  #wake: (() => void) | null = null;

  /** Resolves at the next {@link notify}. */
  wait(): Promise<void> {
    const others = this.#wake;
    return new Promise((resolve) => (this.#wake = () => (others?.(), resolve())));
  }

  notify(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}
