/** Nothing grows without end: the timers of a process stay few. */
import type { LiveChecker } from "./checker.ts";

/** More than any node of a simulation has use for. */
const MOST_TIMERS = 2_000;
/** Events between two looks. */
const EVERY = 64;

export const bounded: LiveChecker = {
  name: "bounded",
  watch({ plan, world }, report) {
    let events = 0;
    return {
      stepped(at) {
        if (++events % EVERY !== 0 && at < plan.endAt) return;
        for (const { process, clock } of world().nodes()) {
          if (clock.pending > MOST_TIMERS) report(`${process.id} has ${clock.pending} timers`);
        }
      },
    };
  },
};
