/**
 * A single node for unit tests: takes an app; gives a node on a memory store, in-process links and
 * a fake clock.
 */
import { memoryStore } from "../../adapters/store/memory.ts";
import {
  type InProcessNetwork,
  inProcessNetwork,
  inProcessTransport,
} from "../../adapters/transport/in_process.ts";
import type { AtlasNode, NodeEvent } from "../../src/api/node.ts";
import type { App } from "../../src/api/app.ts";
import { systemContext } from "../../adapters/system/async_context.ts";
import { createNode } from "../../src/node/node.ts";
import type { LeaseProfile, LeaseTimes } from "../../src/api/options.ts";
import type { Store } from "../../src/ports/store.ts";
import { SeededRandom } from "../engine/random.ts";
import { type FakeClock, fakeClock } from "./fake_clock.ts";

export interface TestNodeOptions {
  /** Default `test`. */
  region?: string;
  /** Default `node-1`. */
  node?: string;
  /** Those of another test node, if this node is to find that one. Default: its own. */
  clock?: FakeClock;
  store?: Store;
  network?: InProcessNetwork;
  /** Default `standard`. */
  lease?: LeaseProfile | LeaseTimes;
  onEvent?: (event: NodeEvent) => void;
}

/** A node with its store, network and clock. */
export interface TestNode<A extends App> {
  readonly node: AtlasNode<A>;
  readonly clock: FakeClock;
  readonly store: Store;
  readonly network: InProcessNetwork;
  /** Drains and closes the node, moving the clock as far as that needs. */
  close(): Promise<void>;
}

/** The number of nodes on each store, so that their incarnations are unique. */
const nodesOf = new WeakMap<Store, number>();

/**
 * Starts a node on a fake clock, so that tests don't wait.
 *
 * Calls that need no timer are answered at once; advance the clock for everything else.
 *
 * @example
 * ```ts const { node, clock, close } = await testNode(app); await node.resource("counters",
 * "visits").add(1); await clock.advance(60_000); console.log(node.stats().resources); // 0: it was
 * idle await close();
 * ```
 * @throws AtlasError as `createNode`
 */
export async function testNode<A extends App>(
  app: A,
  options: TestNodeOptions = {},
): Promise<TestNode<A>> {
  const {
    region = "test",
    node: name = "node-1",
    clock = fakeClock(),
    store = memoryStore(),
    network = inProcessNetwork(),
    lease,
    onEvent,
  } = options;
  const number = (nodesOf.get(store) ?? 0) + 1;
  nodesOf.set(store, number);
  const starting = createNode(app, {
    region,
    node: name,
    store,
    transport: inProcessTransport(network),
    clock,
    context: systemContext,
    random: new SeededRandom(number, `${region}/${name}`),
    ...(lease === undefined ? {} : { lease }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  const node = await clock.run(starting);
  return { node, clock, store, network, close: () => clock.run(node.close()) };
}
