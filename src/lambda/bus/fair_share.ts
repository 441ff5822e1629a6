/**
 * Computes max-min fair shares of a need among participants with limited room, and shares in
 * proportion to weights.
 *
 * Source: water-filling (Bertsekas and Gallager, "Data Networks", §6.5.2).
 */

/**
 * How much of `need` each participant takes, as evenly as `room` allows. Whole numbers; earlier
 * entries get the remainder.
 */
export function fairShare(need: number, room: readonly number[]): number[] {
  const taken = room.map(() => 0);
  // In ascending order of room: participants with more room share what one participant can't take.
  const order = room.map((_, at) => at)
    .sort((a, b) => (room[a] as number) - (room[b] as number) || b - a);
  let left = need;
  let takers = order.length;
  for (const at of order) {
    const part = Math.min(room[at] as number, Math.floor(left / takers));
    taken[at] = part;
    left -= part;
    takers--;
  }
  for (let at = 0; left > 0 && at < taken.length; at++) {
    const more = Math.min(left, (room[at] as number) - (taken[at] as number));
    taken[at] = (taken[at] as number) + more;
    left -= more;
  }
  return taken;
}

/** Splits a whole number in proportion to weights; earlier entries get the remainder. */
export function inProportion(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  const parts = weights.map((weight) => Math.floor(total * weight / Math.max(1, sum)));
  let left = total - parts.reduce((all, part) => all + part, 0);
  for (let at = 0; left > 0 && at < parts.length; at++, left--) {
    parts[at] = (parts[at] as number) + 1;
  }
  return parts;
}
