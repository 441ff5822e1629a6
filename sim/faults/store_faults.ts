/** Faults of the store and of the paths to it. */
import { StoreState } from "../../adapters/store/store_state.ts";
import { JOURNALS } from "../engine/journal_app.ts";
import { masterHost, type SimMasters } from "../engine/masters.ts";
import { STORE_HOST } from "../engine/store.ts";
import type { World } from "../engine/world.ts";
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
    // Requests are applied; their answers arrive late, or too late.
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
    // One node's requests are delayed, and arrive among those of its successor.
    name: "store_clog",
    begin(world, { a, ms, x }) {
      const token = {};
      const path = world.paths.from(world.slot(a).host, STORE_HOST);
      path.clog(token, x * 4_000);
      world.scheduler.after(ms, () => path.unclog(token));
    },
  },
];

/** The store has no memory left, or accepts no writes, for a while; drawn separately. */
export const STORE_FULL: FaultKind = {
  name: "store_full",
  begin(world, { ms, x }) {
    const token = {};
    world.store.refusals.begin(token, x < 0.5 ? "passing" : "lasting");
    world.scheduler.after(ms, () => world.store.refusals.end(token));
  },
};

const PARTS = ["index", "state", "epoch"] as const;

function isAlone({ shape, regions, isHealed }: World): boolean {
  return shape.store.lagMs === undefined && !regions && !isHealed;
}

/**
 * Losses of a store without replicas: one part of a resource (Redis evicts keys, or someone deletes
 * them), or everything (the file is replaced, or Redis is flushed).
 *
 * Drawn for plans whose store has no replicas; no effect in others.
 */
export const LOSS_FAULTS: readonly FaultKind[] = [
  {
    name: "part_lost",
    begin(world, { at, a, x }) {
      if (!isAlone(world)) return;
      const { scheduler, observer, trace, shape, store: { state } } = world;
      const key = `${JOURNALS}/k${(Math.floor(at) + a) % shape.keys}`;
      const part = PARTS[Math.floor(x * PARTS.length)] ?? "state";
      const before = state.copyOf(key);
      if (!state.losePart(key, part)) return;
      trace.note("part lost", key, part);
      if (part === "state") observer.stateLost(key, before, scheduler.now);
    },
  },
  {
    // Nodes run that have used the former registry.
    name: "registry_replaced",
    begin(world) {
      if (!isAlone(world)) return;
      const { scheduler, observer, trace, store } = world;
      const former = store.state;
      if (!world.slots.some(({ current }) => current?.node)) return;
      // A node that has used the former registry uses the new one first. If there is no such node,
      // no node can know that there was another registry.
      const { lineage } = former.renew("", 0, []);
      store.state = new StoreState(`${former.id}+`);
      store.state.renew("", 0, [], { ...lineage, waited: false });
      trace.note("registry replaced");
      observer.failedOver(former, store.state, scheduler.now);
      for (const host of world.hosts) store.tear(host);
    },
  },
];

/**
 * Faults of masters that replicate to each other: replication stops, and nodes lose their own
 * master. Drawn for plans with several masters.
 */
export const MASTERS_FAULTS: readonly FaultKind[] = [
  {
    // A node can't reach its master, or receives nothing from it.
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
    // One node's requests are delayed, and arrive among those of its successor.
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

/** Replication stops: its bound doesn't hold. */
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
