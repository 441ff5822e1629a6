/**
 * Adds losses of a store without replicas to the plans of some seeds: parts of resources vanish one
 * by one, or the registry is replaced by an empty one. Losses must be reported, other resources
 * must go on, and `list` must agree with `get` about what is left.
 */
import { timing } from "../../src/registry/lease.ts";
import type { FaultEvent, Plan } from "../plan/plan.ts";
import type { SeededRandom } from "../engine/random.ts";

/** How many seeds lose parts, and how many the whole registry. */
const PARTS = 0.2;
const REPLACED = 0.1;
const MOST_PARTS = 6;

/** The plan, perhaps with losses; everything else in it stays as it was. */
export function withLosses(random: SeededRandom, plan: Plan): Plan {
  const { shape, healAt } = plan;
  if (shape.store.lagMs !== undefined) return plan;
  const kind = random.chance(PARTS)
    ? "part_lost"
    : random.chance(REPLACED)
    ? "registry_replaced"
    : null;
  if (kind === null) return plan;
  const count = kind === "part_lost" ? 1 + random.below(MOST_PARTS) : 1;
  const added = Array.from({ length: count }, (): FaultEvent => ({
    at: random.between(2_000, healAt),
    kind,
    a: random.below(shape.nodes),
    b: 0,
    ms: 0,
    x: random.next(),
  }));
  return {
    ...plan,
    shape: { ...shape, isAudited: true },
    // Healing may take another takeover time.
    endAt: plan.endAt + timing(shape.lease).takeoverMs,
    faults: [...plan.faults, ...added].sort((one, other) => one.at - other.at),
  };
}
