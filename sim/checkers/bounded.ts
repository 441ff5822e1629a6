/**
 * Rule: nothing grows without bound. A live process has few timers; after healing, when all calls
 * are answered, no node waits for anything or remembers more than exists.
 */
import type { LiveChecker } from "./checker.ts";

/** More than any node of a simulation has use for. */
const MOST_TIMERS = 2_000;
/** Events between two looks. */
const EVERY = 64;

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
