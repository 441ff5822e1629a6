/**
 * Metrics for Prometheus: the text of `GET /metrics`.
 *
 * Reads the node's figures on each scrape, and counts each HTTP request when it ends. Every node
 * has a registry of its own, since several may live in one process. Labels are route patterns,
 * never paths, so there are few.
 *
 * prom-client's own process metrics need parts of Node that the other runtimes lack; the few here
 * exist on all three.
 */
import process from "node:process";
import type { Counter, Gauge, Metric as PromMetric, Registry } from "prom-client";
import type { ModuleFigures } from "../../src/api/modules.ts";
import type { AtlasNode, NodeState, NodeStats } from "../../src/api/node.ts";

/** What `/metrics` needs to know of requests. */
export interface Metrics {
  /** The counters of a method and a route's pattern. */
  requests(method: string, route: string): RequestCounters;
  /** The content type and text of all figures now. */
  render(): Promise<{ contentType: string; text: string }>;
}

/** The upper bounds of the histogram's buckets, in ms; they are shown in s. */
const BUCKETS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];
const STATES: readonly NodeState[] = ["serving", "fenced", "draining", "closed"];

/** The node's figures that are single numbers. */
type Metric = Exclude<keyof NodeStats, "modules">;

/** Figures that rise for as long as the node lives. */
const TOTALS: readonly [Metric, name: string, help: string][] = [
  ["calls", "calls", "Calls that this node made"],
  ["turns", "turns", "Turns that its resources ran"],
  ["claims", "claims", "Claims it tried"],
  ["claimsLost", "claims_lost", "Claims that another node won"],
  ["commits", "commits", "Turns whose writes were committed"],
  ["events", "events", "Events that its resources sent to their connections"],
  ["socketEvents", "socket_events", "Events that it sent to client sockets"],
  ["cutSockets", "sockets_cut", "Client sockets cut because they were too slow, or too fast"],
  [
    "unheardSockets",
    "sockets_unheard",
    "Closed client sockets whose last messages were dropped",
  ],
  ["contested", "contested_lookups", "Lookups that found more than one claim standing"],
  [
    "conflictsLost",
    "conflicts_lost",
    "Ownerships lost to a higher epoch, or while the store was out of reach",
  ],
  [
    "conflictsWon",
    "conflicts_won",
    "Times that an ownership here won over one that was out of reach",
  ],
  [
    "offlineTurnsCommitted",
    "offline_turns_committed",
    "Turns answered without the store, and committed later",
  ],
  [
    "offlineTurnsLost",
    "offline_turns_lost",
    "Turns answered without the store, and never committed",
  ],
  ["forwards", "forwards", "Calls it passed on to their owner"],
  ["relays", "relays", "Calls of other nodes that it was asked to pass on"],
  ["notOwner", "not_owner", "Calls it refused because it does not own the resource"],
  ["lapses", "lease_lapses", "Times its lease lapsed"],
  ["kills", "kills", "Members it declared dead"],
  ["lostTurns", "lost_turns", "Committed turns that its store lacked after a failover"],
  ["failovers", "store_failovers", "Times that the store was replaced by a copy of itself"],
  ["quarantined", "quarantined_lookups", "Lookups that were uncertain just after that"],
];

/** Figures of the moment. */
const LEVELS: readonly [Metric, name: string, help: string][] = [
  ["resources", "resources", "Resources in memory"],
  ["offlineResources", "resources_offline", "Resources that work without the store"],
  ["queued", "mailbox_queued", "Calls waiting in mailboxes"],
  ["inFlight", "calls_in_flight", "Calls whose answer is outstanding"],
  ["links", "links", "Open links to other nodes"],
  ["sockets", "sockets", "Open client sockets"],
  ["cachedLocations", "cached_locations", "Remembered locations of resources elsewhere"],
];

type ModuleFigure = Exclude<keyof ModuleFigures, "module">;

/** Figures of each module that rise for as long as the node lives. */
const MODULE_TOTALS: readonly [ModuleFigure, name: string, help: string, scale: number][] = [
  ["issued", "credits_issued", "Credits that this node gave to buyers", 1],
  ["used", "credits_used", "Credits that buyers spent on requests here", 1],
  ["revoked", "credits_revoked", "Credits that were taken back unspent", 1],
  ["calls", "calls", "Module calls that this node made", 1],
  ["waits", "call_waits", "Module calls that had to wait for credit", 1],
  ["waitedMs", "call_wait_seconds", "How long they waited together", 1_000],
];

/** Figures of each module at the moment. */
const MODULE_LEVELS: readonly [ModuleFigure, name: string, help: string][] = [
  ["running", "requests_running", "Requests that run on this node"],
  ["granted", "capacity_granted", "Capacity of this node in buyers' hands"],
  ["outstanding", "credits_outstanding", "Credits given and not yet spent or taken back"],
  ["waiting", "calls_waiting", "Module calls of this node that wait for credit"],
];

/** The figures of one node; `node` returns null until the node exists. */
export function createMetrics(node: () => AtlasNode | null): Metrics {
  const requests = new RequestHistogram();
  // Now, because the wall clock may be set before the first scrape.
  const started = Date.now() / 1_000 - process.uptime();
  /**
   * The node's figures of the last scrape, so that all figures in one answer are of the same
   * moment.
   */
  let stats: NodeStats | undefined;
  let opening: Promise<Registry> | undefined;
  return {
    requests: (method, route) => requests.of(method, route),
    render: async () => {
      const registry = await (opening ??= openRegistry(requests, node, () => stats, started));
      stats = node()?.stats();
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

/** The classes of prom-client, and where its metrics are registered. */
interface Target {
  readonly Counter: typeof Counter;
  readonly Gauge: typeof Gauge;
  readonly registers: Registry[];
}

/** Loads prom-client, which takes a fifth of a node's start, at the first scrape. */
async function openRegistry(
  requests: RequestHistogram,
  node: () => AtlasNode | null,
  stats: () => NodeStats | undefined,
  started: number,
): Promise<Registry> {
  const { Counter, Gauge, Registry } = await import("prom-client");
  const registry = new Registry();
  const target = { Counter, Gauge, registers: [registry] };
  addProcess(target, started);
  addNode(target, node, stats);
  addModules(target, () => stats()?.modules ?? []);
  registry.registerMetric(requests as unknown as PromMetric);
  return registry;
}

/** Counts the requests of one method and route. */
export class RequestCounters {
  readonly method: string;
  readonly route: string;
  readonly byStatus: Map<number, StatusCounters> = new Map();

  constructor(method: string, route: string) {
    this.method = method;
    this.route = route;
  }

  /** Counts one request: its status, and how long it took. */
  observe(status: number, ms: number): void {
    let counters = this.byStatus.get(status);
    if (!counters) this.byStatus.set(status, counters = new StatusCounters());
    counters.observe(ms);
  }
}

class StatusCounters {
  /** Requests by bucket; the last one is of those over all bounds. */
  readonly counts: number[] = Array(BUCKETS.length + 1).fill(0);
  sumMs = 0;

  observe(ms: number): void {
    let bucket = 0;
    while (bucket < BUCKETS.length && ms > (BUCKETS[bucket] as number)) bucket++;
    (this.counts[bucket] as number)++;
    this.sumMs += ms;
  }
}

/** A row of a metric, as prom-client prints it. */
interface Row {
  readonly metricName: string;
  readonly labels: { readonly [name: string]: string | number };
  readonly value: number;
}

/**
 * The histogram of requests as a metric of prom-client. Its own looks the labels up by a text that
 * it makes for each request: 0.3 µs on each runtime, against 10 to 30 ns here.
 */
class RequestHistogram {
  readonly name = "atlas_http_request_duration_seconds";
  readonly help = "HTTP requests by method, route and status";
  readonly type = "histogram";
  readonly aggregator = "sum";
  readonly #all: Map<string, RequestCounters> = new Map();

  of(method: string, route: string): RequestCounters {
    const key = `${method} ${route}`;
    let counters = this.#all.get(key);
    if (!counters) this.#all.set(key, counters = new RequestCounters(method, route));
    return counters;
  }

  /** Called at each scrape. */
  get(): Promise<object> {
    const { name, help, type, aggregator } = this;
    const values = [...this.#all.values()].flatMap(({ method, route, byStatus }) =>
      [...byStatus].flatMap(([status, counters]) =>
        rowsOf(name, { method, route, status: String(status) }, counters)
      )
    );
    return Promise.resolve({ name, help, type, aggregator, values });
  }
}

function rowsOf(
  name: string,
  labels: Row["labels"],
  { counts, sumMs }: StatusCounters,
): Row[] {
  let value = 0;
  const buckets = counts.map((count, i) => {
    value += count;
    const bound = BUCKETS[i];
    const le = bound === undefined ? "+Inf" : bound / 1_000;
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumMs / 1_000 },
    { metricName: `${name}_count`, labels, value },
  ];
}

function addNode(
  target: Target,
  node: () => AtlasNode | null,
  stats: () => NodeStats | undefined,
): void {
  const { Counter, Gauge, registers } = target;
  for (const [key, name, help] of TOTALS) {
    new Counter({
      name: `atlas_${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(stats()?.[key] ?? 0);
      },
    });
  }
  for (const [key, name, help] of LEVELS) {
    gauge(target, `atlas_${name}`, help, () => stats()?.[key] ?? 0);
  }
  gauge(
    target,
    "atlas_lease_left_seconds",
    "What is left of the lease; 0 when fenced",
    () => (stats()?.leaseLeftMs ?? 0) / 1_000,
  );
  new Gauge({
    name: "atlas_node_state",
    help: "1 for the state that the node is in",
    labelNames: ["state"],
    registers,
    collect() {
      const now = node()?.state;
      for (const state of STATES) this.set({ state }, state === now ? 1 : 0);
    },
  });
}

function addModules(
  { Counter, Gauge, registers }: Target,
  figures: () => readonly ModuleFigures[],
): void {
  const labelNames = ["module"];
  for (const [key, name, help, scale] of MODULE_TOTALS) {
    new Counter({
      name: `atlas_module_${name}_total`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const figure of figures()) this.inc({ module: figure.module }, figure[key] / scale);
      },
    });
  }
  for (const [key, name, help] of MODULE_LEVELS) {
    new Gauge({
      name: `atlas_module_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        for (const figure of figures()) this.set({ module: figure.module }, figure[key]);
      },
    });
  }
}

function addProcess(target: Target, started: number): void {
  const { Counter, registers } = target;
  const memory = () => process.memoryUsage();
  gauge(target, "process_resident_memory_bytes", "Memory in use", () => memory().rss);
  gauge(target, "process_heap_bytes", "JavaScript heap in use", () => memory().heapUsed);
  gauge(target, "process_start_time_seconds", "When the process began", () => started);
  new Counter({
    name: "process_cpu_seconds_total",
    help: "Processor time spent",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}

function gauge({ Gauge, registers }: Target, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers,
    collect() {
      this.set(read());
    },
  });
}
