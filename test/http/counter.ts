/**
 * A cluster of nodes with modules, each behind its HTTP app, without sockets; for tests of
 * modules.
 */
import { afterEach } from "vitest";
import { createHttpApp, type HttpApp } from "../../adapters/http/app.ts";
import { connect, type ConnectOptions } from "../../adapters/client/client.ts";
import type { Atlas, AtlasNode } from "../../mod.ts";
import type { FakeClock } from "../../testing.ts";
import { type CalcApp, LASTING, type Market, market } from "../lambda/market.ts";
import { type Answer, ask, type AskOptions, ENDLESS } from "./serving.ts";

/** Nodes that close by a fake clock. */
const still: [FakeClock, AtlasNode<CalcApp>][] = [];
afterEach(async () => {
  for (const [clock, node] of still.splice(0)) await clock.run(node.close({ drainMs: 0 }));
});

export interface Counter {
  readonly market: Market;
  readonly seller: AtlasNode<CalcApp>;
  /** The node that gets all requests; it sells nothing. */
  readonly node: AtlasNode<CalcApp>;
  readonly http: HttpApp;
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>;
  client(options?: ConnectOptions): Atlas<CalcApp>;
}

/**
 * Two nodes, of which the second gets the requests; on a fake clock no deadline passes by itself.
 */
export async function counter(clock?: FakeClock): Promise<Counter> {
  const made = market();
  const times = clock ? { clock, lease: ENDLESS } : LASTING;
  const seller = await made.node("seller", times);
  const node = await made.node("asked", times);
  if (clock) still.push([clock, seller], [clock, node]);
  const http = createHttpApp({ node: () => node as unknown as AtlasNode });
  return {
    market: made,
    seller,
    node,
    http,
    ask: (method, path, options) => ask(http, method, path, options),
    client: (options = {}) => clientOf(() => http, options),
  };
}

/** A client that sends each request to the current app. */
export function clientOf(http: () => HttpApp, options: ConnectOptions = {}): Atlas<CalcApp> {
  return connect<CalcApp>("http://atlas.test", {
    ...options,
    fetch: (url, init) => http().fetch(new Request(url, { ...init, redirect: "follow" })),
  });
}
