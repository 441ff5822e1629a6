/**
 * Losses of a store without replicas: one part of a resource (Redis evicts keys, or someone deletes
 * them), or everything (the file is replaced, or Redis is flushed).
 *
 * Drawn for plans whose store has no replicas; no effect in others.
 */
import { JOURNALS } from "../engine/journal_app.ts";
import { StoreState } from "../../adapters/store/store_state.ts";
import type { World } from "../engine/world.ts";
import type { FaultKind } from "./fault.ts";

const PARTS = ["index", "state", "epoch"] as const;

function isAlone({ shape, regions, isHealed }: World): boolean {
  return shape.store.lagMs === undefined && !regions && !isHealed;
}

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
    // Under nodes that run: they have met the former one.
    name: "registry_replaced",
    begin(world) {
      if (!isAlone(world)) return;
      const { scheduler, observer, trace, store } = world;
      const former = store.state;
      if (!world.slots.some(({ current }) => current?.node)) return;
      // One that had met the former is the first to ask the new one. Where none is left that had,
      // nobody can know that there was another.
      const { lineage } = former.renew("", 0, []);
      store.state = new StoreState(`${former.id}+`);
      store.state.renew("", 0, [], { ...lineage, waited: false });
      trace.note("registry replaced");
      observer.failedOver(former, store.state, scheduler.now);
      for (const host of world.hosts) store.tear(host);
    },
  },
];
