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
import { checkPrefix, resourceKey } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { type Directory, suspected } from "../registry/directory.ts";
import type { Host } from "../resource/host.ts";

/** The answer from this node's memory, if that is allowed; null: {@link lookupFrom} has to ask. */
export function lookupCached(host: Host, directory: Directory, key: string): Lookup | null {
  const here = host.find(key);
  if (here === undefined) {
    const isContested = host.reconciliation.isContested(key);
    return isContested ? null : directory.lookupCached(key, null, null);
  }
  const { lease } = here.life;
  if (here.offline || !lease.holds() || host.reconciliation.isContested(key)) return null;
  return directory.lookupCached(key, here, lease.checkedAt);
}

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
  const mine = here && here.life.lease.holds() ? here : null;
  const found = await directory.lookup(key, mine, confirmed);
  const isSure = found.verdict === "confirmed" || found.verdict === "cached";
  if (confirmed || !isSure || !host.reconciliation.isContested(key)) return found;
  return { ...found, verdict: "contested" };
}

/** The names that each of the two generations of a {@link KeyCache} has. */
const CACHED_NAMES = 16_384;

/**
 * The keys of names that were looked up lately: making a key costs more than a lookup from memory.
 */
export class KeyCache {
  #recent = new Map<string, Map<string, string>>();
  #older = new Map<string, Map<string, string>>();
  #size = 0;

  /** @throws AtlasError `invalid_rrp` */
  of(type: string, id: string): string {
    return this.#recent.get(type)?.get(id) ?? this.#add(type, id);
  }

  #add(type: string, id: string): string {
    const key = this.#older.get(type)?.get(id) ?? resourceKey(type, id);
    if (this.#size >= CACHED_NAMES) {
      [this.#older, this.#recent] = [this.#recent, new Map()];
      this.#size = 0;
    }
    const keys = this.#recent.get(type);
    if (keys) keys.set(id, key);
    else this.#recent.set(type, new Map([[id, key]]));
    this.#size++;
    return key;
  }
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
