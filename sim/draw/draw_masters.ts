/**
 * Draws a plan with several masters from a seed, in which nodes claim the same names while faults
 * happen. In half of the plans replication stays within its bound, and there must never be two
 * owners; in the others it takes longer or stops for a while.
 */
import { SeededRandom } from "../engine/random.ts";
import { NETWORK_FAULTS } from "../faults/network_faults.ts";
import { CLOCK_FAULTS, NODE_FAULTS, ROLLING_FAULTS } from "../faults/node_faults.ts";
import { MASTERS_FAULTS, MASTERS_SPLIT } from "../faults/store_faults.ts";
import type { FaultEvent, MastersShape, Plan, Shape, WorkEvent } from "../plan/plan.ts";
import { drawFaults, drawShape } from "./draw_resources.ts";

/** A plan under several masters. */
export interface MastersPlan extends Plan {
  readonly masters: MastersShape;
}

const CATALOGUE = [
  ...NODE_FAULTS,
  ...CLOCK_FAULTS,
  ...NETWORK_FAULTS,
  ...ROLLING_FAULTS,
  ...MASTERS_FAULTS,
];
/** The share of plans without faults other than replication. */
const CALM = 0.25;
const MOST_SPLITS = 4;
const HEAL_AT = 14_000;
const END_AT = 32_000;
const RECHECK_MS = 500;

/** The plan of a seed: a whole number from 0. */
export function makeMastersPlan(seed: number): MastersPlan {
  const random = new SeededRandom(seed, "masters");
  const drawn = drawShape(new SeededRandom(seed, "shape"));
  const isBounded = random.chance(0.5);
  const boundMs = random.pick([10, 40, 120]);
  const lagMs = boundMs * (isBounded ? random.between(0.1, 0.95) : random.between(0.5, 6));
  const count = random.pick([2, 2, 3]);
  const shape = { ...drawn, nodes: Math.max(count, drawn.nodes), gateways: 0 };
  const splits = isBounded ? [] : drawSplits(random);
  const accidents = random.chance(CALM)
    ? []
    : drawFaults(new SeededRandom(seed, "faults"), shape, HEAL_AT, CATALOGUE);
  return {
    seed,
    shape,
    masters: { count, lagMs, boundMs, recheckMs: RECHECK_MS, isBounded },
    faults: [...accidents, ...splits].sort((one, other) => one.at - other.at),
    work: withPlainLookups(new SeededRandom(seed, "lookups"), drawWork(random, shape, boundMs)),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
}

function drawSplits(random: SeededRandom): FaultEvent[] {
  return Array.from({ length: 1 + random.below(MOST_SPLITS) }, () => ({
    at: random.between(500, HEAL_AT),
    kind: MASTERS_SPLIT.name,
    a: 0,
    b: 0,
    ms: random.next() * random.pick([500, 2_000, 6_000]),
    x: 0,
  }));
}

/** Half of the lookups may be answered from memory if the protocol allows it. */
function withPlainLookups(random: SeededRandom, work: readonly WorkEvent[]): WorkEvent[] {
  return work.map((it) => it.what === "lookup" ? { ...it, isConfirmed: random.chance(0.5) } : it);
}

/** Calls in bursts, through several nodes within one bound, so that nodes compete for names. */
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
