/**
 * A market of real nodes in this process, with one memory store, one in-process network, and
 * functions whose calls tests can hold and count.
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
 * For tests in which nodes join and die: frequent heartbeats, so that membership is read soon. Deaths
 * show by broken links, so leases are long enough for a busy machine.
 */
const BRISK: LeaseTimes = { heartbeatMs: 40, leaseMs: 60_000 };

/** A lease that a busy machine keeps, for tests without node deaths. */
export const LASTING = { lease: "standard" } as const;

/** Counts concurrent calls, and holds them until they are released. */
export class CallGate {
  running = 0;
  most = 0;
  served = 0;
  aborted = 0;
  #held: (() => void)[] = [];
  #isOpen = false;

  /** Runs until it is released, or its caller aborts. */
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

  /** Releases `count` held calls. */
  release(count: number = Infinity): void {
    for (const go of this.#held.splice(0, count)) go();
  }

  /** Stops holding calls. */
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

/** A `calc` module whose calls go through `gate`. */
export function calc(
  gate: CallGate,
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
        await gate.turn();
        return `${"3.14159265".slice(0, digits + 2)}`;
      },
      async hold(this: { signal: AbortSignal }, n: number): Promise<number> {
        await gate.hold(this.signal);
        return n;
      },
      async fail(): Promise<never> {
        await gate.turn();
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

  /** Breaks all links of a node at once, like a long pause of its process. */
  cut(name: string): void {
    const links = this.#links.get(name) ?? new Set();
    for (const link of links) link.close("cut");
    links.clear();
  }

  /** Closes the transport of a node, like the death of its process. */
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

/** A market that is closed after the test. */
export function market(clock?: FakeClock): Market {
  const made = new Market(clock);
  markets.push(made);
  return made;
}

afterEach(async () => {
  await Promise.all(markets.splice(0).map((made) => made.close()));
});
