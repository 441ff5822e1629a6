/**
 * A simulated cluster: machines, processes, clocks, the network and the store, on one scheduler.
 * Nodes are made by the core's own `createNode` on simulated ports; faults and clients act on them.
 */
import { systemContext } from "../../adapters/system/async_context.ts";
import { type App, defineApp } from "../../src/api/app.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import type { NodeOptions } from "../../src/api/options.ts";
import { messageOf } from "../../src/errors.ts";
import type { NodeEvent } from "../../src/model/node_event.ts";
import { createNode } from "../../src/node/node.ts";
import type { Store } from "../../src/ports/store.ts";
import type { FaultEvent, RunPlan, Shape } from "../plan/plan.ts";
import { SimClock } from "./clock.ts";
import type { SimMasters } from "./masters.ts";
import { SimNetwork } from "./network.ts";
import type { Observer } from "./observer.ts";
import { Paths } from "./paths.ts";
import { SimProcess } from "./process.ts";
import { SeededRandom } from "./random.ts";
import { distanceMs, SimRegions, storeHost } from "./regional_stores.ts";
import { Scheduler } from "./scheduler.ts";
import { SimStore } from "./store.ts";
import { Trace } from "./trace.ts";

/** The time after which a supervisor restarts a process that ended or couldn't start, ms. */
export const SUPERVISOR_MS: number = 400;

/** The app of a gateway: no types. */
const GATEWAY: App = defineApp({ resources: {} });

/** One process that runs a node. */
export interface SimNode {
  readonly process: SimProcess;
  readonly clock: SimClock;
  /** Null until it is ready. */
  node: AtlasNode | null;
}

/** One node name, and the processes that run under it. */
export interface Slot {
  readonly index: number;
  readonly region: string;
  readonly name: string;
  readonly host: string;
  /** Null if none was started since the last one ended. */
  current: SimNode | null;
  /** Earlier processes that may still run. */
  former: SimNode[];
  /** Whether its machine was removed: no process is started there any more. */
  isGone: boolean;
}

/** Options of a node besides its ports: its role and its bootstrap. */
export type NodeSettings = (slot: Slot, process: SimProcess, world: World) => Partial<NodeOptions>;

/** How a world makes its nodes. */
export interface NodeFactory {
  readonly app: App;
  readonly settingsFor?: NodeSettings;
}

export class World {
  readonly shape: Shape;
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly paths: Paths;
  readonly network: SimNetwork;
  /** In a world with regions, the first region's store. */
  readonly store: SimStore;
  readonly regions: SimRegions | null;
  readonly slots: readonly Slot[];
  readonly observer: Required<Observer>;
  isHealed = false;
  /** Called within the process of each node that becomes ready. */
  onReady: ((slot: Slot, node: SimNode) => void) | null = null;
  /** Several masters, instead of {@link store}. */
  masters: SimMasters | null = null;
  readonly #factory: NodeFactory;
  readonly #seed: number;
  readonly #clocks: SeededRandom;
  readonly #scheduling: SeededRandom;
  #processes = 0;

  constructor(
    factory: NodeFactory,
    { seed, shape, healAt }: Pick<RunPlan, "seed" | "shape" | "healAt">,
    observer: Required<Observer>,
    isTraceKept: boolean,
  ) {
    this.#factory = factory;
    this.#seed = seed;
    this.shape = shape;
    this.observer = observer;
    this.trace = new Trace(isTraceKept);
    this.scheduler = new Scheduler(this.trace);
    const random = new SeededRandom(seed, "network");
    this.#clocks = new SeededRandom(seed, "clocks");
    this.#scheduling = new SeededRandom(seed, "scheduling");
    const { scheduler, trace } = this;
    const towns = shape.regions?.names ?? ["east", "west"];
    const paths = this.paths = new Paths(
      scheduler,
      random,
      shape.linkConditions,
      healAt,
      distances(shape),
    );
    this.network = new SimNetwork(scheduler, trace, paths, random);
    const parts = { scheduler, trace, paths, random, shape: shape.store, observer };
    this.regions = shape.regions ? new SimRegions(shape.regions, parts) : null;
    this.store = this.regions?.store(0) ?? new SimStore(parts);
    this.slots = Array.from({ length: shape.nodes }, (_, index) => ({
      index,
      region: shape.places?.[index]?.region ?? towns[index % towns.length] as string,
      name: shape.places?.[index]?.node ?? `node-${index}`,
      host: hostOf(index),
      current: null,
      former: [],
      isGone: false,
    }));
  }

  get hosts(): string[] {
    return this.slots.map(({ host }) => host);
  }

  slot(index: number): Slot {
    return this.slots[index % this.slots.length] as Slot;
  }

  /** Every process that is alive. */
  *nodes(): Iterable<SimNode> {
    for (const { current, former } of this.slots) {
      if (current) yield current;
      yield* former;
    }
  }

  /** Starts a process under a name, unless one was started since the last one ended. */
  start(index: number): void {
    const slot = this.slot(index);
    if (slot.current || slot.isGone) return;
    const { scheduler, trace, observer, shape } = this;
    const id = `${slot.name}#${++this.#processes}`;
    const process = new SimProcess(id, slot.host, scheduler, this.#scheduling);
    const rate = 1 + (2 * this.#clocks.next() - 1) * shape.drift;
    const clock = new SimClock(scheduler, process, rate, this.#clocks.below(1_000_000));
    const started: SimNode = { process, clock, node: null };
    slot.current = started;
    trace.note("start", id);
    observer.process(id, true, scheduler.now);
    const { nodes, gateways = 0 } = shape;
    const isGateway = slot.index > 0 && slot.index >= nodes - gateways;
    const { app, settingsFor } = this.#factory;
    const join = (store: Store): Promise<AtlasNode> =>
      createNode(isGateway ? GATEWAY : app, {
        ...settingsFor?.(slot, process, this),
        region: slot.region,
        node: slot.name,
        store,
        transport: this.network.transport(process),
        clock,
        context: systemContext,
        random: new SeededRandom(this.#seed, `ids of ${id}`),
        lease: shape.lease,
        onEvent: (event) => {
          trace.note("event", id, event.event, ...tracedFields(event));
          observer.eventLogged(id, event, scheduler.now);
        },
      });
    const joined = this.regions
      ? this.regions.open(slot.region, process, clock).then(join)
      : join(this.masters?.open(process, clock, slot.index) ?? this.store.open(process, clock));
    joined.then((node) => {
      trace.note("ready", id);
      started.node = node;
      this.onReady?.(slot, started);
      node.closed.then(() => this.#ended(slot, started));
    }, (error) => {
      trace.note("start failed", id, messageOf(error));
      this.#ended(slot, started);
    });
  }

  /** Kills a name's process. */
  crash(index: number): void {
    const slot = this.slot(index);
    if (slot.current) this.#kill(slot.current);
    slot.current = null;
  }

  /** Removes a machine for good. */
  retire(index: number): void {
    const slot = this.slot(index);
    slot.isGone = true;
    this.crash(index);
    for (const node of slot.former) this.#kill(node);
    slot.former = [];
  }

  /** Starts another process under a name while the current one goes on. */
  replace(index: number): void {
    if (this.isHealed) return;
    const slot = this.slot(index);
    if (slot.current) slot.former.push(slot.current);
    slot.current = null;
    this.start(index);
  }

  /** Drains and closes a node, and starts another `ms` later. */
  drain(index: number, ms: number): void {
    const slot = this.slot(index);
    const leaving = slot.current;
    if (!leaving?.node) return;
    slot.former.push(leaving);
    slot.current = null;
    leaving.process.enter(() => void leaving.node?.close({ drainMs: 5_000 }));
    this.scheduler.after(ms, () => this.start(index));
  }

  /** Blocks paths for `ms`. */
  block(paths: readonly (readonly [from: string, to: string])[], ms: number): void {
    const token = {};
    for (const [from, to] of paths) this.paths.from(from, to).block(token);
    this.scheduler.after(ms, () => {
      for (const [from, to] of paths) this.paths.from(from, to).unblock(token);
    });
  }

  /** Ends all faults: one process runs under each name. */
  heal(): void {
    this.isHealed = true;
    this.trace.note("heal");
    this.store.clear();
    this.regions?.clear();
    this.masters?.clear();
    this.network.clear();
    for (const slot of this.slots) {
      for (const node of slot.former) this.#kill(node);
      slot.former = [];
    }
    for (const { process, clock } of this.nodes()) {
      clock.wakeAll();
      process.resumeAll();
    }
    for (const { index } of this.slots) this.start(index);
    this.observer.healed(this.scheduler.now);
  }

  /** Notes a fault in the trace. */
  noteFault({ kind, a, b, ms, x }: FaultEvent): void {
    this.trace.note("fault", kind, a, b, ms, x);
  }

  #kill(node: SimNode): void {
    this.trace.note("kill", node.process.id);
    node.process.kill();
    this.observer.process(node.process.id, false, this.scheduler.now);
  }

  /** A node ended by itself, and with it its process. */
  #ended(slot: Slot, ended: SimNode): void {
    if (!ended.process.isAlive) return;
    this.trace.note("ended", ended.process.id);
    this.#kill(ended);
    slot.former = slot.former.filter((other) => other !== ended);
    if (slot.current !== ended) return;
    slot.current = null;
    this.scheduler.after(SUPERVISOR_MS, () => this.start(slot.index));
  }
}

function hostOf(index: number): string {
  return `host-${index}`;
}

/** The additional delay between machines, in worlds with regions. */
function distances({ regions, nodes }: Shape): (from: string, to: string) => number {
  if (!regions) return () => 0;
  const { names } = regions;
  const regionOf = new Map(names.map((region) => [storeHost(region), region]));
  for (let i = 0; i < nodes; i++) regionOf.set(hostOf(i), names[i % names.length] as string);
  const at = (host: string): string => regionOf.get(host) ?? names[0] as string;
  return (from, to) => distanceMs(regions, at(from), at(to));
}

/**
 * The fields of a log event that the trace includes: not the stack, which names files of this
 * machine.
 */
function tracedFields({ fields }: NodeEvent): NodeEvent["fields"][string][] {
  return Object.entries(fields).filter(([name]) => name !== "stack").map(([, value]) => value);
}
