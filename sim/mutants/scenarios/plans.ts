/**
 * The bare stage of directed scenarios: two nodes in fair weather, nothing that happens
 * but what the play itself says. Node 0's heartbeats come at about 0, 1,000, 2,000 ms, and
 * node 1's some ms after each.
 */
import type { FaultEvent, Plan, Shape, WorkEvent } from "../../plan/plan.ts";

/** Roads on which everything takes 1 to 1.5 ms. */
const FAIR = { baseMs: 1, jitterMs: 0.5, tail: 0, tailMs: 0, loss: 0, duplicates: 0 };
const HEAL_AT = 10_000;
/** Long enough for the slowest healing that is allowed. */
const END_AT = 28_000;

/** A plan of these faults and this work; `shape` is what differs from the bare stage. */
export function scenario(
  shape: Partial<Shape>,
  faults: readonly FaultEvent[],
  work: readonly WorkEvent[],
): Plan {
  const bare: Shape = {
    nodes: 2,
    keys: 1,
    lease: { heartbeatMs: 1_000, leaseMs: 3_000 },
    idleAfterMs: 60_000,
    store: { isStream: true, timeoutMs: 3_000 },
    linkConditions: FAIR,
    drift: 0,
  };
  return { seed: 0, shape: { ...bare, ...shape }, faults, work, healAt: HEAL_AT, endAt: END_AT };
}

/** From `at` on, for `ms`, something goes wrong with node `a`, as badly as can be. */
export function fault(at: number, kind: string, a: number, ms: number): FaultEvent {
  return { at, kind, a, b: 0, ms, x: 1 };
}

/** At `at` a client of a node appends to a key. */
export function append(at: number, node: number, key: number = 0): WorkEvent {
  return {
    at,
    node,
    client: 0,
    key,
    what: "append",
    count: 1,
    isKeyed: false,
    timeoutMs: 3_000,
  };
}
