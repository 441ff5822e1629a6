/** Faults of a node's process: paused, killed, replaced while it sleeps, drained. */
import type { FaultKind } from "./fault.ts";

export const NODE_FAULTS: readonly FaultKind[] = [
  {
    // SIGSTOP and SIGCONT.
    name: "pause",
    begin(world, { a, ms }) {
      const token = {};
      const process = world.slot(a).current?.process;
      process?.pause(token);
      world.scheduler.after(ms, () => process?.resume(token));
    },
  },
  {
    // SIGKILL, and a supervisor that starts it again under the same name.
    name: "crash",
    begin(world, { a, ms, x }) {
      world.crash(a);
      world.scheduler.after(x < 0.3 ? x * 100 : ms, () => world.start(a));
    },
  },
  {
    // Its successor starts while it is paused; then it resumes.
    name: "zombie",
    begin(world, { a, ms, x }) {
      const token = {};
      const process = world.slot(a).current?.process;
      process?.pause(token);
      world.scheduler.after(ms * x, () => world.replace(a));
      world.scheduler.after(ms, () => process?.resume(token));
    },
  },
  {
    // Its successor starts while it still runs: an error of the supervisor.
    name: "twin",
    begin(world, { a }) {
      world.replace(a);
    },
  },
  {
    // SIGTERM, and another process of the same name some time later.
    name: "drain",
    begin(world, { a, ms }) {
      world.drain(a, ms);
    },
  },
];

/** Shortest time between two nodes of a rolling restart, ms. */
const STEP_MS = 300;

/** A rolling deployment: all nodes are restarted one after another. */
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

/**
 * Clock faults within the protocol's assumptions: rates off by at most ρ, wall clocks set to any
 * time, and machines that sleep while their monotonic clock stands still.
 */
export const CLOCK_FAULTS: readonly FaultKind[] = [
  {
    name: "wall_jump",
    begin(world, { a, x }) {
      const ms = (x - 0.5) * (x > 0.4 && x < 0.6 ? 1_000 : 100_000);
      world.slot(a).current?.clock.jump(ms);
    },
  },
  {
    // The wall clock is right again when the machine wakes; the monotonic one has stood still.
    name: "suspend",
    begin(world, { a, ms }) {
      const token = {};
      const node = world.slot(a).current;
      node?.process.pause(token);
      node?.clock.suspend(token);
      world.scheduler.after(ms, () => {
        node?.clock.wake(token);
        node?.process.resume(token);
      });
    },
  },
  {
    name: "drift",
    begin(world, { a, x }) {
      world.slot(a).current?.clock.setRate(1 + (2 * x - 1) * world.shape.drift);
    },
  },
];
