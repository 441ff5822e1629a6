/**
 * Lists keys over all masters of a Redis, one master after the other.
 *
 * Takes a cursor and gives the next one, `<SCAN's own>@<slot>.<life>`: `slot` is the lowest slot of
 * the master that is being listed, `life` the run of that server for which the cursor is valid.
 * SCAN's own cursors are not valid at another server, or at the same server after a restart. The
 * master is then listed from its beginning, so that keys may come twice, but no key is left out.
 *
 * While a cluster moves slots between its masters, keys that move to a master that was already
 * listed may be left out.
 */
import { refused } from "../check.ts";
import { malformed } from "./replies.ts";

/** One master, as a part of the listing. */
export interface Shard {
  /** The lowest slot that it serves. */
  readonly slot: number;
  /** Names this run of the server: letters and digits, at most 8. */
  readonly life: string;
  /** What SCAN answers: the next cursor, and keys. */
  scan(from: string, pattern: string, count: string): Promise<unknown>;
}

const CURSOR = /^(\d{1,20})(?:@(\d{1,5})\.([0-9a-z]{1,8}))?$/;

/** One step of a listing over `shards`, which are in the order of their slots. */
export async function scanShards(
  shards: readonly Shard[],
  [cursor = "", pattern = "", count = ""]: readonly string[],
): Promise<[next: string, redisKeys: unknown]> {
  const { shard, from, following } = resume(shards, cursor);
  const reply = await shard.scan(from, pattern, count);
  const [next, redisKeys] = Array.isArray(reply) ? reply : [];
  if (typeof next !== "string") throw malformed("scan", reply);
  if (next !== "0") return [cursorAt(shard, next), redisKeys];
  return [following ? cursorAt(following, "0") : "0", redisKeys];
}

function resume(
  shards: readonly Shard[],
  cursor: string,
): { shard: Shard; from: string; following: Shard | undefined } {
  const [, inner, slot, life] = CURSOR.exec(cursor) ?? [];
  if (inner === undefined) throw refused("cursor", JSON.stringify(cursor), "one that was given");
  const found = shards.findLastIndex((shard) => shard.slot <= Number(slot ?? 0));
  const at = Math.max(0, found);
  const shard = shards[at] as Shard;
  const same = shard.slot === Number(slot) && shard.life === life;
  return { shard, from: same ? inner : "0", following: shards[at + 1] };
}

function cursorAt(shard: Shard, inner: string): string {
  return `${inner}@${shard.slot}.${shard.life}`;
}
