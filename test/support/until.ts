/**
 * Waits for a condition by polling. Takes a condition; resolves once it holds, and throws after a
 * time limit, so that a test reports what it waited for before its own timeout.
 */
import type { FakeClock } from "../../testing.ts";

const PATIENCE_MS = 20_000;
const PATIENCE_BY_CLOCK_MS = 60_000;

/** Resolves once `condition` holds, by the real clock. @throws after `ms` */
export async function until(
  condition: () => unknown,
  what: string = String(condition),
  ms: number = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * Advances a clock until `condition` holds; a condition that needs time must advance the clock
 * itself.
 *
 * @throws after a minute on that clock
 */
export async function untilBy(
  clock: FakeClock,
  condition: () => unknown,
  what: string,
): Promise<void> {
  const deadline = clock.now() + PATIENCE_BY_CLOCK_MS;
  while (!(await condition())) {
    if (clock.now() > deadline) throw new Error(`a minute passed in vain until ${what}`);
    await clock.advance(5);
  }
}
