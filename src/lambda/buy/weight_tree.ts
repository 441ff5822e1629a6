/**
 * Weights of slots, with a search for the slot at a point of their cumulative sum. Updates and
 * searches take O(log n): a tree of sums with 16 children per node. A node's children are adjacent
 * in memory, so 10,000 slots take 4 jumps, where a binary tree takes 14.
 */

/** log2 of the number of children of a node. */
const BITS = 4;
const CHILDREN: number = 1 << BITS;

export class WeightTree {
  /**
   * The weights of all slots; then the sums of each 16 of them, and so on up to one list of at most
   * 16 sums.
   */
  #levels: Float64Array[] = [new Float64Array(CHILDREN)];
  readonly #free: number[] = [];
  /** The number of slots that were ever taken. */
  #slots = 0;
  #total = 0;

  /** The sum of all weights. */
  get total(): number {
    return this.#total;
  }

  /** Takes a free slot, with weight 0. */
  take(): number {
    const slot = this.#free.pop();
    if (slot !== undefined) return slot;
    if (this.#slots === (this.#levels[0] as Float64Array).length) this.#grow();
    return this.#slots++;
  }

  /** Frees a slot. */
  release(slot: number): void {
    this.set(slot, 0);
    this.#free.push(slot);
  }

  /** @param weight a whole number from 0 */
  set(slot: number, weight: number): void {
    const levels = this.#levels;
    const change = weight - ((levels[0] as Float64Array)[slot] as number);
    if (change === 0) return;
    this.#total += change;
    let at = slot;
    for (let level = 0; level < levels.length; level++) {
      const sums = levels[level] as Float64Array;
      sums[at] = (sums[at] as number) + change;
      at >>>= BITS;
    }
  }

  /** The slot at `point`, 0 ≤ point < total, of the cumulative sum. */
  find(point: number): number {
    const levels = this.#levels;
    let at = 0;
    let left = point;
    for (let level = levels.length - 1; level >= 0; level--) {
      const sums = levels[level] as Float64Array;
      at <<= BITS;
      for (let sum = sums[at] as number; left >= sum; sum = sums[++at] as number) left -= sum;
    }
    return at;
  }

  /** Doubles the number of slots. */
  #grow(): void {
    const weights = this.#levels[0] as Float64Array;
    let level = new Float64Array(2 * weights.length);
    level.set(weights);
    const levels = [level];
    while (level.length > CHILDREN) {
      const sums = new Float64Array(Math.ceil(level.length / CHILDREN));
      level.forEach((weight, at) => sums[at >>> BITS] = (sums[at >>> BITS] as number) + weight);
      levels.push(level = sums);
    }
    this.#levels = levels;
  }
}
