/**
 * Names of the Redis keys, and how an ownership is stored and listed.
 *
 * All keys of one resource share the hash tag of its slot, so that a cluster keeps them together:
 * `atlas:{s<slot>}:own:<key>`, `…:state:<key>`, `…:index:<key>`, for a while `…:ended:<key>`, and
 * one `atlas:{s<slot>}:epoch` for the slot.
 *
 * MGET answers nil for a key that holds no text at all (a list, say). A lookup of it says
 * "nobody"; every claim, commit or release fails with an error.
 */
import { MAX_ENTRY } from "../../../src/limits.ts";
import type { Ownership } from "../../../src/model/ownership.ts";
import type { OwnershipPage } from "../../../src/ports/store.ts";
import { BrokenEntry, brokenEntry, refused } from "../check.ts";

export type KeyKind = "own" | "state" | "index" | "ended";

/** The Redis key of one kind for a resource. */
export function slotKey(slot: number, kind: KeyKind, key: string): string {
  return `atlas:{s${slot}}:${kind}:${key}`;
}

/** What SCAN matches to find all ownerships. */
export function ownPattern(): string {
  return "atlas:{s*}:own:*";
}

/**
 * The resource's key in the Redis key of its ownership; null for any other. Keys of Atlas hold no
 * white space; a key that does belongs to another program, and would break a cursor.
 */
export function keyOf(redisKey: string): string | null {
  return /^atlas:\{s\d+\}:own:(\S+)$/.exec(redisKey)?.[1] ?? null;
}

/** A cursor of `scan.ts`. */
const CURSOR = /^(\d{1,20})(?:@\d{1,5}\.[0-9a-z]{1,8})?$/;
/** SCAN's own cursors have 64 bits. For a greater one Redis answers an error without a code. */
const MAX_CURSOR = 2n ** 64n - 1n;

const ENTRY = /^(\d{1,16}) (\S+) \S+ (rrp:\S+)$/;

/**
 * Reads `<epoch> <incarnation> <opId> <rrp>`.
 *
 * @throws AtlasError `unavailable`, naming the key: an entry that can't be read is not
 * an absent one.
 */
export function parseEntry(key: string, text: string): Ownership {
  const parts = text.length <= MAX_ENTRY ? ENTRY.exec(text) : null;
  const epoch = Number(parts?.[1]);
  if (!parts || !Number.isSafeInteger(epoch)) throw brokenEntry(key, "owner", text);
  return { rrp: parts[3] as string, incarnation: parts[2] as string, epoch };
}

/** How {@link pageOf} reaches the Redis. */
export interface Scanner {
  readonly cursor: string | null;
  readonly limit: number;
  scan(from: string, count: number): Promise<[next: string, redisKeys: string[]]>;
  /** The ownerships wanted among these Redis keys, each with its resource's key. */
  fetch(redisKeys: string[]): Promise<[key: string, owner: Ownership][]>;
}

/** Entries of a listing that can't be read, by their key. */
export class Unlisted {
  readonly #errors = new Map<string, BrokenEntry>();

  /**
   * The result of `read` for each key; a value that can't be read is left out, and its error is
   * recorded.
   */
  async among<T>(keys: readonly string[], read: (key: string) => Promise<T>): Promise<T[]> {
    const found = await Promise.all(keys.map(async (key) => {
      try {
        return [await read(key)];
      } catch (error) {
        if (!(error instanceof BrokenEntry)) throw error;
        this.#errors.set(key, error);
        return [];
      }
    }));
    return found.flat(1) as T[];
  }

  /** The page, with its unreadable entries. */
  in(page: OwnershipPage): OwnershipPage {
    if (this.#errors.size === 0) return page;
    return { ...page, unreadable: [...this.#errors.values()] };
  }
}

/** The largest number of SCANs of one page, and of keys that one SCAN may look at. */
const MAX_SCANS = 32;
const MAX_COUNT = 4_096;

/**
 * One page of a listing by SCAN, never longer than asked.
 *
 * If a scan gives more keys than still fit, its result is discarded and the page ends before it. If
 * one scan alone gives too many keys, it is repeated with a smaller count. Keys that exceed the
 * page even with the smallest count go into the cursor by name:
 * `<scan cursor> <redis key> <redis key> …`.
 */
export async function pageOf(scanner: Scanner): Promise<OwnershipPage> {
  const { limit } = scanner;
  let [at, left] = parseCursor(scanner.cursor);
  const entries = owners(await scanner.fetch(left.slice(0, limit)));
  left = left.slice(limit);
  if (left.length > 0) return { entries, next: [at, ...left].join(" ") };
  let begun = scanner.cursor !== null;
  let count = Math.min(MAX_COUNT, limit);
  for (let scans = 0; scans < MAX_SCANS && entries.length < limit; scans++) {
    if (begun && at === "0") break;
    const [next, redisKeys] = await scanner.scan(at, count);
    const found = await scanner.fetch([...new Set(redisKeys)]);
    if (entries.length + found.length <= limit) {
      for (const entry of owners(found)) entries.push(entry);
      at = next;
      begun = true;
      count = Math.min(MAX_COUNT, found.length === 0 ? count * 2 : limit);
    } else if (entries.length > 0) {
      break;
    } else if (count > 1) {
      count >>= 1;
    } else {
      const rest = new Set(found.slice(limit).map(([key]) => key));
      const named = redisKeys.filter((redisKey) => rest.has(keyOf(redisKey) as string));
      return { entries: owners(found.slice(0, limit)), next: [next, ...named].join(" ") };
    }
  }
  return { entries, next: begun && at === "0" ? null : at };
}

function owners(found: readonly (readonly [string, Ownership])[]): Ownership[] {
  return found.map(([, owner]) => owner);
}

function parseCursor(cursor: string | null): [at: string, left: string[]] {
  if (cursor === null) return ["0", []];
  const [at = "", ...left] = cursor.split(" ");
  const [, inner] = CURSOR.exec(at) ?? [];
  const isGiven = inner !== undefined && BigInt(inner) <= MAX_CURSOR;
  if (!isGiven || left.some((key) => keyOf(key) === null)) {
    throw refused("cursor", JSON.stringify(cursor), "the `next` of an earlier page");
  }
  return [at, left];
}
