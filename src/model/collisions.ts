/**
 * Finds Maps and Sets from outside whose numbers were chosen to share a hash, so that building
 * them would take quadratic time: V8 (Node, Deno) hashes text with a secret seed, numbers without.
 *
 * Source: V8, `ComputeUnseededHash` and `ComputeLongHash` of `src/utils/utils.h`. Should they
 * change, nothing but this guard is lost.
 */

/** With fewer members than this, collisions cost no noticeable time. */
const FEW = 512;
/**
 * From this many members in one bucket on, they were chosen to collide. By chance there are about
 * ten.
 */
const CROWD = 32;

const double = new Float64Array(1);
const long = new BigUint64Array(double.buffer);
const halves = new Uint32Array(double.buffer);

/** Whether many of every `step`th of `items`, a Map's keys or a Set's members, share a hash. */
export function collide(items: readonly unknown[], step: 1 | 2): boolean {
  const count = items.length / step;
  if (count < FEW) return false;
  const mask = 2 ** Math.floor(Math.log2(count)) - 1;
  const buckets = new Uint8Array(mask + 1);
  for (let at = 0; at < items.length; at += step) {
    const item = items[at];
    if (typeof item !== "number" && typeof item !== "bigint") continue;
    const bucket = hashOf(item) & mask;
    const met = (buckets[bucket] as number) + 1;
    if (met > CROWD) return true;
    buckets[bucket] = met;
  }
  return false;
}

function hashOf(item: number | bigint): number {
  if (typeof item === "number") {
    if ((item | 0) === item) return hashOfInt(item);
    double[0] = item;
  } else {
    long[0] = BigInt.asUintN(64, item < 0n ? -item : item);
  }
  return hashOfLong(halves[1] as number, halves[0] as number);
}

function hashOfInt(item: number): number {
  let hash = (~item + (item << 15)) | 0;
  hash ^= hash >>> 12;
  hash = (hash + (hash << 2)) | 0;
  hash ^= hash >>> 4;
  hash = Math.imul(hash, 2_057);
  return hash ^ (hash >>> 16);
}

/**
 * Computes on the upper and lower halves of 64 bits; each of V8's steps is quoted above its own.
 */
function hashOfLong(high: number, low: number): number {
  // hash = ~hash + (hash << 18)
  let sum = (~low >>> 0) + ((low << 18) >>> 0);
  high = (~high + ((high << 18) | (low >>> 14)) + (sum > 0xffffffff ? 1 : 0)) | 0;
  low = sum | 0;
  // hash ^= hash >>> 31
  low ^= (low >>> 31) | (high << 1);
  high ^= high >>> 31;
  // hash *= 21
  sum = (low >>> 0) * 21;
  high = (Math.imul(high, 21) + Math.floor(sum / 2 ** 32)) | 0;
  low = sum | 0;
  // hash ^= hash >>> 11
  low ^= (low >>> 11) | (high << 21);
  high ^= high >>> 11;
  // hash += hash << 6
  sum = (low >>> 0) + ((low << 6) >>> 0);
  high = (high + ((high << 6) | (low >>> 26)) + (sum > 0xffffffff ? 1 : 0)) | 0;
  low = sum | 0;
  // hash ^= hash >>> 22
  return low ^ ((low >>> 22) | (high << 10));
}
