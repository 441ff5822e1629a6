/** Ends what a test has opened, whether or not the test passes. */
import { afterEach } from "vitest";

/** A list of cleanups; those that a test adds run after it, last first. */
export function cleanupsAfterEach(): (() => unknown)[] {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return cleanups;
}
