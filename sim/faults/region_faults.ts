/**
 * Faults of regions: their stores fail one by one, regions are partitioned from each other, and
 * keys are moved between them at the same time.
 */
import { JOURNALS } from "../engine/journal_app.ts";
import type { FaultEvent } from "../plan/plan.ts";
import { type SimRegions, storeHost } from "../engine/regional_stores.ts";
import type { World } from "../engine/world.ts";
import type { FaultKind } from "./fault.ts";

/** The longest that a move may take, ms. */
const MOVE_MS = 5_000;

export const REGION_FAULTS: readonly FaultKind[] = [
  {
    name: "region_outage",
    begin(world, { a, ms }) {
      const token = {};
      const store = regionsOf(world).store(a);
      store.crash(token);
      world.scheduler.after(ms, () => store.restart(token));
    },
  },
  {
    name: "region_pause",
    begin(world, { a, ms }) {
      const token = {};
      const store = regionsOf(world).store(a);
      store.pause(token);
      world.scheduler.after(ms, () => store.resume(token));
    },
  },
  {
    name: "region_slow",
    begin(world, { a, ms, x }) {
      const token = {};
      const store = regionsOf(world).store(a);
      store.slow(token, x * 3_000);
      world.scheduler.after(ms, () => store.hurry(token));
    },
  },
  {
    // No message enters or leaves the region; inside it works.
    name: "region_partition",
    begin(world, { a, ms }) {
      const inside = hostsIn(world, regionsOf(world).name(a));
      const outside = allHosts(world).filter((host) => !inside.includes(host));
      world.block(
        inside.flatMap((one): [string, string][] =>
          outside.flatMap((other): [string, string][] => [[one, other], [other, one]])
        ),
        ms,
      );
    },
  },
  {
    // A node can't reach one region's store, or receives nothing from it.
    name: "region_store_cut",
    begin(world, { a, b, ms, x }) {
      const { host } = world.slot(a);
      const store = storeHost(regionsOf(world).name(b));
      const out: [string, string] = [host, store];
      const back: [string, string] = [store, host];
      world.block(x < 0.3 ? [out] : x < 0.7 ? [back] : [out, back], ms);
    },
  },
  {
    name: "region_store_clog",
    begin(world, { a, b, ms, x }) {
      const token = {};
      const path = world.paths.from(world.slot(a).host, storeHost(regionsOf(world).name(b)));
      path.clog(token, x * 4_000);
      world.scheduler.after(ms, () => path.unclog(token));
    },
  },
  {
    // The whole region: its store, and every process in it.
    name: "region_loss",
    begin(world, { a, ms }) {
      const token = {};
      const regions = regionsOf(world);
      const store = regions.store(a);
      const lost = world.slots.filter(({ region }) => region === regions.name(a));
      store.crash(token);
      for (const { index } of lost) world.crash(index);
      world.scheduler.after(ms, () => store.restart(token));
      for (const { index } of lost) world.scheduler.after(ms, () => world.start(index));
    },
  },
];

/** Moves of keys, which every plan with regions has. */
export const MOVES: readonly FaultKind[] = [
  { name: "move", begin: move },
  {
    // Some time after the move began, the node that requested it is killed, or a node of the target
    // region.
    name: "move_crash",
    begin(world, fault) {
      const { a, b, ms, x } = fault;
      move(world, fault);
      const region = regionsOf(world).name(b);
      const target = world.slots.find((slot) => slot.region === region)?.index ?? a;
      const victim = x < 0.5 ? a : target;
      world.scheduler.after(ms % 600, () => world.crash(victim));
      world.scheduler.after(ms % 600 + 500, () => world.start(victim));
    },
  },
];

/** Lost forwarding addresses: only in plans in which owners stay alive and reach all regions. */
export const LOSSES: readonly FaultKind[] = [
  {
    name: "addresses_lost",
    begin(world, { a }) {
      const keys = Array.from({ length: world.shape.keys }, (_, i) => `${JOURNALS}/k${i}`);
      regionsOf(world).forget(a, keys);
    },
  },
];

/** Makes a node move one of the keys to one of the regions. */
function move(world: World, { a, b, x }: FaultEvent): void {
  const { process, node } = world.slot(a).current ?? {};
  const key = `k${Math.floor(x * 9_973) % world.shape.keys}`;
  const region = regionsOf(world).name(b);
  process?.enter(() => {
    node?.move(JOURNALS, key, region, { timeoutMs: MOVE_MS }).then(
      ({ epoch }) => world.trace.note("moved", key, region, epoch),
      // The key may have moved or not: the checkers judge what clients see.
      () => world.trace.note("not moved", key, region),
    );
  });
}

function regionsOf({ regions }: World): SimRegions {
  if (regions) return regions;
  throw new Error("a world without regions has no region's faults");
}

function hostsIn({ slots }: World, region: string): string[] {
  return [...slots.filter((slot) => slot.region === region).map(({ host }) => host)]
    .concat(storeHost(region));
}

function allHosts(world: World): string[] {
  return regionsOf(world).names.flatMap((region) => hostsIn(world, region));
}
