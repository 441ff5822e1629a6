/** Faults of a node's process: paused, killed, replaced while it sleeps, drained. */
import type { FaultKind } from "./fault.ts";

export const NODE_FAULTS: readonly FaultKind[] = [
  {
    // SIGSTOP and SIGCONT: time goes on without it.
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
    // Its successor starts while it sleeps; then it wakes.
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
    // Its successor starts while it is still at work: a supervisor in error.
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
