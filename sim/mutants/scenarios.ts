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
/** Long enough for the slowest healing that is allowed. */
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

/** From `at` on, for `ms`, something goes wrong with node `a`, as badly as can be. */
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
 * A replica is down and left out of what steps wait for. It comes back, and one of the two is
 * promoted, within the second for which a look at the replicas may be kept. The former primary
 * goes on with the other one beside it: what they alone have must not count.
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
 * An owner's renewals are held up, then all done in time; the other node receives nothing from
 * the store meanwhile, and asks for the owner's death on the strength of what it last saw.
 * The owner's heartbeat has moved since: it must live.
 */
const blindKill: Plan = scenario(
  {},
  [
    // The renewals at 2,000 and 3,000 are done at 3,500: the lease holds until 6,000.
    fault(1_900, "store_deaf", 0, 1_600),
    // At 3,000 the other node has seen 1,000's heartbeat; at 4,270 it asks, unaware of more.
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
 * The store fails over and loses a claim while its owner can't reach it. The owner's
 * lease lasts for some seconds yet: whoever finds the key free must wait for its end.
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

const KEYS = [0, 1, 2, 3, 4, 5];

/**
 * Claims are on the path for up to four seconds while the node that sent them loses its
 * lease and begins another life. What they win belongs to the dead: another may take it at
 * any time, so the new life must not serve it.
 *
 * Several keys, because each claim's delay is drawn.
 */
const lateClaim: Plan = scenario(
  { keys: KEYS.length, store: { isStream: false, timeoutMs: 10_000 } },
  [
    fault(1_490, "store_clog", 0, 40),
    // The lease is over as soon as the clocks are seen to disagree, by 2,000 at the latest.
    fault(1_540, "wall_jump", 0, 0),
  ],
  [
    ...KEYS.map((key) => append(1_500, 0, key)),
    ...KEYS.map((key) => append(6_500, 1, key)),
    ...KEYS.map((key) => append(7_000, 0, key)),
  ],
);

/**
 * A key is released so as to move, and has another owner by the time at which its new
 * address is written. Drawn, not written by hand: it takes a claim at the old home between
 * the two, while the path from the one who leaves is slow.
 */
const lateDeparture: Plan = makeRegionalPlan(642);

/**
 * What was kept without the store is being committed when the lease runs out again: the
 * last answer comes to a life that is over. Drawn, not written by hand: it takes two
 * lapses of one node, the second between a commit and its answer.
 */
const lateLanding: Plan = makeOfflinePlan(1355);

/**
 * Two nodes claim a key at two masters, neither having seen the other. The greater claim
 * wins, commits and is given back, all while the lesser one's node stands still: when that
 * looks for the second time it is alone, and must find that it lost.
 */
const lateSecondLook: Plan = {
  ...scenario(
    { idleAfterMs: 300 },
    // From after its claim until the other has long been given back.
    [fault(1_600, "pause", 1, 1_200)],
    [
      // Of the first epochs at two masters the first one's is the greater.
      append(1_500, 0),
      append(1_540, 1),
    ],
  ),
  masters: { count: 2, lagMs: 90, boundMs: 100, recheckMs: 500, isBounded: true },
};

/**
 * A failover loses an owner's turn while the owner is cut off from the store. Its lease lapses,
 * the other node takes the key over and writes to it under a higher term. When the former owner
 * reaches the store again, the state has a later turn than its own, and lacks its own all the
 * same: it must say so.
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
 * A call leaves work behind that waits for a round trip to the store and then appends. By then
 * a later call of the same journal waits for another node, in the middle of its turn: what the
 * work writes would be committed with that one.
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
 * An owner lets its key go after a rest, and a failover loses the turns of before. Nobody owns
 * the key; who had owned it must say what is missing.
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
 * The answer of an owner's last renewal comes when the lease has long run out and the
 * other node has taken over: it must not bring the owner back to life.
 */
const revival: Plan = scenario(
  { store: { isStream: true, timeoutMs: 6_000 } },
  [
    // The renewal at 4,000 is done; its answer comes at 7,900, and nothing is heard after it.
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
 * The store goes away right before a heartbeat, and is back half a lease later: both nodes' leases
 * have some time left then, but less than a heartbeat.
 */
const shortOutage: Plan = scenario(
  {},
  // The leases of 1,000 hold until 4,000; the heartbeats at 2,000 and 3,000 fail.
  [fault(1_990, "store_outage", 0, 1_450)],
  [append(1_500, 0), append(5_000, 1)],
);

/**
 * The store fails over and loses an owner's claim; what the owner says to the new primary
 * is long on the path, while its renewals are not. They must not count before it has
 * come: the other node, who has waited for the takeover time, finds the key free.
 */
const slowReassertion: Plan = scenario(
  {
    lease: { heartbeatMs: 300, leaseMs: 1_000 },
    store: { isStream: false, timeoutMs: 10_000, lagMs: 500, isConfirmed: false },
  },
  [
    fault(3_100, "failover", 0, 1),
    // Between the renewal that hears of the new primary and the reassertion that follows.
    fault(3_306.5, "store_clog", 0, 200),
  ],
  [
    append(3_050, 0),
    append(4_600, 1),
    append(4_700, 0),
  ],
);

/**
 * The answer of an owner's last renewal is two seconds on its way, and then the owner is
 * cut off. Its lease must have run out before the other node takes over: counted from the
 * answer, it has two seconds left.
 */
const slowRenewal: Plan = scenario(
  {},
  [
    // The renewal at 4,000 is done; its answer comes at 6,000, and nothing is heard after it.
    fault(3_900, "store_mute", 0, 2_100),
    fault(4_200, "store_deaf", 0, 8_000),
  ],
  [
    append(1_500, 0),
    // The other node has seen 4,000's heartbeat stand still for W, about 3,260 ms.
    append(7_600, 1),
    append(7_800, 0),
  ],
);

/** Twice another process is started under the name of one that serves and renews. */
const twins: Plan = scenario(
  {},
  [fault(4_500, "twin", 0, 0), fault(7_000, "twin", 0, 0)],
  [append(1_500, 0), append(6_000, 1), append(9_000, 0)],
);

/** Nodes 0 and 2 are in the east, 1 and 3 in the west, where this key is at home. */
const KEY = 0;
const patient = (work: WorkEvent): WorkEvent => ({ ...work, timeoutMs: 9_000 });

/**
 * The path to an owner in another region swallows what is sent, while its link stays open. A
 * second call is made once that was noticed, and there is another node to go through: it must
 * not arrive before the first, which TCP delivers once the path is open again.
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
  late_landing: lateLanding,
  late_departure: lateDeparture,
  blind_kill: blindKill,
  hasty_claim: hastyClaim,
  late_second_look: lateSecondLook,
  silent_link: unresponsiveLink,
  back_and_promoted: backAndPromoted,
  released_and_lost: releasedAndLost,
  lost_and_written_over: lostAndWrittenOver,
  short_outage: shortOutage,
  full_for_long: fullForLong,
  twins,
  outlived_work: outlivedWork,
};

/** The scenario of this name. @throws Error where there is none */
export function scenarioOf(name: string): Plan {
  const plan = SCENARIOS[name];
  if (plan) return plan;
  throw new Error(`no scenario is called ${name}; there are: ${Object.keys(SCENARIOS).join(", ")}`);
}
