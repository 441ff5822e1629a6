/**
 * Draws a plan in which some or all nodes lose the store for longer than their leases. In some
 * plans nothing else goes wrong: links stay open.
 */
import { FAULTS } from "../faults/catalogue.ts";
import { STORE_AWAY } from "../faults/network_faults.ts";
import { drawFaults, drawShape, drawWork, HEAL_AT } from "./draw_resources.ts";
import type { FaultEvent, Plan, Shape } from "../plan/plan.ts";
import { SeededRandom } from "../engine/random.ts";

const END_AT = 28_000;
/** Other faults: none that removes acknowledged writes from the store. */
const KINDS = [
  "store_reset",
  "store_clog",
  "store_mute",
  "store_deaf",
  "partition",
  "isolation",
  "link_break",
  "crash",
  "pause",
  "drain",
];

/** The share of plans in which nodes lose the store, and nothing else goes wrong. */
const STORE_ALONE = 0.3;

export function makeOfflinePlan(seed: number): Plan {
  const draw = (stream: string): SeededRandom => new SeededRandom(seed, stream);
  const shape = { ...drawShape(draw("shape")), gateways: 0, isAvailable: true };
  const plan = {
    seed,
    shape,
    work: drawWork(draw("workload"), shape),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
  const reach = draw("reach");
  return reach.chance(STORE_ALONE)
    ? withStoreAway(reach, plan)
    : { ...plan, faults: drawCuts(draw, shape) };
}

/** Calm conditions and resources that stay in memory, so that a live owner can be reached. */
function withStoreAway(random: SeededRandom, plan: Omit<Plan, "faults">): Plan {
  const { shape } = plan;
  const linkConditions = { ...shape.linkConditions, tail: 0, loss: 0, duplicates: 0 };
  const doesBreak = random.chance(0.5);
  const faults = Array.from({ length: 1 + random.below(3) }, (): FaultEvent => ({
    at: random.between(1_500, HEAL_AT - 6_000),
    kind: STORE_AWAY.name,
    a: random.below(shape.nodes),
    b: 0,
    ms: shape.lease.leaseMs * random.between(1.2, 3),
    x: doesBreak ? random.between(0.5, 0.95) : 0,
  }));
  return {
    ...plan,
    shape: { ...shape, idleAfterMs: 60_000, linkConditions },
    faults: faults.sort((one, other) => one.at - other.at),
  };
}

function drawCuts(draw: (stream: string) => SeededRandom, shape: Shape): FaultEvent[] {
  const random = draw("cuts");
  const cuts = Array.from({ length: 2 + random.below(4) }, (): FaultEvent => ({
    at: random.between(500, HEAL_AT - 2_000),
    kind: random.pick(["store_cut", "store_cut", "store_mute", "store_outage"]),
    a: random.below(shape.nodes),
    b: 0,
    ms: shape.lease.leaseMs * random.between(0.8, 3),
    x: 0,
  }));
  const others = random.chance(0.4)
    ? []
    : drawFaults(draw("faults"), shape, HEAL_AT, FAULTS.filter(({ name }) => KINDS.includes(name)));
  return [...cuts, ...others].sort((one, other) => one.at - other.at);
}
