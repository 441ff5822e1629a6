/**
 * A small cluster in this process for tests of the core: real nodes on one memory
 * store and one in-process network, and an app with one resource type of each kind.
 *
 * Whatever a test expects of deadlines, leases and pauses, it expects by a fake clock: by the
 * real one a busy machine can reorder two events.
 */
import { afterEach } from "vitest";
import {
  type App,
  AtlasError,
  type AtlasNode,
  createNode,
  type CreateNodeOptions,
  defineApp,
  type InProcessNetwork,
  inProcessNetwork,
  inProcessTransport,
  type LeaseTimes,
  memoryStore,
  type NodeEvent,
  Resource,
  type ResourceMap,
  type ResourceType,
  type StopReason,
  type Store,
} from "../../mod.ts";
import type { FakeClock } from "../../testing.ts";

export { until, untilBy } from "../support/until.ts";

/** What happened to resources, for tests to look at. */
export const log: string[] = [];

/** Gates on which calls wait until a test opens them. */
export class Gate {
  static readonly gates: Map<string, Gate> = new Map();
  readonly passed: Promise<void>;
  open!: () => void;
  constructor() {
    this.passed = new Promise((resolve) => (this.open = resolve));
  }
  static of(name: string): Gate {
    let gate = Gate.gates.get(name);
    if (!gate) Gate.gates.set(name, gate = new Gate());
    return gate;
  }
}

export class Counter extends Resource {
  calls = 0;

  override async onStart(): Promise<void> {
    log.push(`start ${this.id}`);
    if (this.id.startsWith("unstartable")) throw new Error("it won't start");
    await Promise.resolve();
  }

  override onStop(reason: StopReason): void {
    log.push(`stop ${this.id} ${reason}`);
  }

  async add(n: number): Promise<{ total: number; epoch: number }> {
    this.calls++;
    const total = ((await this.storage.get<number>("total")) ?? 0) + n;
    await this.storage.put("total", total);
    return { total, epoch: this.epoch };
  }

  async total(): Promise<number> {
    return (await this.storage.get<number>("total")) ?? 0;
  }

  echo(value: unknown): unknown {
    return value;
  }

  async addThenThrow(n: number): Promise<void> {
    await this.add(n);
    throw new Error("thrown on purpose");
  }

  async addThenAnswer(n: number, what: string): Promise<unknown> {
    await this.add(n);
    if (what === "function") return () => 1;
    const circle: Record<string, unknown> = {};
    return circle["self"] = circle;
  }

  refuse(code: "bad_request" | "not_owner" | "unavailable"): void {
    throw new AtlasError(code, "refused by the app");
  }

  async wait(name: string): Promise<string> {
    log.push(`waiting ${name}`);
    await Promise.race([
      Gate.of(name).passed,
      new Promise<void>((resolve) => this.signal.addEventListener("abort", () => resolve())),
    ]);
    log.push(`${this.signal.aborted ? "aborted" : "passed"} ${name}`);
    return name;
  }

  hang(): Promise<never> {
    return new Promise(() => {});
  }

  whereami(): { rrp: string; epoch: number } {
    return { rrp: this.rrp, epoch: this.epoch };
  }

  /** Calls another resource, which may call further ones. */
  async via(path: string[], n: number): Promise<number> {
    const [next, ...rest] = path;
    if (next === undefined) return (await this.add(n)).total;
    const [type, id] = next.split("/") as [string, string];
    return (await this.node.call(type, id, "via", [rest, n])).result as number;
  }

  async fill(entries: [string, unknown][], drop: string[] = []): Promise<void> {
    for (const [key, value] of entries) await this.storage.put(key, value);
    for (const key of drop) await this.storage.delete(key);
  }

  async listed(options: object): Promise<[string, unknown][]> {
    return [...await this.storage.list(options)];
  }

  /** What `list` shows before the turn's writes are committed. */
  async listedAfter(
    entries: [string, unknown][],
    drop: string[],
    options: object,
  ): Promise<[string, unknown][]> {
    await this.fill(entries, drop);
    return await this.listed(options);
  }

  _private(): string {
    return "never";
  }
}

interface Types extends ResourceMap {
  readonly counters: typeof Counter;
  readonly brief: ResourceType<Counter>;
  readonly narrow: ResourceType<Counter>;
  readonly impatient: ResourceType<Counter>;
  readonly open: ResourceType<Counter>;
}

export type TestApp = App<Types>;
export const app: TestApp = defineApp<Types>({
  resources: {
    counters: Counter,
    brief: { class: Counter, idleAfterMs: 40 },
    narrow: { class: Counter, mailbox: 2 },
    impatient: { class: Counter, maxTurnMs: 50 },
    open: { class: Counter, reentrant: true },
  },
});

/**
 * For tests with a takeover. By the real clock it is short enough to wait
 * for, and long enough that a pause of half a second doesn't cause one.
 */
export const BRISK: LeaseTimes = { heartbeatMs: 100, leaseMs: 1_000 };

/** A lease longer than any pause of the machine, with frequent reads of the store. */
export const LASTING: LeaseTimes = { heartbeatMs: 100, leaseMs: 60_000 };

export class Cluster {
  readonly store: Store;
  readonly network: InProcessNetwork = inProcessNetwork();
  readonly events: NodeEvent[] = [];
  readonly #clock: FakeClock | undefined;
  readonly #closers: (() => Promise<void>)[] = [];

  /** @param clock the clock of all nodes that aren't given another. */
  constructor(store: Store = memoryStore(), clock?: FakeClock) {
    this.store = store;
    this.#clock = clock;
  }

  async node(
    name: string,
    options: Partial<CreateNodeOptions> = {},
    of: unknown = app,
  ): Promise<AtlasNode<TestApp>> {
    const { clock = this.#clock } = options;
    const node = await createNode(of as TestApp, {
      region: "local",
      node: name,
      store: this.store,
      transport: inProcessTransport(this.network),
      lease: "frugal",
      onEvent: (event) => this.events.push(event),
      ...options,
      ...clock && { clock },
    });
    this.#closers.push(() => {
      const closing = node.close({ drainMs: 200 });
      return clock && "run" in clock ? (clock as FakeClock).run(closing) : closing;
    });
    return node;
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.map((close) => close()));
    await this.store.close();
  }
}

const clusters: Cluster[] = [];

/** A cluster that is closed after the test. */
export function cluster(store?: Store, clock?: FakeClock): Cluster {
  const made = new Cluster(store, clock);
  clusters.push(made);
  return made;
}

afterEach(async () => {
  for (const gate of Gate.gates.values()) gate.open();
  Gate.gates.clear();
  await Promise.all(clusters.splice(0).map((made) => made.close()));
  log.length = 0;
});
