/**
 * The script of a simulation with several masters, drawn from its seed. In half of them
 * copying keeps within the bound, and there must never be two owners; in the others it
 * takes longer, or stops for a while.
 */
import { drawFaults, drawShape, type Plan, type Shape, type WorkEvent } from "../plan.ts";
import { SeededRandom } from "../random.ts";
import type { MastersShape } from "./masters.ts";

/** No post between masters from `at` on, for `ms`. */
export interface Split {
  readonly at: number;
  readonly ms: number;
}

export interface MastersPlan extends Plan {
  readonly masters: MastersShape;
  /** Whether copying keeps within the bound. */
  readonly isBounded: boolean;
  readonly splits: readonly Split[];
}

const HEAL_AT = 14_000;
const END_AT = 32_000;
const RECHECK_MS = 500;

export function makeMastersPlan(seed: number): MastersPlan {
  const random = new SeededRandom(seed, "masters");
  const drawn = drawShape(new SeededRandom(seed, "shape"));
  const isBounded = random.chance(0.5);
  const boundMs = random.pick([10, 40, 120]);
  const lagMs = boundMs * (isBounded ? random.between(0.1, 0.95) : random.between(0.5, 6));
  const { timeoutMs } = drawn.store;
  const count = random.pick([2, 2, 3]);
  const shape = { ...drawn, nodes: Math.max(count, drawn.nodes), gateways: 0 };
  const splits = isBounded ? [] : Array.from({ length: 1 + random.below(4) }, () => ({
    at: random.between(500, HEAL_AT),
    ms: random.next() * random.pick([500, 2_000, 6_000]),
  }));
  return {
    seed,
    shape,
    masters: { count, lagMs, boundMs, recheckMs: RECHECK_MS, timeoutMs },
    isBounded,
    splits,
    faults: random.chance(0.25) ? [] : drawFaults(new SeededRandom(seed, "faults"), shape, HEAL_AT),
    work: drawWork(random, shape, boundMs),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
}

/** Calls in bursts, through several nodes within one bound: so names are contended for. */
function drawWork(random: SeededRandom, { nodes, keys }: Shape, boundMs: number): WorkEvent[] {
  const work: WorkEvent[] = [];
  const gapMs = random.pick([60, 150, 400]);
  for (let at = 400; at < HEAL_AT; at += random.next() * 2 * gapMs) {
    const key = random.below(keys);
    const together = random.chance(0.4) ? nodes : 1;
    const first = random.below(nodes);
    for (let i = 0; i < together; i++) {
      const what = random.pick(["append", "append", "read", "lookup"] as const);
      work.push({
        at: at + random.next() * boundMs,
        node: (first + i) % nodes,
        client: random.below(2),
        key,
        what,
        count: 1,
        isKeyed: what === "append" && random.chance(0.3),
        timeoutMs: random.pick([1_000, 3_000]),
      });
    }
  }
  return work.sort((one, other) => one.at - other.at);
}
