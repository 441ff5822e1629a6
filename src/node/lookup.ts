/**
 * Answers questions about ownerships: looks one up, lists and counts those under a prefix. A
 * lookup combines the directory's answer with what this node alone knows of resources that
 * operate without the store.
 *
 * Source: `docs/design.md`, Lookups and verdicts; Continuing without the store.
 */
import type { PageOptions, ResourcePage } from "../api/calls.ts";
import { AtlasError } from "../errors.ts";
import { MAX_PAGE } from "../limits.ts";
import type { Lookup } from "../model/ownership.ts";
import { checkPrefix } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { type Directory, suspected } from "../registry/directory.ts";
import type { Host } from "../resource/host.ts";

/**
 * The directory's answer; `suspect` while the resource operates here without the store, and
 * `contested` for a while after it was lost to another owner.
 *
 * @throws AtlasError `unavailable` or `contested` only if `confirmed` is required.
 */
export async function lookupFrom(
  host: Host,
  directory: Directory,
  key: string,
  confirmed: boolean,
): Promise<Lookup> {
  const here = host.find(key);
  if (here?.offline) {
    if (confirmed) throw suspected(key);
    const ageMs = Math.max(0, host.clock.now() - here.openedAt);
    return { key, rrp: here.rrp, epoch: here.epoch, verdict: here.offline.verdict, ageMs };
  }
  const mine = here && here.life.lease.holds() ? { owner: here.owner, at: here.openedAt } : null;
  const found = await directory.lookup(key, mine, confirmed);
  const isSure = found.verdict === "confirmed" || found.verdict === "cached";
  if (confirmed || !isSure || !host.reconciliation.isContested(key)) return found;
  return { ...found, verdict: "contested" };
}

const DEFAULT_PAGE = 100;

/** A page; options are checked. @throws AtlasError `invalid_rrp` if the prefix isn't allowed. */
export async function listOwned(
  store: Store,
  prefix: string,
  { cursor, limit = DEFAULT_PAGE }: PageOptions,
): Promise<ResourcePage> {
  checkPrefix(prefix);
  const { entries, next } = await store.list(prefix, cursor ?? null, limit);
  return { resources: entries.map(({ rrp, epoch }) => ({ rrp, epoch })), next };
}

/** @throws AtlasError `timeout` if the pages don't end within `timeoutMs`. */
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
