/**
 * Delta debugging: removes items from a failing list until no single item can be removed.
 *
 * Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002),
 * algorithm ddmin.
 */

/**
 * A part of `items`, in their order, of which `fails` is still true; all of them where no
 * smaller part fails.
 *
 * @param fails MUST be true of `items`. It is asked about n² parts at worst, n log n usually.
 */
export async function ddmin<T>(
  items: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  if (items.length === 0 || await fails([])) return [];
  let left = items;
  let pieces = 2;
  while (left.length >= 2) {
    const parts = split(left, pieces);
    const part = await first(parts, fails);
    if (part) {
      left = part;
      pieces = 2;
      continue;
    }
    // With two pieces each is the other's rest, and both were tried.
    const rests = pieces === 2 ? [] : parts.map((part) => without(left, part));
    const rest = await first(rests, fails);
    if (rest) {
      left = rest;
      pieces--;
    } else if (pieces >= left.length) break;
    else pieces = Math.min(left.length, 2 * pieces);
  }
  return left;
}

/** `items` in `count` pieces of about the same length, in order. */
function split<T>(items: readonly T[], count: number): readonly T[][] {
  return Array.from({ length: count }, (_, piece) => {
    const from = Math.floor(items.length * piece / count);
    return items.slice(from, Math.floor(items.length * (piece + 1) / count));
  });
}

function without<T>(items: readonly T[], part: readonly T[]): readonly T[] {
  const struck = new Set(part);
  return items.filter((item) => !struck.has(item));
}

async function first<T>(
  lists: readonly (readonly T[])[],
  fails: (list: readonly T[]) => Promise<boolean>,
): Promise<readonly T[] | undefined> {
  for (const list of lists) if (await fails(list)) return list;
  return undefined;
}
