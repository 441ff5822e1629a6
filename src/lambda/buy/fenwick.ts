/**
 * Weights of slots, with a search for the slot at a point of their cumulative sum. Updates and
 * searches take O(log n). Source: Fenwick, "A New Data Structure for Cumulative Frequency Tables"
 * (1994).
 */
export class Fenwick {
  /** At i + 1: the sum over the range of weights that ends with slot i, as in the paper. */
  #sums: number[] = [0];
  readonly #weights: number[] = [];
  readonly #free: number[] = [];
  #total = 0;

  /** The sum of all weights. */
  get total(): number {
    return this.#total;
  }

  /** Takes a free slot, with weight 0. */
  take(): number {
    const slot = this.#free.pop();
    if (slot !== undefined) return slot;
    this.#weights.push(0);
    const at = this.#weights.length;
    // The sum of the existing weights in the new entry's range.
    let sum = 0;
    const start = at - (at & -at);
    for (let i = at - 1; i > start; i -= i & -i) sum += this.#sums[i] as number;
    this.#sums.push(sum);
    return at - 1;
  }

  /** Frees a slot. */
  release(slot: number): void {
    this.set(slot, 0);
    this.#free.push(slot);
  }

  /** @param weight a whole number from 0 */
  set(slot: number, weight: number): void {
    const change = weight - (this.#weights[slot] as number);
    if (change === 0) return;
    this.#weights[slot] = weight;
    this.#total += change;
    for (let i = slot + 1; i < this.#sums.length; i += i & -i) {
      this.#sums[i] = (this.#sums[i] as number) + change;
    }
  }

  /** The slot at `point`, 0 ≤ point < total, of the cumulative sum. */
  find(point: number): number {
    let at = 0;
    let left = point;
    for (let step = 2 ** Math.floor(Math.log2(this.#sums.length)); step >= 1; step /= 2) {
      const sum = this.#sums[at + step];
      if (sum === undefined || sum > left) continue;
      at += step;
      left -= sum;
    }
    return at;
  }
}
