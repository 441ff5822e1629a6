/**
 * What callers of resources ask for: the forms of their counter, the same at a node and at a
 * client.
 *
 * Takes options as users give them; gives them back, or an error that names the option, its
 * value and what is allowed.
 */
import type { CallOptions, LookupOptions, PageOptions } from "./node.ts";
import { MAX_PAGE } from "../limits.ts";
import { checkMs, checkOptions, checkWord, type OptionNames, wrong } from "../model/options.ts";

/** Options of what only has a deadline. */
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

/** Names and signal only. @throws AtlasError `bad_request` */
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
  // A page that has no next says null.
  if ((cursor ?? null) === null || typeof cursor === "string") return page;
  throw wrong("cursor", cursor, "the next of the page before");
}

/** @throws AtlasError `bad_request` */
export function checkTimeout(options: TimeoutOptions): TimeoutOptions {
  const { timeoutMs } = checkOptions(options, TIMEOUT);
  if (timeoutMs !== undefined) checkMs("timeoutMs", timeoutMs);
  return options;
}
