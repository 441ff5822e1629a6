/**
 * The script of a simulation in which nodes lose sight of the store for longer than their
 * leases, alone or all of them, drawn from its seed.
 */
import { FAULTS } from "../faults.ts";
import { drawFaults, drawShape, drawWork, type FaultEvent, HEAL_AT, type Plan } from "../plan.ts";
import { SeededRandom } from "../random.ts";

const END_AT = 28_000;
/** What happens besides: nothing that takes acknowledged writes out of the store. */
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

export function makeAdriftPlan(seed: number): Plan {
  const draw = (stream: string): SeededRandom => new SeededRandom(seed, stream);
  const shape = { ...drawShape(draw("shape")), gateways: 0, isAvailable: true };
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
  return {
    seed,
    shape,
    faults: [...cuts, ...others].sort((one, other) => one.at - other.at),
    work: drawWork(draw("workload"), shape),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
}
