/**
 * Faults of a store whose replicas copy it with a lag: failovers that lose what was not copied,
 * known to all machines at once or to some of them later, and replicas that are down for a while.
 *
 * Drawn for plans whose store has replicas; no effect in others. A former primary continues only
 * where steps wait for replicas: `WITH_FORMER`.
 */
import { SeededRandom } from "../engine/random.ts";
import type { World } from "../engine/world.ts";
import type { FaultKind } from "./fault.ts";

/** The longest time in which a former primary becomes a replica, ms. */
const REJOIN_MS = 2_000;

/** Kinds in which a former primary goes on for a while. */
export const WITH_FORMER: ReadonlySet<string> = new Set([
  "failover_split",
  "failover_planned",
  "failover_stall",
]);

/** The former primary copies the current one `ms` later, unless everything was healed before. */
function rejoinAfter(world: World, ms: number): void {
  world.scheduler.after(ms, () => {
    if (!world.isHealed) world.store.rejoin();
  });
}

/**
 * The machines switch to the new primary `ms` later; after that the former one becomes a replica.
 */
function cutOverAfter(world: World, behind: readonly string[], ms: number): void {
  world.scheduler.after(ms, () => {
    if (world.isHealed) return;
    world.store.cutOver(behind);
    rejoinAfter(world, ms);
  });
}

export const FAILOVER_FAULTS: readonly FaultKind[] = [
  {
    name: "replica_lag",
    begin(world, { ms, x }) {
      const token = {};
      world.store.lag(token, x * 3_000);
      world.scheduler.after(ms, () => world.store.catchUp(token));
    },
  },
  {
    // A replica is down, and comes back.
    name: "replica_down",
    begin(world, { a, ms }) {
      const revive = world.store.stopReplica(a);
      if (revive) world.scheduler.after(ms, () => !world.isHealed && revive());
    },
  },
  {
    // The primary is gone; after a while a replica takes its place.
    name: "failover",
    begin(world, { ms, x }) {
      const promotion = { pick: null, behind: [], isBeside: false, toldAfterMs: 0 };
      if (!world.store.failover(promotion)) return;
      const token = {};
      world.store.crash(token);
      world.scheduler.after(ms * x, () => world.store.restart(token));
      rejoinAfter(world, ms * x + REJOIN_MS);
    },
  },
  {
    // Only the failover manager couldn't reach the primary: some machines still use it.
    name: "failover_split",
    begin(world, { a, b, ms }) {
      const behind = world.hosts.filter((_, index) => index === a || index === b);
      const promotion = { pick: null, behind, isBeside: false, toldAfterMs: 0 };
      if (world.store.failover(promotion)) cutOverAfter(world, behind, ms);
    },
  },
  {
    // An operator promotes any of the replicas; the former primary, with the other replica, goes on
    // serving all machines until they switch.
    name: "failover_planned",
    begin(world, { at, ms, x }) {
      const pick = new SeededRandom(Math.floor(at), "planned failover");
      const behind = world.hosts;
      const promotion = { pick, behind, isBeside: true, toldAfterMs: x * ms / 2 };
      if (world.store.failover(promotion)) cutOverAfter(world, behind, ms);
    },
  },
  {
    // The primary stalls, is replaced, and then goes on with the other replica.
    name: "failover_stall",
    begin(world, { ms, x }) {
      const token = {};
      world.store.pause(token);
      world.scheduler.after(x * 1_000, () => {
        const behind = world.hosts;
        const promotion = { pick: null, behind, isBeside: true, toldAfterMs: 0 };
        const isOver = world.isHealed || !world.store.failover(promotion);
        world.store.resume(token);
        if (!isOver) cutOverAfter(world, behind, ms);
      });
    },
  },
];
