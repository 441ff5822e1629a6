/** A rolling deployment: all nodes are restarted one after another. */
import type { FaultKind } from "./fault.ts";

/** Shortest time between two nodes of a rolling restart, ms. */
const STEP_MS = 300;

export const ROLLING_FAULTS: readonly FaultKind[] = [
  {
    // Each drains and is started again, whether or not the one before has come back.
    name: "rolling_drain",
    begin(world, { a, ms, x }) {
      for (const { index } of world.slots) {
        world.scheduler.after(index * (STEP_MS + ms), () => {
          if (!world.isHealed) world.drain(a + index, ms * x);
        });
      }
    },
  },
  {
    // Each is killed and started again.
    name: "rolling_restart",
    begin(world, { a, ms, x }) {
      for (const { index } of world.slots) {
        world.scheduler.after(index * (STEP_MS + ms), () => {
          if (world.isHealed) return;
          world.crash(a + index);
          world.scheduler.after(ms * x, () => world.start(a + index));
        });
      }
    },
  },
];
