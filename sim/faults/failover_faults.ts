/**
 * What happens to a store with replicas that copy it late: failovers that lose what was
 * not copied yet, known to all machines at once or to some of them later.
 *
 * They are drawn for plans whose store has replicas, and do nothing in others.
 */
import type { FaultKind } from "./kind.ts";

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
    // The primary is gone; after a while a replica takes its place.
    name: "failover",
    begin(world, { ms, x }) {
      const token = {};
      world.store.crash(token);
      world.store.failover([]);
      world.scheduler.after(ms * x, () => world.store.restart(token));
    },
  },
  {
    // The primary was only cut off from those who replace it: some machines still ask it.
    name: "failover_split",
    begin(world, { a, b, ms }) {
      const behind = world.hosts.filter((_, index) => index === a || index === b);
      world.store.failover(behind);
      world.scheduler.after(ms, () => {
        if (!world.isHealed) world.store.cutOver(behind);
      });
    },
  },
];
