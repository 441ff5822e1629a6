/**
 * Failovers of a replicated store, mixed into a plan where they are asked for.
 *
 * Takes a plan; gives it with replicas that lag, and with failovers among its faults.
 */
import { FAILOVER_FAULTS } from "./faults/failover_faults.ts";
import type { FaultEvent, Plan } from "./plan.ts";
import type { SeededRandom } from "./random.ts";

const MOST_FAILOVERS = 4;
const LONGEST_MS = 3_000;

/** The plan with failovers; everything else in it stays as it was. */
export function withFailovers(random: SeededRandom, plan: Plan): Plan {
  const { shape, healAt } = plan;
  const lagMs = random.pick([5, 50, 500]);
  const count = 1 + random.below(MOST_FAILOVERS);
  const added = Array.from({ length: count }, (): FaultEvent => ({
    at: random.between(1_000, healAt),
    kind: random.pick(FAILOVER_FAULTS).name,
    a: random.below(shape.nodes),
    b: random.below(shape.nodes),
    ms: random.next() * LONGEST_MS,
    x: random.next(),
  }));
  return {
    ...plan,
    shape: { ...shape, store: { ...shape.store, lagMs } },
    faults: [...plan.faults, ...added].sort((one, other) => one.at - other.at),
  };
}
