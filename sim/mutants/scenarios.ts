/**
 * Directed scenarios: plans written by hand, each for one mutant that random faults catch too
 * rarely. The unmodified protocol passes all of them.
 */
import { makeOfflinePlan } from "../draw/draw_offline.ts";
import { makeRegionalPlan } from "../draw/draw_regions.ts";
import type { FaultEvent, Plan, Shape, WorkEvent } from "../plan/plan.ts";

/** Links on which every message takes 1 to 1.5 ms. */
const FAIR = { baseMs: 1, jitterMs: 0.5, tail: 0, tailMs: 0, loss: 0, duplicates: 0 };
const HEAL_AT = 10_000;
/** Longer than healing may take. */
const END_AT = 28_000;

/** A plan of these faults and this work; `shape` is what differs from the defaults. */
function scenario(
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

/** A fault of node `a` at `at` for `ms`, at full strength. */
function fault(at: number, kind: string, a: number, ms: number): FaultEvent {
  return { at, kind, a, b: 0, ms, x: 1 };
}

/** At `at` a client of a node appends to a key. */
function append(at: number, node: number, key: number = 0): WorkEvent {
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

/**
 * A replica is down, so that steps don't wait for it. It comes back, and one of the two is promoted
 * within the second for which the replicas' known state may be used. The former primary continues
 * with the other replica: steps that only they have must not count as confirmed.
 */
const backAndPromoted: Plan = scenario(
  { store: { isStream: true, timeoutMs: 3_000, lagMs: 5, isConfirmed: true } },
  [
    // Renewals at 3,000 find it down.
    fault(2_000, "replica_down", 0, 1_050),
    fault(3_090, "failover_planned", 0, 1_000),
  ],
  [
    append(1_500, 0),
    append(3_100, 0),
    append(6_000, 1),
  ],
);

/**
 * An owner's renewals are delayed and then all applied in time. Meanwhile the other node receives
 * nothing from the store, and requests the owner's death with the last heartbeat that it saw. The
 * owner's heartbeat has moved since: the owner must live.
 */
const blindKill: Plan = scenario(
  {},
  [
    // The renewals of 2,000 and 3,000 are applied at 3,500: the lease holds until 6,000.
    fault(1_900, "store_deaf", 0, 1_600),
    // At 3,000 the other node has seen the heartbeat of 1,000; at 4,270 it requests the death.
    fault(3_900, "store_mute", 1, 600),
  ],
  [
    append(1_500, 0),
    append(4_600, 1),
    append(4_700, 0),
  ],
);

/** The store is full for longer than a lease: it refuses turns, and renews both nodes' leases. */
const fullForLong: Plan = scenario(
  {},
  [fault(2_000, "store_full", 0, 4_000)],
  [append(1_500, 0), append(2_500, 0), append(3_500, 1), append(7_000, 1)],
);

/**
 * The store fails over and loses a claim while its owner can't reach it. The owner's lease holds for
 * some seconds: a node that finds the key free must wait for its end.
 */
const hastyClaim: Plan = scenario(
  { store: { isStream: true, timeoutMs: 3_000, lagMs: 500, isConfirmed: false } },
  [
    fault(5_200, "store_cut", 0, 4_000),
    fault(5_300, "failover", 0, 1),
  ],
  [
    append(5_100, 0),
    // The lease that was renewed at 5,000 holds until 8,000.
    append(5_600, 1),
    append(6_600, 0),
    append(6_700, 1),
  ],
);

/** At `at` a client of a node reads a key. */
function read(at: number, node: number): WorkEvent {
  return { ...append(at, node), what: "read" };
}

/**
 * A machine is suspended within 1 ms after its node has checked its lease, and wakes when another
 * node owns the key. Calls that arrived meanwhile are handled before its monotonic clock has moved
 * on.
 */
const suspendedAfterCheck: Plan = scenario(
  {},
  [fault(2_500.2, "suspend", 0, 6_000)],
  [
    append(1_500, 0),
    read(2_500, 0),
    append(7_000, 1),
    append(7_500, 1),
    read(8_400, 0),
  ],
);

const KEYS = [0, 1, 2, 3, 4, 5];

/**
 * Claims are delayed for up to 4 s while the node that sent them loses its lease and begins another
 * incarnation. What they win belongs to the dead incarnation, so that another node may take it
 * over: the new incarnation must not serve it.
 *
 * It uses several keys, because each claim's delay is drawn.
 */
const lateClaim: Plan = scenario(
  { keys: KEYS.length, store: { isStream: false, timeoutMs: 10_000 } },
  [
    fault(1_490, "store_clog", 0, 40),
    // The lease ends once the clocks are found to disagree, by 2,000 at the latest.
    fault(1_540, "wall_jump", 0, 0),
  ],
  [
    ...KEYS.map((key) => append(1_500, 0, key)),
    ...KEYS.map((key) => append(6_500, 1, key)),
    ...KEYS.map((key) => append(7_000, 0, key)),
  ],
);

/**
 * A key is released for a move, and has another owner by the time its forwarding address is written.
 * Drawn, not written by hand: it takes a claim at the old home between the two, while the path from
 * the departing node is slow.
 */
const lateDeparture: Plan = makeRegionalPlan(642);

/**
 * Turns of the offline log are being committed when the lease lapses again: the last answer comes to
 * an incarnation that has ended. Drawn, not written by hand: it takes two lapses of one node, the
 * second between a commit and its answer.
 */
const lateReconciliation: Plan = makeOfflinePlan(1355);

/**
 * Two nodes claim a key at two masters, neither having seen the other. The greater claim wins,
 * commits and is released, all while the node of the lesser claim is paused. When that node reads
 * the claims again it finds only its own, and must notice that it lost.
 */
const lateSecondLook: Plan = {
  ...scenario(
    { idleAfterMs: 300 },
    // The pause lasts from after its claim until the other claim was released.
    [fault(1_600, "pause", 1, 1_200)],
    [
      // The first epoch of the first master is greater than that of the second.
      append(1_500, 0),
      append(1_540, 1),
    ],
  ),
  masters: { count: 2, lagMs: 90, boundMs: 100, recheckMs: 500, isBounded: true },
};

/**
 * A failover loses an owner's turn while the owner can't reach the store. Its lease lapses; the other
 * node takes the key over and writes to it under a higher term. When the former owner reaches the
 * store again, the state has a later turn than its own but lacks its own: it must report that.
 */
const lostAndWrittenOver: Plan = scenario(
  {
    lease: { heartbeatMs: 300, leaseMs: 1_000 },
    store: { isStream: true, timeoutMs: 900, lagMs: 500, isConfirmed: false },
  },
  [
    fault(3_040, "store_cut", 0, 6_000),
    fault(3_100, "failover", 0, 1),
  ],
  [append(3_000, 0), append(6_500, 1), append(7_500, 1)],
);

/**
 * A call leaves work behind that waits for a round trip to the store and then appends. By then a
 * later call of the same journal is in the middle of its turn and waits for another node: the work's
 * write would be committed with that turn.
 */
const outlivedWork: Plan = scenario(
  { keys: 2 },
  [],
  [
    append(1_500, 0, 0),
    append(1_500, 1, 1),
    { ...append(3_000, 0, 0), leavesWork: true },
    // Through journal 0 to journal 1, which is at the other node.
    { ...append(3_000.5, 0, 1), path: [0] },
    { ...append(3_001, 0, 1), path: [0] },
    { ...append(3_001.5, 0, 1), path: [0] },
  ],
);

/**
 * An owner releases its key when idle, and a failover loses the turns before. Nobody owns the key; its
 * former owner must report what is missing.
 */
const releasedAndLost: Plan = scenario(
  {
    idleAfterMs: 100,
    store: { isStream: true, timeoutMs: 3_000, lagMs: 1_000, isConfirmed: false },
  },
  [fault(3_500, "failover", 0, 1)],
  [append(3_000, 0), append(3_010, 0), append(8_000, 1)],
);

/**
 * The answer of an owner's last renewal comes long after the lease has lapsed and the other node has
 * taken over: it must not revive the ownership.
 */
const revival: Plan = scenario(
  { store: { isStream: true, timeoutMs: 6_000 } },
  [
    // The renewal at 4,000 is applied; its answer arrives at 7,900, and no other after it.
    fault(3_900, "store_mute", 0, 4_000),
    fault(4_200, "store_deaf", 0, 8_000),
  ],
  [
    append(1_500, 0),
    append(7_600, 1),
    append(8_000, 0),
  ],
);

/**
 * The store fails right before a heartbeat and is back half a lease later. Both nodes' leases have
 * some time left then, but less than a heartbeat.
 */
const shortOutage: Plan = scenario(
  {},
  // The leases of 1,000 hold until 4,000; the heartbeats at 2,000 and 3,000 fail.
  [fault(1_990, "store_outage", 0, 1_450)],
  [append(1_500, 0), append(5_000, 1)],
);

/**
 * The store fails over and loses an owner's claim. The owner's reassertion to the new primary is
 * delayed, its renewals are not. They must not count before the reassertion has arrived: the other
 * node, which has waited for the takeover time, finds the key free.
 */
const slowReassertion: Plan = scenario(
  {
    lease: { heartbeatMs: 300, leaseMs: 1_000 },
    store: { isStream: false, timeoutMs: 10_000, lagMs: 500, isConfirmed: false },
  },
  [
    fault(3_100, "failover", 0, 1),
    // Between the renewal that finds the new primary and the reassertion that follows.
    fault(3_306.5, "store_clog", 0, 200),
  ],
  [
    append(3_050, 0),
    append(4_600, 1),
    append(4_700, 0),
  ],
);

/**
 * The answer of an owner's last renewal takes 2 s, and then the owner can't reach the store. Its
 * lease must lapse before the other node takes over: counted from the answer, it would hold for 2 s
 * more.
 */
const slowRenewal: Plan = scenario(
  {},
  [
    // The renewal at 4,000 is applied; its answer arrives at 6,000, and no other after it.
    fault(3_900, "store_mute", 0, 2_100),
    fault(4_200, "store_deaf", 0, 8_000),
  ],
  [
    append(1_500, 0),
    // The other node has not seen the heartbeat move for W, about 3,260 ms.
    append(7_600, 1),
    append(7_800, 0),
  ],
);

/** Starts another process twice under the name of one that serves and renews. */
const twins: Plan = scenario(
  {},
  [fault(4_500, "twin", 0, 0), fault(7_000, "twin", 0, 0)],
  [append(1_500, 0), append(6_000, 1), append(9_000, 0)],
);

/** Nodes 0 and 2 are in the east, 1 and 3 in the west, the home of this key. */
const KEY = 0;
const patient = (work: WorkEvent): WorkEvent => ({ ...work, timeoutMs: 9_000 });

/**
 * The path to an owner in another region drops what is sent, while its link stays open. A second
 * call is made once that was noticed, and can be forwarded by another node: it must not arrive
 * before the first, which TCP delivers once the path is open again.
 */
const unresponsiveLink: Plan = scenario(
  { nodes: 4, regions: { names: ["east", "west"], nearMs: 10, farMs: 10 } },
  [{ ...fault(2_500, "partition", 0, 5_000), b: 1 }],
  [
    append(1_000, 1, KEY),
    append(2_000, 0, KEY),
    patient(append(2_600, 0, KEY)),
    patient(append(6_000, 0, KEY)),
  ],
);

/** All scenarios by name. */
export const SCENARIOS: Readonly<Record<string, Plan>> = {
  slow_renewal: slowRenewal,
  slow_reassertion: slowReassertion,
  revival,
  late_claim: lateClaim,
  late_reconciliation: lateReconciliation,
  late_departure: lateDeparture,
  blind_kill: blindKill,
  hasty_claim: hastyClaim,
  late_second_look: lateSecondLook,
  unresponsive_link: unresponsiveLink,
  back_and_promoted: backAndPromoted,
  released_and_lost: releasedAndLost,
  lost_and_written_over: lostAndWrittenOver,
  short_outage: shortOutage,
  full_for_long: fullForLong,
  suspended_after_check: suspendedAfterCheck,
  twins,
  outlived_work: outlivedWork,
};

/** The scenario of this name. @throws Error if there is none */
export function scenarioOf(name: string): Plan {
  const plan = SCENARIOS[name];
  if (plan) return plan;
  throw new Error(`no scenario is called ${name}; there are: ${Object.keys(SCENARIOS).join(", ")}`);
}
