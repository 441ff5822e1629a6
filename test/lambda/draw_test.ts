/** The arithmetic under the market: drawing by weight, and sharing out. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Fenwick } from "../../src/lambda/fenwick.ts";
import { share } from "../../src/lambda/share.ts";

test("every point of the wheel falls on the slot whose weight covers it", () => {
  const step = fc.record({ slot: fc.nat(20), weight: fc.nat(9), leave: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const wheel = new Fenwick();
    const weights = new Map<number, number>();
    for (const { slot, weight, leave } of steps) {
      if (!weights.has(slot)) weights.set(wheel.take(), 0);
      const known = [...weights.keys()];
      const at = known[slot % known.length] as number;
      if (leave) {
        wheel.release(at);
        weights.delete(at);
      } else {
        wheel.set(at, weight);
        weights.set(at, weight);
      }
    }
    const expected = [...weights].sort(([a], [b]) => a - b)
      .flatMap(([slot, weight]) => Array<number>(weight).fill(slot));
    expect(wheel.total).toBe(expected.length);
    expect(expected.map((_, point) => wheel.find(point))).toEqual(expected);
  }));
});

test("a need is shared evenly, as far as there is room", () => {
  fc.assert(fc.property(fc.nat(100), fc.array(fc.nat(20), { maxLength: 8 }), (need, room) => {
    const taken = share(need, room);
    const total = room.reduce((sum, it) => sum + it, 0);
    expect(taken.reduce((sum, it) => sum + it, 0)).toBe(Math.min(need, total));
    taken.forEach((it, at) => expect(it).toBeLessThanOrEqual(room[at] as number));
    const most = Math.max(0, ...taken);
    // Who took less than the others by more than one had no more room.
    taken.forEach((it, at) => expect(it >= most - 1 || it === room[at]).toBe(true));
  }));
  expect(share(5, [9, 9])).toEqual([3, 2]);
  expect(share(8, [1, 9, 9])).toEqual([1, 4, 3]);
});
