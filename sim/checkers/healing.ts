/**
 * Rule: after healing, every node serves every key within twice the takeover time, counted from
 * when the last lost request has timed out and every stopped node was restarted. A store that
 * failed over delays claims by the takeover time once more.
 */
import { MEMBERS_MAX_AGE_MS } from "../../adapters/store/regional/member_cache.ts";
import { timing } from "../../src/registry/lease.ts";
import { SUPERVISOR_MS } from "../engine/world.ts";
import type { LiveChecker } from "./checker.ts";

export const healing: LiveChecker = {
  name: "healing",
  watch({ plan, keys, world }, report) {
    const { lease, store, regions } = plan.shape;
    const waits = store.lagMs === undefined ? 2 : 3;
    // That a node of another region is dead is heard of with its roll, after two heartbeats.
    const abroadMs = regions ? MEMBERS_MAX_AGE_MS + 2 * lease.heartbeatMs + 4 * regions.farMs : 0;
    const within = waits * timing(lease).takeoverMs + store.timeoutMs + SUPERVISOR_MS + abroadMs;
    let dueAt = Infinity;
    const missing = new Set<string>();
    return {
      healed(at) {
        dueAt = at + within;
        for (const { index } of world().slots) {
          for (const key of keys()) missing.add(`probe ${index} ${key}`);
        }
      },
      returned({ caller, key, outcome }) {
        if (outcome === "ok") missing.delete(`${caller} ${key}`);
      },
      stepped(at) {
        if (at <= dueAt) return;
        dueAt = Infinity;
        for (const which of missing) report(`${which} was not served ${within} ms after healing`);
      },
    };
  },
};
