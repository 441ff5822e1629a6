/**
 * Draws the faults of one round and their times from the seed. The plan is the same each time; a
 * real run never repeats to the millisecond.
 */
import { SeededRandom } from "../sim/engine/random.ts";

/** All kinds of faults; the registry defines which faults of the store exist. */
export const FAULT_KINDS = [
  "kill",
  "freeze",
  "drain",
  "replace",
  "blackout",
  "redis_kill",
  "redis_freeze",
  "redis_planned",
] as const;

/**
 * - `kill`: SIGKILL of a node, started again under its name after `ms`.
 * - `freeze`: SIGSTOP of a node, SIGCONT after `ms`.
 * - `drain`: SIGTERM of a node, started again `ms` after it ended.
 * - `replace`: a node is frozen, a successor starts under its name, and the old one is resumed `ms`
 *   later and has to end.
 * - `blackout`: SIGKILL of all nodes at once, started again after `ms`.
 * - `redis_kill`, `redis_freeze`: the same for the Redis, or with sentinels for the master.
 * - `redis_planned`: a sentinel is ordered to promote a replica.
 */
export type FaultKind = typeof FAULT_KINDS[number];

/** A fault, `at` ms after the round began, for `ms`. */
export interface Fault {
  readonly at: number;
  readonly kind: FaultKind;
  /** The node, from 0; unused for `blackout` and faults of the store. */
  readonly node: number;
  readonly ms: number;
}

const WEIGHTS: Record<FaultKind, number> = {
  kill: 4,
  freeze: 4,
  drain: 3,
  replace: 2,
  blackout: 1,
  redis_kill: 2,
  redis_freeze: 2,
  redis_planned: 2,
};
/** How much more often faults of the store are drawn if there are sentinels. */
const OFTENER = 4;
/** The longest pause between two faults is twice the mean, drawn for each round. */
const MEAN_GAPS_MS = [1_200, 2_000, 3_500];
/** The end of a round without new faults, so that the last ones take effect, in ms. */
const QUIET_MS = 1_500;

/** The faults of a round, in order. `lengthMs` is the time until it is healed. */
export function drawFaults(
  seed: number,
  round: number,
  lengthMs: number,
  nodes: number,
  there: readonly FaultKind[],
): Fault[] {
  const random = new SeededRandom(seed, `chaos ${round}`);
  const kinds = drawKinds(random, there);
  const gapMs = random.pick(MEAN_GAPS_MS);
  const faults: Fault[] = [];
  let at = 500 + random.next() * gapMs;
  while (at < lengthMs - QUIET_MS) {
    const kind = random.pick(kinds);
    const ms = Math.round(random.chance(0.5) ? random.between(50, 1_500) : longMs(random, kind));
    faults.push({ at: Math.round(at), kind, node: random.below(nodes), ms });
    at += random.next() * 2 * gapMs;
  }
  return faults;
}

/** Each kind as often as its weight; some are left out, because an even mix finds less. */
function drawKinds(random: SeededRandom, there: readonly FaultKind[]): FaultKind[] {
  const drawn = there.filter(() => random.chance(0.7));
  const kinds = drawn.length > 0 ? drawn : there;
  // If servers replace each other, failovers matter most.
  const times = there.includes("redis_planned") ? OFTENER : 1;
  return kinds.flatMap((kind) => {
    const weight = WEIGHTS[kind] * (kind.startsWith("redis") ? times : 1);
    return Array.from({ length: weight }, () => kind);
  });
}

/** Longer than a `fast` lease if another node has to take over. */
function longMs(random: SeededRandom, kind: FaultKind): number {
  return kind === "freeze" || kind === "replace"
    ? random.between(3_000, 8_000)
    : random.between(1_500, 6_000);
}
