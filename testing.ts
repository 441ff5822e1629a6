/**
 * Tests apps: on a simulated cluster with a virtual clock and injected faults, or on one node
 * with a fake clock, for unit tests of resources.
 *
 * @example
 * ```ts
 * import { simulate } from "@atlas-edge/atlas/testing";
 * import app from "./app.ts";
 *
 * await simulate(app, {
 *   seeds: 50,
 *   async workload({ atlas, random, caller }) {
 *     await atlas.resource("channels", random.pick(["a", "b"])).send(caller, "hello");
 *   },
 *   async check({ atlas, history, fail }) {
 *     const kept = await atlas.resource("channels", "a").history();
 *     const sent = history.filter(({ id, outcome }) => id === "a" && outcome === "ok");
 *     if (kept.length < sent.length) fail("an acknowledged message is gone");
 *   },
 * });
 * ```
 *
 * @module
 */
export { simulate } from "./sim/testing/simulate.ts";
export type { SimulationReport } from "./sim/testing/simulate.ts";
export { SimulationError } from "./sim/testing/failure.ts";
export type { SimulationFailure } from "./sim/testing/failure.ts";
export { faultKinds } from "./sim/testing/options.ts";
export type {
  CheckContext,
  FaultRate,
  Faults,
  SimulateOptions,
  SimulationRandom,
  WorkloadContext,
} from "./sim/testing/options.ts";
export type { SimulatedCall } from "./sim/testing/history.ts";
export type { Outcome } from "./sim/engine/history.ts";
export type { FaultEvent } from "./sim/plan/plan.ts";
export type { Violation } from "./sim/run/run_world.ts";
export { fakeClock } from "./sim/testing/fake_clock.ts";
export type { FakeClock } from "./sim/testing/fake_clock.ts";
export { testNode } from "./sim/testing/test_node.ts";
export type { TestNode, TestNodeOptions } from "./sim/testing/test_node.ts";
