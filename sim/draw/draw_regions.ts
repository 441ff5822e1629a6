/**
 * Draws a plan with three regions from a seed, each with its own store and nodes. Keys are moved
 * between regions while clients call them and faults happen.
 */
import { SeededRandom } from "../engine/random.ts";
import { NETWORK_FAULTS } from "../faults/network_faults.ts";
import { CLOCK_FAULTS, NODE_FAULTS } from "../faults/node_faults.ts";
import { LOSSES, MOVES, REGION_FAULTS } from "../faults/region_faults.ts";
import type { Plan, Shape } from "../plan/plan.ts";
import { drawFaults, drawShape, drawWork, HEAL_AT } from "./draw_resources.ts";
import { addWorkload, drawWorkloadOptions } from "./draw_workload.ts";

const REGIONS = ["east", "west", "south"];
/** One-way latencies: round trips take 80 and 150 ms. */
const NEAR_MS = 40;
const FAR_MS = 75;
/** Over long paths, unfinished work takes longer to find its owner. */
const END_AT = 34_000;
/**
 * The share of seeds with registries that lose forwarding addresses, and the time until which that
 * happens.
 */
const FORGETFUL = 0.2;
const LAST_LOSS_AT = HEAL_AT - 5_000;
const CATALOGUE = [...NODE_FAULTS, ...CLOCK_FAULTS, ...NETWORK_FAULTS, ...REGION_FAULTS];

/** The plan of a seed: a whole number from 0. */
export function makeRegionalPlan(seed: number): Plan {
  const draw = (stream: string): SeededRandom => new SeededRandom(seed, `regional ${stream}`);
  const base = drawRegionsShape(draw("shape"));
  const { mailbox, isReentrant = false } = drawWorkloadOptions(draw("manners"), base);
  const shape = { ...base, mailbox, isReentrant };
  const accidents = drawFaults(draw("faults"), shape, HEAL_AT, CATALOGUE);
  const moves = drawFaults(draw("moves"), shape, HEAL_AT, MOVES);
  const plan = {
    seed,
    shape,
    faults: [...accidents, ...moves].sort((one, other) => one.at - other.at),
    work: addWorkload(draw("errands"), shape, drawWork(draw("workload"), shape)),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
  return withLosses(draw("losses"), plan);
}

/**
 * The plan, in some seeds with registries that lose forwarding addresses. Then all machines run and
 * reach each other, and no key is released: an address that no live owner knows may be lost.
 */
function withLosses(random: SeededRandom, plan: Plan): Plan {
  if (!random.chance(FORGETFUL)) return plan;
  const { shape, work } = plan;
  const conditions = { ...shape.linkConditions, tail: 0, loss: 0 };
  const losses = drawFaults(random, shape, LAST_LOSS_AT, LOSSES);
  const moves = drawFaults(random, shape, HEAL_AT, MOVES.filter(({ name }) => name === "move"));
  return {
    ...plan,
    shape: { ...shape, idleAfterMs: 60_000, linkConditions: conditions },
    faults: [...losses, ...moves].sort((one, other) => one.at - other.at),
    // A lookup from another region can't see that a key's home is in quarantine.
    work: work.map((event) => event.what === "lookup" ? { ...event, what: "read" } : event),
  };
}

function drawRegionsShape(random: SeededRandom): Shape {
  const base = drawShape(random);
  const { linkConditions: conditions } = base;
  const lease = { heartbeatMs: 1_000, leaseMs: 3_000 };
  return {
    ...base,
    nodes: random.pick([3, 3, 4, 6]),
    lease,
    store: { ...base.store, timeoutMs: lease.leaseMs * random.pick([0.3, 0.6]) },
    linkConditions: {
      ...conditions,
      baseMs: random.pick([0.2, 1]),
      jitterMs: random.pick([0.5, 5]),
    },
    regions: { names: REGIONS, nearMs: NEAR_MS, farMs: FAR_MS },
  };
}
