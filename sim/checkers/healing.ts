/**
 * Rules on what holds after healing:
 *
 * - `healing`: every node serves every key within a bound.
 * - `bounded`: nothing grows without bound.
 */
import { MEMBERS_MAX_AGE_MS } from "../../adapters/store/regional/member_cache.ts";
import { timing } from "../../src/registry/lease.ts";
import { SUPERVISOR_MS } from "../engine/world.ts";
import type { LiveChecker } from "./checker.ts";

/**
 * Rule: after healing, every node serves every key within twice the takeover time, counted from
 * when the last lost request has timed out and every stopped node was restarted. A store that
 * failed over delays claims by the takeover time once more.
 */
export const healing: LiveChecker = {
  name: "healing",
  watch({ plan, keys, world }, report) {
    const { lease, store, regions } = plan.shape;
    const waits = store.lagMs === undefined ? 2 : 3;
    // The death of a node in another region is read with its members, after two heartbeats.
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

/** More timers than any node of a simulation needs. */
const MOST_TIMERS = 2_000;
/** The number of events between two checks. */
const EVERY = 64;

/**
 * Rule: nothing grows without bound. A live process has few timers; after healing, when all calls
 * are answered, no node waits for anything or remembers more than exists.
 */
export const bounded: LiveChecker = {
  name: "bounded",
  watch({ plan, world }, report) {
    let events = 0;
    const open = new Map<string, number>();
    const keys = new Set<string>();
    const count = (process: string, by: number): void =>
      void open.set(process, (open.get(process) ?? 0) + by);
    return {
      called({ process, key }) {
        count(process, 1);
        keys.add(key);
      },
      returned: ({ process }) => count(process, -1),
      stepped(at) {
        if (++events % EVERY !== 0 && at < plan.endAt) return;
        for (const { process, clock } of world().nodes()) {
          if (clock.pending > MOST_TIMERS) report(`${process.id} has ${clock.pending} timers`);
        }
      },
      finished() {
        const nodes = [...world().nodes()];
        const isQuiet = nodes.every(({ process }) => !open.get(process.id));
        // Both ends of a pair may have dialled at once.
        const mostLinks = 2 * (nodes.length - 1);
        for (const { process, node } of nodes) {
          if (!node) continue;
          const { id } = process;
          const { queued, inFlight, cachedLocations, resources, ...stats } = node.stats();
          const links = stats.links - world().network.orphans(process);
          if (isQuiet && queued > 0) report(`${id} has ${queued} calls waiting that nobody made`);
          if (isQuiet && inFlight > 0) report(`${id} holds ${inFlight} calls that nobody made`);
          if (links > mostLinks) report(`${id} has ${links} links to ${nodes.length - 1} nodes`);
          for (const [what, size] of Object.entries({ cachedLocations, resources })) {
            if (size > keys.size) report(`${id}: ${what} is ${size}, of ${keys.size} keys`);
          }
        }
      },
    };
  },
};
