/**
 * A market of real nodes in this process: one memory store, one in-process network, and
 * functions whose calls tests hold open and count.
 */
import { afterEach } from "vitest";
import {
  type App,
  type AtlasNode,
  createNode,
  type CreateNodeOptions,
  defineApp,
  defineModule,
  type InProcessNetwork,
  inProcessNetwork,
  inProcessTransport,
  type LeaseTimes,
  type Link,
  memoryStore,
  type Module,
  type NodeEvent,
  type ResourceMap,
  type Store,
  type Transport,
} from "../../mod.ts";
import type { FakeClock } from "../../testing.ts";

export { until, untilBy } from "../support/until.ts";

/**
 * For tests in which nodes come and go: what the store knows is heard of soon. Deaths are told
 * by links that break, so that leases needn't end, and a busy machine keeps them.
 */
const BRISK: LeaseTimes = { heartbeatMs: 40, leaseMs: 60_000 };

/** A lease that a busy machine keeps, for tests in which nobody dies. */
export const LASTING = { lease: "standard" } as const;

/** Counts calls that run at once, and holds them until they are let go. */
export class Shop {
  running = 0;
  most = 0;
  served = 0;
  aborted = 0;
  #held: (() => void)[] = [];
  #isOpen = false;

  /** Runs until it is let go, or its caller gives up. */
  readonly hold = async (signal?: AbortSignal): Promise<void> => {
    this.#enter();
    if (!this.#isOpen) {
      await new Promise<void>((resolve) => {
        this.#held.push(resolve);
        signal?.addEventListener("abort", () => {
          this.aborted++;
          resolve();
        });
      });
    }
    this.#leave();
  };

  /** Runs for a turn of the event loop. */
  readonly turn = async (): Promise<void> => {
    this.#enter();
    await new Promise((resolve) => setImmediate(resolve));
    this.#leave();
  };

  /** Lets `count` of those go that are held. */
  release(count: number = Infinity): void {
    for (const go of this.#held.splice(0, count)) go();
  }

  /** Holds nobody any more. */
  open(): void {
    this.#isOpen = true;
    this.release();
  }

  #enter(): void {
    this.most = Math.max(this.most, ++this.running);
  }

  #leave(): void {
    this.running--;
    this.served++;
  }
}

export type Calc = {
  pi: (digits: number) => Promise<string>;
  hold: (n: number) => Promise<number>;
  fail: () => Promise<never>;
};

/** A `calc` module whose calls go through `shop`. */
export function calc(
  shop: Shop,
  version: string = "1.0.0",
  capacity: number | undefined = undefined,
): Module<Calc> {
  return defineModule({
    name: "calc",
    version,
    capacity,
    attributes: { made: version },
    functions: {
      async pi(digits: number): Promise<string> {
        await shop.turn();
        return `${"3.14159265".slice(0, digits + 2)}`;
      },
      async hold(this: { signal: AbortSignal }, n: number): Promise<number> {
        await shop.hold(this.signal);
        return n;
      },
      async fail(): Promise<never> {
        await shop.turn();
        throw new Error("failed on purpose");
      },
    },
  });
}

/** An app that knows `calc` by its type. */
export type CalcApp = App<ResourceMap, { readonly calc: Module<Calc> }>;
const EMPTY = defineApp({ modules: {} }) as unknown as CalcApp;

export class Market {
  readonly store: Store = memoryStore();
  readonly network: InProcessNetwork = inProcessNetwork();
  readonly events: NodeEvent[] = [];
  readonly transports: Map<string, ReturnType<typeof inProcessTransport>> = new Map();
  readonly #links = new Map<string, Set<Link>>();
  readonly #clock: FakeClock | undefined;
  readonly #nodes: AtlasNode<CalcApp>[] = [];

  /** @param clock the time of all its nodes. */
  constructor(clock?: FakeClock) {
    this.#clock = clock;
  }

  async node(
    name: string,
    options: Partial<CreateNodeOptions> = {},
    app: CalcApp = EMPTY,
  ): Promise<AtlasNode<CalcApp>> {
    const transport = this.#kept(name, inProcessTransport(this.network));
    this.transports.set(name, transport);
    const node = await createNode(app, {
      region: "local",
      node: name,
      store: this.store,
      transport,
      lease: BRISK,
      onEvent: (event) => this.events.push(event),
      ...this.#clock && { clock: this.#clock },
      ...options,
    });
    this.#nodes.push(node);
    return node;
  }

  /** A transport whose links can be cut. */
  #kept(name: string, inner: Transport): Transport {
    const links = new Set<Link>();
    this.#links.set(name, links);
    const keep = (link: Link): Link => {
      links.add(link);
      return link;
    };
    return {
      address: inner.address,
      open: (self, accept) => inner.open(self, (link) => accept(keep(link))),
      dial: async (peer) => keep(await inner.dial(peer)),
      close: () => inner.close(),
    };
  }

  /** Breaks all links of a node at once, as a long pause of its process does. */
  cut(name: string): void {
    const links = this.#links.get(name) ?? new Set();
    for (const link of links) link.close("cut");
    links.clear();
  }

  /** Cuts a node off, as its process's death does. */
  async kill(name: string): Promise<void> {
    await this.transports.get(name)?.close();
  }

  async close(): Promise<void> {
    const closed = Promise.all(this.#nodes.map((node) => node.close({ drainMs: 100 })));
    await (this.#clock?.run(closed) ?? closed);
    await this.store.close();
  }
}

const markets: Market[] = [];

/** A market that is taken down after the test. */
export function market(clock?: FakeClock): Market {
  const made = new Market(clock);
  markets.push(made);
  return made;
}

afterEach(async () => {
  await Promise.all(markets.splice(0).map((made) => made.close()));
});
