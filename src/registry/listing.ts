/**
 * Lists and counts the resources under a prefix. Takes the store and a prefix; gives a page, or
 * a number.
 *
 * A count reads every page: what is added or removed meanwhile may be counted or not, and on
 * some stores twice.
 */
import type { PageOptions, ResourcePage } from "../api/calls.ts";
import { AtlasError } from "../errors.ts";
import { MAX_PAGE } from "../limits.ts";
import { checkPrefix } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";

const DEFAULT_PAGE = 100;

/** A page; options are checked. @throws AtlasError `invalid_rrp` where the prefix isn't allowed. */
export async function listOwned(
  store: Store,
  prefix: string,
  { cursor, limit = DEFAULT_PAGE }: PageOptions,
): Promise<ResourcePage> {
  checkPrefix(prefix);
  const { entries, next } = await store.list(prefix, cursor ?? null, limit);
  return { resources: entries.map(({ rrp, epoch }) => ({ rrp, epoch })), next };
}

/** @throws AtlasError `timeout` where the pages don't end within `timeoutMs`. */
export async function countOwned(
  store: Store,
  clock: Clock,
  prefix: string,
  timeoutMs: number,
): Promise<number> {
  checkPrefix(prefix);
  const deadline = clock.now() + timeoutMs;
  let count = 0;
  for (let cursor: string | null = null;;) {
    const { entries, next } = await store.list(prefix, cursor, MAX_PAGE);
    count += entries.length;
    if (next === null) return count;
    cursor = next;
    if (clock.now() < deadline) continue;
    throw new AtlasError("timeout", `counting ${prefix} took too long: ${count} so far`);
  }
}
