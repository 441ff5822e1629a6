/**
 * Adds failovers of a replicated store to the plans of some seeds.
 *
 * In most of them a step counts only once a replica has copied it: nothing acknowledged may be
 * missing, even while some machines still ask the old primary. In the others a failover loses what
 * was not copied: there must still be at most one owner, and losses must be reported. The old
 * primary never continues there, because then nothing could be promised.
 */
import { timing } from "../../src/registry/lease.ts";
import { FAILOVER_FAULTS, WITH_FORMER } from "../faults/failover_faults.ts";
import type { FaultEvent, Plan } from "../plan/plan.ts";
import type { SeededRandom } from "../engine/random.ts";

/** How many seeds have a replicated store, and how many of those wait for replicas. */
const REPLICATED = 0.3;
const CONFIRMED = 0.65;
const MOST_FAILOVERS = 4;
const LONGEST_MS = 3_000;

/** The plan, perhaps with failovers; everything else in it stays as it was. */
export function withFailovers(random: SeededRandom, plan: Plan): Plan {
  if (!random.chance(REPLICATED)) return plan;
  const { shape, healAt } = plan;
  const isConfirmed = random.chance(CONFIRMED);
  const lagMs = random.pick(isConfirmed ? [1, 5, 50] : [5, 50, 500]);
  const kinds = FAILOVER_FAULTS.filter(({ name }) => isConfirmed || !WITH_FORMER.has(name));
  const count = 1 + random.below(MOST_FAILOVERS);
  const added = Array.from({ length: count }, (): FaultEvent => ({
    at: random.between(1_000, healAt),
    kind: random.pick(kinds).name,
    a: random.below(shape.nodes),
    b: random.below(shape.nodes),
    ms: random.next() * LONGEST_MS,
    x: random.next(),
  }));
  return {
    ...plan,
    shape: { ...shape, store: { ...shape.store, lagMs, isConfirmed } },
    // Healing may take another takeover time.
    endAt: plan.endAt + timing(shape.lease).takeoverMs,
    faults: [...plan.faults, ...added].sort((one, other) => one.at - other.at),
  };
}
