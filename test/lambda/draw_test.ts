/** The arithmetic under the market: drawing by weight, and sharing out. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Fenwick } from "../../src/lambda/fenwick.ts";
import { type Opened, Pool } from "../../src/lambda/pool.ts";
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

test("draws fall by weight: any first one is as likely, and a thousand split as they should", () => {
  const sizes = [1, 2, 3, 4];
  const firsts = sizes.map(() => 0);
  for (let phase = 0; phase < 1; phase += 0.001) {
    const pool = filled(sizes, phase);
    const picked = sizes.map(() => 0);
    for (let n = 0; n < 1_000; n++) {
      const { slot } = pool.pick("mark") ?? { slot: -1 };
      (picked[slot] as number)++;
      if (n === 0) (firsts[slot] as number)++;
    }
    for (const [slot, size] of sizes.entries()) {
      expect(Math.abs(picked[slot] as number - 100 * size)).toBeLessThan(0.05 * 100 * size);
    }
  }
  expect(firsts).toEqual([100, 200, 300, 400]);
});

/** A pool of full channels of these sizes, whose first draw falls at `phase`. */
function filled(sizes: readonly number[], phase: number): Pool {
  const pool = new Pool("none", () => "here", () => phase);
  for (const [n, grant] of sizes.entries()) {
    const label = { version: "1.0.0", exports: ["mark"], hash: "" };
    const contact = { incarnation: `${n}`, region: "here", node: `n${n}`, address: "" };
    const opened: Opened = { address: `${n}`, listener: "", contact, label, grant, rttMs: 1 };
    pool.credit(pool.add(opened), grant);
  }
  return pool;
}
