/** Nodes lose only the store: links between nodes stay open, or can be opened again. */
import { STORE_HOST } from "../engine/store.ts";
import type { FaultEvent } from "../plan/plan.ts";
import type { FaultKind } from "./fault.ts";

/** From which `x` on the node's links break once while the store is away. */
const BREAKS = 0.5;

/** Whether links break besides. */
export function breaksLinks({ x }: FaultEvent): boolean {
  return x >= BREAKS;
}

/** The store is out of one node's reach. Its links live on, or break once and can be dialled. */
export const STORE_AWAY: FaultKind = {
  name: "store_away",
  begin(world, fault) {
    const { a, ms, x } = fault;
    const { host } = world.slot(a);
    world.block([[host, STORE_HOST], [STORE_HOST, host]], ms);
    if (!breaksLinks(fault)) return;
    world.scheduler.after(ms * x, () => {
      if (world.isHealed) return;
      for (const other of world.hosts) {
        world.network.tear(host, other);
        world.network.tear(other, host);
      }
    });
  },
};
