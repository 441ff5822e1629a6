/**
 * Skips a test or suite if something that it needs is missing. Takes the reason, or null if nothing
 * is missing; gives the options of the test or suite, so that the report prints the reason.
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
