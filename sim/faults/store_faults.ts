/** Faults of the store and of the paths to it. */
import { STORE_HOST } from "../engine/store.ts";
import type { FaultKind } from "./fault.ts";

export const STORE_FAULTS: readonly FaultKind[] = [
  {
    name: "store_outage",
    begin(world, { ms }) {
      const token = {};
      world.store.crash(token);
      world.scheduler.after(ms, () => world.store.restart(token));
    },
  },
  {
    name: "store_pause",
    begin(world, { ms }) {
      const token = {};
      world.store.pause(token);
      world.scheduler.after(ms, () => world.store.resume(token));
    },
  },
  {
    name: "store_slow",
    begin(world, { ms, x }) {
      const token = {};
      world.store.slow(token, x * 3_000);
      world.scheduler.after(ms, () => world.store.hurry(token));
    },
  },
  {
    // Requests don't arrive, or arrive late.
    name: "store_deaf",
    begin(world, { a, ms }) {
      world.block([[world.slot(a).host, STORE_HOST]], ms);
    },
  },
  {
    // Requests are done; their answers come late, or too late.
    name: "store_mute",
    begin(world, { a, ms }) {
      world.block([[STORE_HOST, world.slot(a).host]], ms);
    },
  },
  {
    name: "store_cut",
    begin(world, { a, ms }) {
      const { host } = world.slot(a);
      world.block([[host, STORE_HOST], [STORE_HOST, host]], ms);
    },
  },
  {
    name: "store_reset",
    begin(world, { a }) {
      world.store.tear(world.slot(a).host);
    },
  },
  {
    // One node's requests are on the road for long, and meet its successor's there.
    name: "store_clog",
    begin(world, { a, ms, x }) {
      const token = {};
      const path = world.paths.from(world.slot(a).host, STORE_HOST);
      path.clog(token, x * 4_000);
      world.scheduler.after(ms, () => path.unclog(token));
    },
  },
];

/** It has no room, or takes no writes, for a while; drawn apart from the others. */
export const STORE_FULL: FaultKind = {
  name: "store_full",
  begin(world, { ms, x }) {
    const token = {};
    world.store.refusals.begin(token, x < 0.5 ? "passing" : "lasting");
    world.scheduler.after(ms, () => world.store.refusals.end(token));
  },
};
