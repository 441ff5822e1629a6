/**
 * Faults of masters that replicate to each other: replication stops, and nodes lose their own
 * master. Drawn for plans with several masters.
 */
import { masterHost, type SimMasters } from "../engine/masters.ts";
import type { World } from "../engine/world.ts";
import type { FaultKind } from "./fault.ts";

export const MASTERS_FAULTS: readonly FaultKind[] = [
  {
    // A node can't reach its master, or hears nothing of it.
    name: "master_cut",
    begin(world, { a, ms, x }) {
      const { host } = world.slot(a);
      const master = masterHost(mastersOf(world).masterOf(a));
      const out: [string, string] = [host, master];
      const back: [string, string] = [master, host];
      world.block(x < 0.3 ? [out] : x < 0.7 ? [back] : [out, back], ms);
    },
  },
  {
    // One node's requests are on the road for long, and meet its successor's there.
    name: "master_clog",
    begin(world, { a, ms, x }) {
      const token = {};
      const master = masterHost(mastersOf(world).masterOf(a));
      const path = world.paths.from(world.slot(a).host, master);
      path.clog(token, x * 4_000);
      world.scheduler.after(ms, () => path.unclog(token));
    },
  },
];

/** Copying takes longer than any bound: what is promised within one isn't then. */
export const MASTERS_SPLIT: FaultKind = {
  name: "masters_split",
  begin(world, { ms }) {
    const token = {};
    mastersOf(world).split(token);
    world.scheduler.after(ms, () => mastersOf(world).mend(token));
  },
};

function mastersOf({ masters }: World): SimMasters {
  if (masters) return masters;
  throw new Error("a world with one order of writes has no masters' faults");
}
