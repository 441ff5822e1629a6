/**
 * Draws the plan of the resources world from a seed: the cluster's shape, its faults and its calls.
 */
import type { LeaseTimes } from "../../src/api/options.ts";
import { timing } from "../../src/registry/lease.ts";
import { SeededRandom } from "../engine/random.ts";
import { withRefusals } from "../engine/store_refusals.ts";
import { FAULTS } from "../faults/catalogue.ts";
import { FAILOVER_FAULTS, WITH_FORMER } from "../faults/failover_faults.ts";
import type { FaultKind } from "../faults/fault.ts";
import type { FaultEvent, Plan, Shape, WorkEvent } from "../plan/plan.ts";
import { addWorkload, drawWorkloadOptions } from "./draw_workload.ts";

export const HEAL_AT = 16_500;

export const END_AT = 28_000;

export const LEASES: readonly LeaseTimes[] = [
  { heartbeatMs: 1_000, leaseMs: 3_000 },
  { heartbeatMs: 500, leaseMs: 1_500 },
  { heartbeatMs: 300, leaseMs: 1_000 },
];

/** The plan of a seed: a whole number from 0. */
export function makePlan(seed: number): Plan {
  const draw = (stream: string): SeededRandom => new SeededRandom(seed, stream);
  const drawn = drawShape(draw("shape"));
  const shape = { ...drawn, ...drawWorkloadOptions(draw("manners"), drawn) };
  const plan = {
    seed,
    shape,
    faults: drawFaults(draw("faults"), shape, HEAL_AT),
    work: addWorkload(draw("errands"), shape, drawWork(draw("workload"), shape)),
    healAt: HEAL_AT,
    endAt: END_AT,
  };
  const failing = withFailovers(draw("failovers"), plan);
  return withLosses(draw("losses"), withRefusals(draw("refusals"), failing));
}

/** A shape with bad conditions. */
export function drawShape(random: SeededRandom): Shape {
  const isCalm = random.chance(0.3);
  const baseMs = random.pick([0.2, 1, 10, 40]);
  const jitterMs = random.pick([0.5, 5, 30]);
  // A takeover takes some round trips in addition to the wait: a short lease needs short paths.
  const lease = random.pick(baseMs + jitterMs > 15 ? LEASES.slice(0, 1) : LEASES);
  return {
    nodes: random.pick([2, 3, 3, 3, 4]),
    keys: random.pick([1, 2, 3, 6]),
    lease,
    idleAfterMs: random.pick([300, 1_500, 60_000]),
    store: { isStream: random.chance(0.6), timeoutMs: lease.leaseMs * random.pick([0.3, 0.6, 1]) },
    linkConditions: {
      baseMs,
      jitterMs,
      tail: isCalm ? 0 : random.pick([0, 0.01, 0.05]),
      tailMs: random.pick([20, 200, 1_000]),
      loss: isCalm ? 0 : random.pick([0, 0.005, 0.03]),
      duplicates: isCalm ? 0 : random.pick([0, 0.01, 0.1]),
    },
    drift: random.pick([0, 0.0005, 0.001]),
  };
}

/**
 * Some kinds of faults, at some rate: seeds that differ in both find more bugs than an even mix.
 */
export function drawFaults(
  random: SeededRandom,
  shape: Shape,
  until: number,
  catalogue: readonly FaultKind[] = FAULTS,
): FaultEvent[] {
  const kinds = catalogue.filter(() => random.chance(0.35)).map(({ name }) => name);
  if (kinds.length === 0) kinds.push(random.pick(catalogue).name);
  const gapMs = random.pick([400, 1_000, 2_500, 6_000]);
  const longMs = random.pick([300, 1_500, 5_000]);
  const faults: FaultEvent[] = [];
  for (let at = 500 + random.next() * gapMs; at < until; at += random.next() * 2 * gapMs) {
    faults.push({
      at,
      kind: random.pick(kinds),
      a: random.below(shape.nodes),
      b: random.below(shape.nodes),
      ms: random.next() * 2 * longMs,
      x: random.next(),
    });
  }
  return faults;
}

/** Draws the clients' calls, at a rate that the keys can serve. */
export function drawWork(random: SeededRandom, shape: Shape): WorkEvent[] {
  // No more than the keys can serve, one call at a time over these paths.
  const { baseMs, jitterMs } = shape.linkConditions;
  const gapMs = random.pick([40, 100, 200]) + 8 * (baseMs + jitterMs / 2) / shape.keys;
  const keyed = random.pick([0, 0.5, 1]);
  const timeoutMs = random.pick([300, 1_000, 3_000]);
  const work: WorkEvent[] = [];
  for (let at = 300; at < HEAL_AT; at += random.next() * 2 * gapMs) {
    const what = random.pick(["append", "append", "append", "read", "read", "lookup"] as const);
    work.push({
      at,
      node: random.below(shape.nodes),
      client: random.below(2),
      key: random.below(shape.keys),
      what,
      count: random.chance(0.2) ? 1 + random.below(5) : 1,
      isKeyed: what === "append" && random.chance(keyed),
      timeoutMs,
    });
  }
  return work;
}

/** The share of seeds with a replicated store, and of those whose steps wait for replicas. */
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

/** The share of seeds that lose parts of resources, and that lose the whole registry. */
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
