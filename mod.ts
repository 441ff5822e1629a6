/**
 * Atlas: named resources, each one live object on exactly one node.
 *
 * This module is the core with its memory store and in-process transport; it imports
 * no runtime. `@atlas-edge/atlas/server` opens real ones.
 *
 * @example
 * ```ts
 * import { createNode, defineApp, inProcessTransport, memoryStore, Resource } from "@atlas-edge/atlas";
 *
 * class Counter extends Resource {
 *   async add(n: number) {
 *     const total = ((await this.storage.get<number>("total")) ?? 0) + n;
 *     await this.storage.put("total", total);
 *     return total;
 *   }
 * }
 *
 * const node = await createNode(defineApp({ resources: { counters: Counter } }), {
 *   region: "local",
 *   node: "one",
 *   store: memoryStore(),
 *   transport: inProcessTransport(),
 * });
 * console.log(await node.resource("counters", "visits").add(1));
 * ```
 *
 * @module
 */
import { systemContext } from "./adapters/system/async_context.ts";
import { systemClock, systemRandom } from "./adapters/system/clock.ts";
import type { App } from "./src/api/app.ts";
import type { AtlasNode } from "./src/api/node.ts";
import type { NodeOptions } from "./src/api/options.ts";
import { createNode as createNodeOf } from "./src/node/node.ts";
import { race as raceOf, type RaceOptions as RaceParts, type RaceReport } from "./src/race/race.ts";

export { inProcessNetwork, inProcessTransport } from "./adapters/transport/in_process.ts";
export type { InProcessNetwork } from "./adapters/transport/in_process.ts";
export { memoryStore } from "./adapters/store/memory.ts";
export type {
  Atlas,
  AtlasNode,
  DrainedNode,
  DrainNodesOptions,
  NodeEvent,
  NodeState,
  NodeStats,
  Stub,
  StubOf,
} from "./src/api/node.ts";
export type {
  CallOptions,
  CallResult,
  DrainOptions,
  LookupOptions,
  PageOptions,
  ResourcePage,
} from "./src/api/calls.ts";
export { defineApp } from "./src/api/app.ts";
export type {
  App,
  Partition,
  Placement,
  Policies,
  Policy,
  ResourceClass,
  ResourceMap,
  ResourceType,
} from "./src/api/app.ts";
export type * from "./src/api/modules.ts";
export type * from "./src/api/options.ts";
export { defineModule } from "./src/api/module.ts";
export type {
  Attributes,
  FunctionContext,
  Module,
  ModuleFunction,
  ModuleFunctions,
  ModuleMap,
  ModuleOptions,
} from "./src/api/module.ts";
export type { ConnectionIdentity, ConnectionOptions, SocketStats } from "./src/api/sockets.ts";
export type { ClientFrame, Codec, FrameError, ServerFrame } from "./src/model/socket_frames.ts";
export { AtlasError, isAtlasError } from "./src/errors.ts";
export type { AtlasErrorOptions, ErrorCode } from "./src/errors.ts";
export type { Member, MemberInfo, MemberState } from "./src/model/member.ts";
export type { DegradedVerdict, Lookup, Ownership, Verdict } from "./src/model/ownership.ts";
export type { Caller } from "./src/model/call_path.ts";
export { formatRrp, matchRrp, parseRrp } from "./src/model/rrp.ts";
export type { Rrp } from "./src/model/rrp.ts";
export type { LeaseProfile, LeaseTimes } from "./src/api/options.ts";
export type { AsyncContext } from "./src/ports/async_context.ts";
export type { Clock, Timer } from "./src/ports/clock.ts";
export type { Random } from "./src/ports/random.ts";
export type { RaceStore } from "./src/ports/race_store.ts";
export type * from "./src/ports/runtime.ts";
export type * from "./src/ports/store.ts";
export type * from "./src/ports/transport.ts";
export type { RaceReport, RuleReport } from "./src/race/race.ts";
export type { RoundTrips } from "./src/race/race.ts";
export type { Connection } from "./src/api/resource.ts";
export { Resource } from "./src/api/resource.ts";
export type { ListOptions, ResourceContext, StopReason, Storage } from "./src/api/resource.ts";

/** Options of {@link createNode}: clock, context and randomness are the system's by default. */
export type CreateNodeOptions =
  & Omit<NodeOptions, "clock" | "context" | "random">
  & Partial<NodeOptions>;

/**
 * Starts a node of `app` on the given ports; it is registered and serving when this resolves.
 *
 * @throws AtlasError `bad_request` or `invalid_rrp` where an option isn't allowed,
 * `unavailable` where the store can't be reached.
 */
export function createNode<A extends App>(
  app: A,
  options: CreateNodeOptions,
): Promise<AtlasNode<A>> {
  const ports = { clock: systemClock, context: systemContext, random: systemRandom };
  return createNodeOf(app, { ...ports, ...options });
}

/** Options of {@link race}: clock and randomness are the system's by default. */
export type RaceOptions = Omit<RaceParts, "clock" | "random"> & Partial<RaceParts>;

/**
 * Measures on a live store how often two contenders would both have owned one name, by the rule
 * that Atlas was first published with, and by compare-and-set. `openRaceStores` of
 * `@atlas-edge/atlas/store/race` opens a registry for it.
 *
 * @throws AtlasError `bad_request` for an option that isn't allowed; whatever a store
 * rejects with, after an attempt to remove what was written.
 */
export function race(options: RaceOptions): Promise<RaceReport> {
  return raceOf({ clock: systemClock, random: systemRandom, ...options });
}
