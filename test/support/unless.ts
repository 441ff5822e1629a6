/**
 * Skips a test or suite where something is missing, and says what: takes the reason, or null where
 * nothing is missing; gives the options of the test or suite, whose reason the report prints.
 */
import type { TestOptions } from "vitest";

declare module "vitest" {
  interface TaskMeta {
    /** Why it is skipped. */
    reason?: string;
  }
}

export function unless(missing: string | null): TestOptions {
  return missing === null ? {} : { skip: true, meta: { reason: missing } };
}
