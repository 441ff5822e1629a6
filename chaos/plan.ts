/**
 * The script of one round, drawn from the seed before it begins: what goes wrong when.
 *
 * Takes a seed and the number of a round; gives plain data, the same each time. What the
 * processes make of it is theirs: a real schedule never repeats to the millisecond.
 */
import { SeededRandom } from "../sim/random.ts";

/** All kinds of faults; those of the store need a Redis. */
export const FAULT_KINDS = [
  "kill",
  "freeze",
  "drain",
  "replace",
  "blackout",
  "redis_kill",
  "redis_freeze",
] as const;

/**
 * - `kill`: SIGKILL of a node, started again under its name after `ms`.
 * - `freeze`: SIGSTOP of a node, SIGCONT after `ms`.
 * - `drain`: SIGTERM of a node, started again `ms` after it ended.
 * - `replace`: a node is frozen, a successor starts under its name, the old one wakes
 *   `ms` later and has to go.
 * - `blackout`: SIGKILL of all nodes at once, started again after `ms`.
 * - `redis_kill`, `redis_freeze`: the same of the Redis.
 */
export type FaultKind = typeof FAULT_KINDS[number];

/** Something that goes wrong, `at` ms after the round began, for `ms`. */
export interface Fault {
  readonly at: number;
  readonly kind: FaultKind;
  /** The node it happens to, from 0; of no meaning for `blackout` and the store's. */
  readonly place: number;
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
};
/** The longest pause between two faults is twice the mean, drawn for each round. */
const MEAN_GAPS_MS = [1_200, 2_000, 3_500];
/** Ends of a round without further faults: what began last has time to bite. */
const QUIET_MS = 1_500;

/** The faults of a round, in order. `lengthMs` is how long it goes on before it is healed. */
export function drawFaults(
  seed: number,
  round: number,
  lengthMs: number,
  places: number,
  hasRedis: boolean,
): Fault[] {
  const random = new SeededRandom(seed, `chaos ${round}`);
  const kinds = drawKinds(random, hasRedis);
  const gapMs = random.pick(MEAN_GAPS_MS);
  const faults: Fault[] = [];
  let at = 500 + random.next() * gapMs;
  while (at < lengthMs - QUIET_MS) {
    const kind = random.pick(kinds);
    const ms = Math.round(random.chance(0.5) ? random.between(50, 1_500) : longMs(random, kind));
    faults.push({ at: Math.round(at), kind, place: random.below(places), ms });
    at += random.next() * 2 * gapMs;
  }
  return faults;
}

/** Each kind as often as it weighs; some are left out, because an even mix finds less. */
function drawKinds(random: SeededRandom, hasRedis: boolean): FaultKind[] {
  const there = FAULT_KINDS.filter((kind) => hasRedis || !kind.startsWith("redis"));
  const drawn = there.filter(() => random.chance(0.7));
  const kinds = drawn.length > 0 ? drawn : there;
  return kinds.flatMap((kind) => Array.from({ length: WEIGHTS[kind] }, () => kind));
}

/** Longer than a `fast` lease where that matters: another node has to take over. */
function longMs(random: SeededRandom, kind: FaultKind): number {
  return kind === "freeze" || kind === "replace"
    ? random.between(3_000, 8_000)
    : random.between(1_500, 6_000);
}
