/**
 * Clock faults within the protocol's assumptions: rates off by at most ρ, wall clocks set to any
 * time, and machines that sleep while their monotonic clock stands still.
 */
import type { FaultKind } from "./fault.ts";

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
