/**
 * Draws the faults and link conditions of a user's simulation from a seed; gives the plan that the
 * simulator runs.
 */
import type { App } from "../../src/api/app.ts";
import { timing } from "../../src/registry/lease.ts";
import type { FaultEvent, RunPlan, Shape } from "../plan/plan.ts";
import { drawFaults, drawShape } from "../draw/draw_resources.ts";
import { SeededRandom } from "../engine/random.ts";
import type { FaultRate, Settings } from "./options.ts";

/** The longest that clients and the check may take once everything is healed, ms. */
export const END_MS: number = 300_000;
const CALM: readonly FaultRate[] = [
  { kind: "link_break", perMinute: 6 },
  { kind: "drain", perMinute: 2, ms: 500 },
  { kind: "crash", perMinute: 1, ms: 1_000 },
];

/** The plan of one seed. */
export function planOf<A extends App>(settings: Settings<A>, seed: number): RunPlan {
  const { durationMs, faults } = settings;
  const shape = shapeOf(settings, seed);
  const random = new SeededRandom(seed, "faults");
  const rates = faults === "none" ? [] : faults === "calm" ? CALM : faults;
  return {
    seed,
    shape,
    faults: rates === "wild"
      ? drawFaults(random, shape, durationMs)
      : drawRates(random, rates, shape, durationMs),
    healAt: durationMs,
    endAt: durationMs + END_MS,
  };
}

/** How long a cluster of this shape may take to serve again after healing, ms. */
export function settleMs({ lease, store }: Shape): number {
  return 2 * timing(lease).takeoverMs + store.timeoutMs + 1_000;
}

function shapeOf<A extends App>({ faults, places }: Settings<A>, seed: number): Shape {
  const random = new SeededRandom(seed, "shape");
  const drawn = drawShape(random);
  // The app decides how long a resource stays in memory, and how many there are.
  const shape = { ...drawn, nodes: places.length, places, keys: 0, idleAfterMs: 0 };
  if (faults === "wild") return shape;
  return {
    ...shape,
    linkConditions: { ...drawn.linkConditions, tail: 0, loss: 0, duplicates: 0 },
    drift: faults === "none" ? 0 : drawn.drift,
  };
}

function drawRates(
  random: SeededRandom,
  rates: readonly (string | FaultRate)[],
  shape: Shape,
  until: number,
): FaultEvent[] {
  const faults = rates.flatMap((rate) => {
    const { kind, perMinute = 6, ms = 1_500 } = typeof rate === "string" ? { kind: rate } : rate;
    const gapMs = 60_000 / perMinute;
    const events: FaultEvent[] = [];
    for (let at = random.next() * 2 * gapMs; at < until; at += random.next() * 2 * gapMs) {
      events.push({
        at,
        kind,
        a: random.below(shape.nodes),
        b: random.below(shape.nodes),
        ms: random.next() * 2 * ms,
        x: random.next(),
      });
    }
    return events;
  });
  return faults.sort((one, other) => one.at - other.at);
}
