/** Faults of the paths between nodes. */
import { STORE_HOST } from "../engine/store.ts";
import type { FaultEvent } from "../plan/plan.ts";
import type { FaultKind } from "./fault.ts";

export const NETWORK_FAULTS: readonly FaultKind[] = [
  {
    name: "one_way_partition",
    begin(world, { a, b, ms }) {
      world.block([[world.slot(a).host, world.slot(b).host]], ms);
    },
  },
  {
    name: "partition",
    begin(world, { a, b, ms }) {
      const [one, other] = [world.slot(a).host, world.slot(b).host];
      world.block([[one, other], [other, one]], ms);
    },
  },
  {
    // A node receives nothing from other nodes, or other nodes receive nothing from it. The store
    // is reachable.
    name: "isolation",
    begin(world, { a, ms, x }) {
      const one = world.slot(a).host;
      const paths = world.hosts.filter((host) => host !== one).flatMap((host) => {
        const out: [string, string] = [one, host];
        const back: [string, string] = [host, one];
        return x < 0.25 ? [out] : x < 0.5 ? [back] : [out, back];
      });
      world.block(paths, ms);
    },
  },
  {
    name: "clog",
    begin(world, { a, b, ms, x }) {
      const token = {};
      const path = world.paths.from(world.slot(a).host, world.slot(b).host);
      path.clog(token, 20 + x * 2_000);
      world.scheduler.after(ms, () => path.unclog(token));
    },
  },
  {
    name: "link_break",
    begin(world, { a, b }) {
      world.network.tear(world.slot(a).host, world.slot(b).host);
      world.network.tear(world.slot(b).host, world.slot(a).host);
    },
  },
  {
    name: "dial_failure",
    begin(world, { ms }) {
      const token = {};
      world.network.refuseDials(token);
      world.scheduler.after(ms, () => world.network.allowDials(token));
    },
  },
];

/** The least `x` with which the node's links break once while the store is unreachable. */
const BREAKS = 0.5;

/** Whether links break, too. */
export function breaksLinks({ x }: FaultEvent): boolean {
  return x >= BREAKS;
}

/** One node can't reach the store. Its links stay, or break once and can be dialled again. */
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
