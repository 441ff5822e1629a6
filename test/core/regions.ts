/**
 * Several regions in this process for tests of routing: each has a memory store of its own, and
 * nodes that know keys' homes. Links between nodes can be closed or stalled; messages and store
 * calls are counted.
 */
import {
  AtlasError,
  type AtlasNode,
  type CreateNodeOptions,
  inProcessNetwork,
  inProcessTransport,
  type Link,
  type LinkIdentity,
  memoryStore,
  type Peer,
  type Store,
  type Transport,
} from "../../mod.ts";
import { decodeMessage } from "../../src/model/envelope.ts";
import type { FakeClock } from "../../testing.ts";
import { type Cluster, cluster, Counter, type TestApp } from "./cluster.ts";

/** Returns its caller and its trace context. */
export class CallerReporter extends Counter {
  who(): unknown {
    return { caller: this.caller, traceparent: this.traceparent };
  }

  async ask(type: string, id: string): Promise<unknown> {
    return await (this.node.resource(type, id) as unknown as CallerReporter).who();
  }
}

export const app: TestApp = { resources: { counters: CallerReporter } } as unknown as TestApp;

/** A method of a region's store that a node called. */
export interface StoreCall {
  readonly node: string;
  readonly region: string;
  readonly method: string;
}

const OWN = ["register", "renew", "kill", "leave", "members"];
const BY_KEY = ["lookup", "release", "read", "range"];

export class Regions {
  readonly storeCalls: StoreCall[] = [];
  /** What was sent over links: `a>b request`. */
  readonly sent: string[] = [];
  /** Why links are closed, by `a>b` of nodes' names. */
  readonly closed: Map<string, string> = new Map();
  /** Whether regions see each other's members. */
  seen = true;
  /** Whether all regions share one store, and keys have no homes. */
  readonly shared: boolean;
  /** A key's home, as a node of a region believes; by default the part before its `~`. */
  homeOf: (key: string, asking: string) => string | null = (key) =>
    /\/([^~]+)~/.exec(key)?.[1] ?? null;
  readonly #cluster: Cluster;
  readonly #network = inProcessNetwork();
  readonly #stores = new Map<string, Store>();
  readonly #names = new Map<string, string>();
  /** Messages held back on stalled links, by `a>b`. */
  readonly #stalled = new Map<string, (() => void)[]>();

  /** @param options.clock the clock of all nodes that aren't given another. */
  constructor({ shared = false, clock }: { shared?: boolean; clock?: FakeClock } = {}) {
    this.shared = shared;
    this.#cluster = cluster(undefined, clock);
  }

  /** A node called `<region>/<name>`. */
  async node(
    path: string,
    options: Partial<CreateNodeOptions> = {},
    of: unknown = app,
  ): Promise<AtlasNode<TestApp>> {
    const [region, name] = path.split("/") as [string, string];
    const transport = this.#transport(path);
    this.#names.set(transport.address, path);
    const given = { region, store: this.#store(path, region), transport, ...options };
    return await this.#cluster.node(name, given, of);
  }

  /** The address of a node that is or was here. */
  address(path: string): string {
    for (const [address, name] of this.#names) if (name === path) return address;
    throw new Error(`there is no node ${path}`);
  }

  /** Closes or opens the links between nodes, one way. */
  setLink(from: string, to: string, isOpen: boolean, why: string = "the link is closed"): void {
    if (isOpen) this.closed.delete(`${from}>${to}`);
    else this.closed.set(`${from}>${to}`, why);
  }

  /**
   * Holds back all that is sent between two nodes, either way, without an error. It arrives once
   * the link is no longer stalled, because TCP resends it.
   */
  stall(a: string, b: string, isStalled: boolean): void {
    for (const way of [`${a}>${b}`, `${b}>${a}`]) {
      const held = this.#stalled.get(way) ?? [];
      if (isStalled) this.#stalled.set(way, held);
      else this.#stalled.delete(way);
      if (!isStalled) { for (const send of held) send(); }
    }
  }

  /** Resets what was counted. */
  resetCounts(): void {
    this.storeCalls.length = this.sent.length = 0;
  }

  /** Store calls of one node that concern a key. */
  keyCalls(node: string): string[] {
    return this.storeCalls.filter((call) => call.node === node && !OWN.includes(call.method)).map((
      { region, method },
    ) => `${region} ${method}`);
  }

  /** Requests, forwarded or not, that were sent over links. */
  requests(): string[] {
    return this.sent.filter((line) => line.endsWith(" request"));
  }

  /** The node to which a node sent its last request. */
  lastTarget(from: string): string {
    const line = this.requests().findLast((sent) => sent.startsWith(`${from}>`)) ?? "";
    return line.slice(from.length + 1, line.indexOf(" "));
  }

  #base(of: string): Store {
    const region = this.shared ? "all" : of;
    let store = this.#stores.get(region);
    if (!store) this.#stores.set(region, store = memoryStore());
    return store;
  }

  #store(node: string, own: string): Store {
    const ask = (region: string, method: string, args: unknown[]): unknown => {
      this.storeCalls.push({ node, region, method });
      // deno-lint-ignore no-explicit-any
      return (this.#base(region) as any)[method](...args);
    };
    const home = (key: string): string => this.shared ? own : this.homeOf(key, own) ?? own;
    // deno-lint-ignore no-explicit-any
    const store: any = {
      status: () => "up",
      homeOf: (key: string) => this.homeOf(key, own),
      members: async () => await this.#members(node, own),
      list: (...args: unknown[]) => ask(own, "list", args),
      close: async () => {},
    };
    for (const method of OWN) store[method] ??= (...args: unknown[]) => ask(own, method, args);
    for (const method of BY_KEY) {
      store[method] = (key: string, ...args: unknown[]) => ask(home(key), method, [key, ...args]);
    }
    for (const method of ["claim", "commit"]) {
      store[method] = (step: { key: string }) => {
        if (home(step.key) !== own) {
          throw new AtlasError("bad_request", `${step.key} is not at home`);
        }
        return ask(own, method, [step]);
      };
    }
    if (this.shared) delete store.homeOf;
    return store;
  }

  async #members(node: string, own: string) {
    this.storeCalls.push({ node, region: own, method: "members" });
    const roll = await this.#base(own).members();
    if (!this.seen || this.shared) return roll;
    const others = [...this.#stores].filter(([region]) => region !== own);
    const rolls = await Promise.all(others.map(([, store]) => store.members()));
    return { ...roll, members: [...roll.members, ...rolls.flatMap(({ members }) => members)] };
  }

  #transport(path: string): Transport {
    const inner = inProcessTransport(this.#network);
    const wrap = (link: Link): Link => {
      const { region, node } = link.peer;
      const way = `${path}>${region}/${node}`;
      return {
        peer: link.peer,
        start: (handlers) => link.start(handlers),
        close: (reason) => link.close(reason),
        send: (tuple, body) => {
          this.sent.push(`${way} ${decodeMessage(tuple, body).kind}`);
          const held = this.#stalled.get(way);
          held?.push(() => void link.send(tuple, body));
          return held !== undefined || link.send(tuple, body);
        },
      };
    };
    return {
      address: inner.address,
      open: (self: LinkIdentity, accept: (link: Link) => void) =>
        inner.open(self, (link) => accept(wrap(link))),
      dial: async (peer: Peer) => {
        const way = `${path}>${this.#names.get(peer.address)}`;
        const why = this.#stalled.has(way) ? "nobody answered in time" : this.closed.get(way);
        if (why !== undefined) throw new AtlasError("unavailable", why);
        return wrap(await inner.dial(peer));
      },
      close: () => inner.close(),
    };
  }
}
