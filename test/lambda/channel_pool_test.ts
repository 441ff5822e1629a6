/** Covers src/lambda/buy/channel_pool.ts, its Fenwick tree, and src/lambda/bus/fair_share.ts. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../sim/engine/random.ts";
import { Fenwick } from "../../src/lambda/buy/fenwick.ts";
import type { ChannelView, ModuleCall } from "../../src/lambda/buy/module_call.ts";
import { ChannelPool, type OpenedChannel } from "../../src/lambda/buy/channel_pool.ts";
import { fairShare } from "../../src/lambda/bus/fair_share.ts";

test("every point of the cumulative sum finds the slot whose weight covers it", () => {
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

test("a need is shared evenly, as far as room allows", () => {
  fc.assert(fc.property(fc.nat(100), fc.array(fc.nat(20), { maxLength: 8 }), (need, room) => {
    const taken = fairShare(need, room);
    const total = room.reduce((sum, it) => sum + it, 0);
    expect(taken.reduce((sum, it) => sum + it, 0)).toBe(Math.min(need, total));
    taken.forEach((it, at) => expect(it).toBeLessThanOrEqual(room[at] as number));
    const most = Math.max(0, ...taken);
    // A seller that got less than another by more than one has no more room.
    taken.forEach((it, at) => expect(it >= most - 1 || it === room[at]).toBe(true));
  }));
  expect(fairShare(5, [9, 9])).toEqual([3, 2]);
  expect(fairShare(8, [1, 9, 9])).toEqual([1, 4, 3]);
});

const SIZES = [[1, 2, 3, 4], [1, 1], [2, 2, 2], [1, 1, 1, 1], [4, 4], [2, 8]];

const SPLITS = SIZES.map((sizes) => ({ sizes, named: sizes.join(", ") }));

test.for(SPLITS)(
  "a thousand calls split by capacity, $named, however many are in flight",
  ({ sizes }) => {
    const total = sizes.reduce((sum, it) => sum + it, 0);
    for (let inFlight = 1; inFlight < total; inFlight++) {
      const random = new SeededRandom(inFlight, "draw");
      const { pool, views } = filled(sizes, () => random.next());
      const running: ChannelView[] = [];
      const picked = new Map(views.map((view) => [view, 0]));
      for (let n = 0; n < 1_000; n++) {
        // The call that began first ends first, and its credit returns.
        const ended = running.length < inFlight ? undefined : running.shift();
        if (ended) pool.credit(ended, ended.allowed + 1);
        const view = pool.pick("mark") as ChannelView;
        pool.spend(view, {} as ModuleCall);
        running.push(view);
        picked.set(view, (picked.get(view) as number) + 1);
      }
      for (const [{ grant }, calls] of picked) {
        const share = 1_000 * grant / total;
        expect(Math.abs(calls - share), `${inFlight} in flight, of ${grant}`).toBeLessThan(
          share / 4,
        );
      }
    }
  },
);

test("at any draw, each unit of credit is equally likely", () => {
  const drawn = [[0, 0, 0, 0], [0, 0, 0, 0]];
  for (let seed = 0; seed < 4_000; seed++) {
    const random = new SeededRandom(seed, "draw");
    const { pool } = filled([1, 2, 3, 4], () => random.next());
    for (const slots of drawn) (slots[(pool.pick("mark") as ChannelView).slot] as number)++;
  }
  for (const slots of drawn) {
    for (const [slot, times] of slots.entries()) {
      expect(Math.abs(times - 400 * (slot + 1))).toBeLessThan(100);
    }
  }
});

/** A pool of full channels of these sizes. */
function filled(
  sizes: readonly number[],
  chance: () => number,
): { readonly pool: ChannelPool; readonly views: readonly ChannelView[] } {
  const pool = new ChannelPool("none", () => "here", chance);
  const views = sizes.map((grant, n) => {
    const label = { version: "1.0.0", exports: ["mark"], hash: "" };
    const contact = { incarnation: `${n}`, region: "here", node: `n${n}`, address: "" };
    const opened: OpenedChannel = {
      address: `${n}`,
      listener: "",
      contact,
      label,
      grant,
      rttMs: 1,
    };
    const view = pool.add(opened, pool);
    pool.credit(view, grant);
    return view;
  });
  return { pool, views };
}
