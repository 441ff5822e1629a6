/**
 * Three regions on one machine.
 *
 * Gives six real nodes, two a region, on Bun, Deno and Node; a registry in each region, one of
 * them over HTTP; and delay proxies on all connections between regions. Each proxy adds its delay,
 * can be closed, and counts connections and bytes.
 */
import {
  type DelayProxy,
  Route,
  type RouteState,
  startDelayProxy,
  type Tap,
} from "../support/delay_proxy.ts";
import { FrameReader } from "../support/frames.ts";
import { callersHidden, holderOf } from "../support/peer_process.ts";
import { freePort } from "../support/ports.ts";
import { redisMissing, startRedis } from "../support/redis.ts";
import { startUpstash } from "../upstash/server.ts";
import { ask } from "./calls.ts";
import { type Program, readyLine, runScript, type RuntimeName } from "./process.ts";
import { until } from "../support/until.ts";

export type RegionName = "us-east-1" | "eu-west-1" | "ap-southeast-1";
export const US = "us-east-1";
export const EU = "eu-west-1";
export const AP = "ap-southeast-1";
/** The first one is the default home. */
export const REGIONS: readonly RegionName[] = [US, EU, AP];

/** Why the regions can't run on this machine; null if they can. */
export const regionsMissing: string | null = redisMissing ?? callersHidden;

const RUNTIMES: Readonly<Record<RegionName, readonly RuntimeName[]>> = {
  [US]: ["bun", "node"],
  [EU]: ["deno", "bun"],
  [AP]: ["node", "deno"],
};
/** A heartbeat and a lease that a busy machine can keep, in ms. */
const LEASE = "2000/10000";

/** Round trips between regions, and inside a region, in ms. */
export function roundTripMs(one: RegionName, other: RegionName): number {
  if (one === other) return 1;
  return one === AP || other === AP ? 150 : 80;
}

/** The target of a connection between regions: a registry, a node, or a node as a gateway. */
export type Target = (typeof TARGETS)[number];
const TARGETS = ["registry", "n0", "n1", "gateway n0", "gateway n1"] as const;

/** A message that was sent from one region to another. */
export interface Sent {
  readonly from: RegionName;
  readonly to: RegionName;
  readonly over: "registry" | "link";
}

/** One of the nodes. */
export interface RegionNode {
  readonly region: RegionName;
  /** Its place in its region; its name is `n0` or `n1`. */
  readonly place: number;
  /** Its name in paths. */
  readonly name: string;
  readonly runtime: RuntimeName;
  /** The URL for callers of its own region. */
  readonly url: string;
  program: Program;
}

/** The incarnations that a node believes to be live, sorted. */
export async function livingAt(url: string): Promise<string[]> {
  const { body } = await ask(url, "/v1/nodes", { patienceMs: 60_000 });
  const members: { incarnation: string; state: string }[] = body.nodes ?? [];
  return members.filter(({ state }) => state === "live").map((it) => it.incarnation).sort();
}

interface NamedRoute extends Route {
  readonly from: RegionName;
  readonly to: RegionName;
  readonly target: Target;
}

export class ThreeRegions {
  readonly nodes: RegionNode[] = [];
  readonly #routes = new Map<string, NamedRoute>();
  readonly #closers: (() => Promise<void>)[] = [];
  readonly #watches = new Set<{ text: string; messages: Sent[] }>();
  readonly #regionOf = new Map<number, RegionName>();
  /** The variables of each region's nodes. */
  readonly #env = new Map<RegionName, Record<string, string>>();
  readonly #envOf = new Map<string, Record<string, string>>();
  /** The URLs at which each node is dialled as a gateway. */
  readonly #addresses = new Map<string, string[]>();

  constructor() {
    for (const from of REGIONS) {
      for (const to of REGIONS) {
        for (const target of TARGETS) {
          const route = Object.assign(new Route(roundTripMs(from, to) / 2), { from, to, target });
          this.#routes.set(`${from} ${to} ${target}`, route);
        }
      }
    }
  }

  /** Starts everything; each node knows all others when it resolves. */
  async open(): Promise<void> {
    const ports = new Map<string, number>();
    for (const region of REGIONS) {
      for (const place of [0, 1]) ports.set(`${region}/n${place}`, await freePort());
    }
    await this.#openRegistries();
    for (const from of REGIONS) {
      const gateways: string[] = [];
      for (const [name, port] of ports) {
        const [to, node] = name.split("/") as [RegionName, "n0" | "n1"];
        if (to === from) continue;
        const proxy = await this.#proxyTo(port, () => this.#route(from, to, `gateway ${node}`));
        const address = `http://127.0.0.1:${proxy.port}`;
        gateways.push(`${to}=${address}`);
        this.#addresses.set(name, [...this.#addresses.get(name) ?? [], address]);
      }
      Object.assign(this.#env.get(from) as object, { ATLAS_GATEWAYS: gateways.join(",") });
    }
    for (const [name, port] of ports) await this.#startBehindProxy(name, port);
    await Promise.all(this.nodes.map((node) => readyLine(node.program, 60_000)));
    await Promise.all(this.nodes.map((node) => this.#knowsAll(node)));
  }

  /** A region's node. */
  node(region: RegionName, place: number): RegionNode {
    return this.nodes.find((it) => it.region === region && it.place === place) as RegionNode;
  }

  /** The URLs of some regions' nodes, for callers there. */
  urls(...regions: readonly RegionName[]): string[] {
    return this.nodes.filter(({ region }) => regions.includes(region)).map(({ url }) => url);
  }

  /** Closes or opens a route. */
  set(from: RegionName, to: RegionName, target: Target, state: RouteState): void {
    this.#route(from, to, target).state = state;
  }

  /** Closes or opens all routes from and to a region; routes inside it are unchanged. */
  cutOff(region: RegionName, state: RouteState): void {
    for (const route of this.#routes.values()) {
      if (route.from !== route.to && (route.from === region || route.to === region)) {
        route.state = state;
      }
    }
  }

  /**
   * Records each message sent from region to region in which `text` occurs: requests as
   * well as answers, in the order in which they were sent.
   */
  watch(text: string): Sent[] {
    const watch = { text, messages: [] };
    this.#watches.add(watch);
    return watch.messages;
  }

  /** Restarts a node whose process has ended; all nodes know it when this resolves. */
  async restart(node: RegionNode): Promise<void> {
    node.program = this.#start(node);
    const { incarnation } = await readyLine(node.program, 60_000);
    await Promise.all(this.nodes.map((other) => this.#knowsAll(other, incarnation)));
  }

  /** Ends everything except the nodes' processes, which end with the test. */
  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  async #openRegistries(): Promise<void> {
    const urls = new Map<RegionName, (port: number) => string>();
    const ports = new Map<RegionName, number>();
    let token = "";
    for (const region of REGIONS) {
      const redis = await startRedis({ durable: true });
      this.#closers.push(() => redis.close());
      ports.set(region, redis.port);
      urls.set(region, (port) => `redis://127.0.0.1:${port}`);
      if (region !== AP) continue;
      const upstash = await startUpstash(redis.port);
      this.#closers.push(() => upstash.close());
      token = upstash.token;
      ports.set(region, Number(new URL(upstash.url).port));
      urls.set(region, (port) => `http://127.0.0.1:${port}`);
    }
    for (const from of REGIONS) {
      const registries: string[] = [];
      for (const to of REGIONS) {
        const proxy = await this.#proxyTo(
          ports.get(to) as number,
          () => this.#route(from, to, "registry"),
        );
        registries.push(`${to}=${urls.get(to)?.(proxy.port)}`);
      }
      this.#env.set(from, {
        ATLAS_REGION: from,
        ATLAS_REGISTRY_URL: registries.join(","),
        ATLAS_REGISTRY_TOKEN: token,
        ATLAS_LEASE: LEASE,
      });
    }
  }

  /**
   * Starts a node with a public address; connections to it are recognised by their caller's region.
   */
  async #startBehindProxy(name: string, port: number): Promise<void> {
    const [region, node] = name.split("/") as [RegionName, "n0" | "n1"];
    const proxy: DelayProxy = await this.#proxyTo(port, (caller) => {
      const holder = holderOf(caller, proxy.port, this.#regionOf.keys());
      const from = this.#regionOf.get(holder ?? -1);
      return from === undefined ? null : this.#route(from, region, node);
    });
    const place = Number(node.slice(1));
    this.#envOf.set(name, {
      ...this.#env.get(region),
      ATLAS_NODE: node,
      PORT: String(port),
      ATLAS_PUBLIC_URL: `http://127.0.0.1:${proxy.port}`,
      ATLAS_ADDRESSES: (this.#addresses.get(name) ?? []).join(","),
    });
    const runtime = RUNTIMES[region][place] as RuntimeName;
    const base = { region, place, name, runtime, url: `http://127.0.0.1:${port}` };
    this.nodes.push({ ...base, program: this.#start(base) });
  }

  #start({ name, region, runtime }: Pick<RegionNode, "name" | "region" | "runtime">): Program {
    const program = runScript(runtime, "test/e2e/apps/regions.ts", this.#envOf.get(name));
    this.#regionOf.set(program.pid, region);
    return program;
  }

  async #knowsAll({ url }: RegionNode, incarnation?: string): Promise<void> {
    await until(
      async () => {
        const live = await livingAt(url);
        return live.length === this.nodes.length &&
          (incarnation === undefined || live.includes(incarnation));
      },
      "each node knows all others",
      60_000,
    );
  }

  async #proxyTo(target: number, route: (port: number) => NamedRoute | null): Promise<DelayProxy> {
    const proxy = await startDelayProxy({
      target,
      route,
      tap: (taken) => this.#observe(taken as NamedRoute),
    });
    this.#closers.push(() => proxy.close());
    return proxy;
  }

  #route(from: RegionName, to: RegionName, target: Target): NamedRoute {
    return this.#routes.get(`${from} ${to} ${target}`) as NamedRoute;
  }

  /** Observes one connection of a route: a registry's as bytes, a link's as frames. */
  #observe({ from, to, target }: NamedRoute): Tap {
    const readers = { out: new FrameReader(), back: new FrameReader() };
    return (direction, bytes) => {
      if (from === to) return;
      const over = target === "registry" ? "registry" : "link";
      const received = over === "registry" ? [bytes] : readers[direction].read(bytes);
      const message: Sent = direction === "out" ? { from, to, over } : { from: to, to: from, over };
      for (const { text, messages } of this.#watches) {
        for (const one of received) if (one.includes(text)) messages.push(message);
      }
    };
  }
}
