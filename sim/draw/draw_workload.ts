/**
 * Adds unusual calls to a plan: chains through several journals, cycles, aborted calls, bursts, and
 * calls of unused names. Each seed has only some of these kinds.
 */
import type { Shape, WorkEvent } from "../plan/plan.ts";
import type { SeededRandom } from "../engine/random.ts";

/** Options of a seed's journals and nodes. */
export type WorkloadOptions = Pick<Shape, "gateways" | "mailbox" | "isReentrant">;

/** The time limit of a call through several journals, in ms: it blocks all of them. */
const CHAIN_MS = 400;
/** A burst that overflows a small mailbox. */
const CROWD = 12;
const SMALL_MAILBOX = 4;
const LONGEST_CHAIN = 3;

/** How journals and nodes behave in one simulation. */
export function drawWorkloadOptions(random: SeededRandom, { nodes }: Shape): WorkloadOptions {
  return {
    gateways: random.chance(0.2) ? 1 + random.below(nodes - 1) : 0,
    mailbox: random.chance(0.25) ? SMALL_MAILBOX : undefined,
    isReentrant: random.chance(0.3),
  };
}

/** The work with calls added and some calls changed. */
export function addWorkload(
  random: SeededRandom,
  shape: Shape,
  work: readonly WorkEvent[],
): WorkEvent[] {
  const giveUps = random.pick([0, 0, 0.2]);
  const chains = random.pick([0, 0, 0.1, 0.2]);
  const crowds = random.pick([0, 0, 0.05]);
  const fresh = random.pick([0, 0.03, 0.1]);
  const confirmed = random.pick([0, 0.5, 1]);
  let names = shape.keys;
  return work.flatMap((event) => {
    let changed = event;
    if (event.what === "lookup") changed = { ...event, isConfirmed: random.chance(confirmed) };
    else if (random.chance(giveUps)) {
      changed = { ...event, giveUpMs: random.next() * random.pick([5, 50, 500]) };
    }
    if (event.what === "append" && random.chance(crowds)) {
      changed = { ...changed, count: 2 + random.below(CROWD) };
    }
    const more: WorkEvent[] = [];
    if (random.chance(chains)) more.push(drawChain(random, shape, event));
    if (random.chance(fresh)) more.push(drawFresh(random, event, names++));
    return [changed, ...more];
  });
}

/** A call through several journals, which may visit one of them twice. */
function drawChain(random: SeededRandom, { keys }: Shape, event: WorkEvent): WorkEvent {
  const length = 1 + random.below(LONGEST_CHAIN);
  const path = Array.from({ length }, () => random.below(keys));
  const comesBack = new Set([...path, event.key]).size <= length;
  return {
    ...event,
    what: "append",
    path,
    count: 1,
    // A reentrant call joins the turn that waits for it, so it has no idempotency key.
    isKeyed: !comesBack && random.chance(0.5),
    timeoutMs: Math.min(event.timeoutMs, CHAIN_MS),
  };
}

/** A burst of calls for an unused name, through one node or through all. */
function drawFresh(random: SeededRandom, event: WorkEvent, key: number): WorkEvent {
  return {
    ...event,
    what: "append",
    key,
    count: 1 + random.below(4),
    isEverywhere: random.chance(0.5),
    isKeyed: random.chance(0.5),
  };
}
