/**
 * Options and results of calls, lookups, listings and drains, the same at a node and at a client.
 *
 * Checks options as users give them: an error names the option, its value and what is allowed.
 */

import { MAX_PAGE } from "../limits.ts";
import { checkMs, checkOptions, checkWord, type OptionNames, wrong } from "../model/options.ts";
import type { DegradedVerdict, Ownership } from "../model/ownership.ts";

/** Options of operations that have a deadline only. */
export type TimeoutOptions = Pick<CallOptions, "timeoutMs">;

const CALL: OptionNames<CallOptions> = {
  timeoutMs: true,
  idempotencyKey: true,
  signal: true,
  traceparent: true,
  callerRegion: true,
};
const LOOKUP: OptionNames<LookupOptions> = { require: true, timeoutMs: true };
const PAGE: OptionNames<PageOptions> = { cursor: true, limit: true };
const TIMEOUT: OptionNames<TimeoutOptions> = { timeoutMs: true };

/** Checks the names and the signal only. @throws AtlasError `bad_request` */
export function checkCall(options: CallOptions): CallOptions {
  return checkOptions(options, CALL);
}

/** @throws AtlasError `bad_request` */
export function checkLookup(options: LookupOptions): LookupOptions {
  const { require, timeoutMs } = checkOptions(options, LOOKUP);
  if (require !== undefined) checkWord("require", require, ["confirmed"]);
  if (timeoutMs !== undefined) checkMs("timeoutMs", timeoutMs);
  return options;
}

/** @throws AtlasError `bad_request` */
export function checkPage(page: PageOptions): PageOptions {
  const { cursor, limit = 1 } = checkOptions(page, PAGE);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) {
    throw wrong("limit", limit, `1 to ${MAX_PAGE}`);
  }
  // The last page's `next` is null.
  if ((cursor ?? null) === null || typeof cursor === "string") return page;
  throw wrong("cursor", cursor, "the `next` of the previous page");
}

/** @throws AtlasError `bad_request` */
export function checkTimeout(options: TimeoutOptions): TimeoutOptions {
  const { timeoutMs } = checkOptions(options, TIMEOUT);
  if (timeoutMs !== undefined) checkMs("timeoutMs", timeoutMs);
  return options;
}

/** How one call is made. */
export interface CallOptions {
  /** Deadline, in ms from now; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /**
   * Repeats of a call with the same key get the first one's answer, for at least 10 minutes. 1 to
   * 256 bytes. Calls with a key are retried if the outcome of an attempt is unknown. A key used
   * again with another method, or with arguments that are not equal by value, gives `bad_request`.
   */
  idempotencyKey?: string;
  /** Cancels the call: it never starts, or its turn sees `this.signal` aborted. */
  signal?: AbortSignal;
  /**
   * The caller's W3C `traceparent`. The trace continues to the owner; each link on the way is a
   * span, reported as a log event, as failures are. Default: that of the call whose turn makes
   * this one.
   */
  traceparent?: string;
  /** The region of the client that the call is made for, if it isn't this node's. */
  callerRegion?: string;
}

/** The options of a call that gives none. */
export const NO_OPTIONS: CallOptions = Object.freeze({});

/** A call's result and who gave it. */
export interface CallResult {
  readonly result: unknown;
  /** The resource's location when it answered. */
  readonly rrp: string;
  /** The fencing token of the ownership that answered. */
  readonly epoch: number;
  /**
   * The nodes that the call went through, the first one first and the owner's last:
   * `<region>/<node>`.
   */
  readonly path: readonly string[];
  /**
   * Present if the resource answered while its node couldn't reach the store, which only types with
   * `partition: "available"` do: its writes are not durable yet, and another owner may have taken
   * over. `contested`: another owner is known to have taken over.
   */
  readonly verdict?: DegradedVerdict;
}

export interface LookupOptions {
  /** Reads through the store, and rejects with `unavailable` if that can't be done. */
  require?: "confirmed";
  /** Deadline, in ms. Default 10,000. */
  timeoutMs?: number;
}

/** Which of its resources a node releases. */
export interface DrainOptions {
  /** Resources whose RRP starts with it; a prefix that matches none of this node's does nothing. */
  prefix: string;
  /** For how long this node claims none of them again, in ms; 1 to 86,400,000. Default 60,000. */
  forMs?: number;
}

export interface PageOptions {
  /** The `next` of the previous page. */
  cursor?: string;
  /** 1 to 1,000; a page may hold fewer. Default 100. */
  limit?: number;
}

export interface ResourcePage {
  readonly resources: readonly Pick<Ownership, "rrp" | "epoch">[];
  readonly next: string | null;
}
