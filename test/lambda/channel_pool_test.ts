/** Covers src/lambda/buy/channel_pool.ts, its weights and its code, and src/lambda/bus/fair_share.ts. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../sim/engine/random.ts";
import type { ChannelView, ModuleCall } from "../../src/lambda/buy/module_call.ts";
import { ChannelPool, type OpenedChannel } from "../../src/lambda/buy/channel_pool.ts";
import { WeightTree } from "../../src/lambda/buy/weight_tree.ts";
import type { CodeLabel } from "../../src/lambda/bus/messages.ts";
import { fairShare } from "../../src/lambda/bus/fair_share.ts";

test("every point of the cumulative sum finds the slot whose weight covers it", () => {
  const step = fc.record({ slot: fc.nat(90), weight: fc.nat(9), leave: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
    const wheel = new WeightTree();
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

test("what can be called is that of all open channels, whatever opens, drains and is upgraded", () => {
  const versions = ["1.0.0", "1.2.0", "2.0.0-rc.1", "2.0.0"];
  const exports = [["mark"], ["mark", "note"], ["note"], ["a", "z"]];
  const step = fc.record({
    what: fc.constantFrom("add", "add", "drain", "relabel"),
    at: fc.nat(20),
    version: fc.constantFrom(...versions),
    exports: fc.constantFrom(...exports),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
    const pool = new ChannelPool("none", () => "here", () => 0.5);
    const all: ChannelView[] = [];
    for (const { what, at, version, exports } of steps) {
      const label = { version, exports, hash: "" };
      const view = all[at % Math.max(1, all.length)];
      if (what === "add") all.push(pool.add(opened(all.length, 4, label), pool));
      else if (view && what === "drain") pool.drain(view);
      else if (view) pool.relabel(view, label, 0);
      const open = all.filter(({ isDraining }) => !isDraining);
      const names = new Set(open.flatMap((view) => view.label.exports));
      const newest = versions.findLast((it) => open.some((view) => view.label.version === it));
      expect(pool.inUse()).toEqual(newest ? { version: newest, exports: [...names].sort() } : null);
      for (const view of all) expect([...view.exports]).toEqual(view.label.exports);
    }
  }));
});

test("with the bias latency, the fastest open channel gets 16 times the weight of far ones", () => {
  const random = new SeededRandom(1, "draw");
  const pool = new ChannelPool("latency", () => "here", () => random.next());
  const label = { version: "1.0.0", exports: ["mark"], hash: "" };
  const [fast, twin, slow, far] = [10, 10, 20, 1_000].map((rttMs, n) => {
    const view = pool.add({ ...opened(n, 8, label), rttMs }, pool);
    pool.credit(view, 8);
    return view;
  }) as [ChannelView, ChannelView, ChannelView, ChannelView];
  const expectShares = (...weights: readonly number[]): void => {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const times = new Map<ChannelView, number>();
    for (let n = 0; n < 3_200; n++) {
      const view = pool.pick("mark") as ChannelView;
      times.set(view, (times.get(view) ?? 0) + 1);
    }
    for (const [n, view] of [fast, twin, slow, far].entries()) {
      const share = 3_200 * (weights[n] as number) / total;
      expect(Math.abs((times.get(view) ?? 0) - share)).toBeLessThanOrEqual(100);
    }
  };
  expectShares(16, 16, 8, 1);
  pool.drain(fast);
  expectShares(0, 16, 8, 1);
  pool.drain(twin);
  expectShares(0, 0, 16, 1);
});

/** A channel as it opens. */
function opened(n: number, grant: number, label: CodeLabel): OpenedChannel {
  const contact = { incarnation: `${n}`, region: "here", node: `n${n}`, address: "" };
  return { address: `${n}`, listener: "", contact, label, grant, rttMs: 1 };
}

/** A pool of full channels of these sizes. */
function filled(
  sizes: readonly number[],
  chance: () => number,
): { readonly pool: ChannelPool; readonly views: readonly ChannelView[] } {
  const pool = new ChannelPool("none", () => "here", chance);
  const views = sizes.map((grant, n) => {
    const label = { version: "1.0.0", exports: ["mark"], hash: "" };
    const view = pool.add(opened(n, grant, label), pool);
    pool.credit(view, grant);
    return view;
  });
  return { pool, views };
}
