/**
 * A node together with its HTTP server: what `serve` gives.
 *
 * Takes a node and what was opened for it; gives the same node, plus its URL. Its `close` shuts
 * down in an order that loses nothing: drain while the server still accepts, answer the requests in
 * progress, leave the cluster, fail the requests that could not be finished, stop listening.
 */
import type { App } from "../../src/api/app.ts";
import type {
  CallOptions,
  CallResult,
  DrainOptions,
  LookupOptions,
  PageOptions,
  ResourcePage,
} from "../../src/api/calls.ts";
import type { Module } from "../../src/api/module.ts";
import type {
  AuthorityView,
  DiscoverOptions,
  ExchangeView,
  Listener,
  ModuleCallResult,
  ModuleProxy,
  ModuleRequestOptions,
  ModuleView,
  Plb,
  PublishOptions,
} from "../../src/api/modules.ts";
import type {
  AtlasNode,
  DrainedNode,
  DrainNodesOptions,
  NodeState,
  NodeStats,
  StubOf,
} from "../../src/api/node.ts";
import type { AtlasError } from "../../src/errors.ts";
import { DEFAULT_DRAIN_MS } from "../../src/limits.ts";
import type { Member } from "../../src/model/member.ts";
import { drainMsOf } from "../../src/model/options.ts";
import type { Lookup } from "../../src/model/ownership.ts";
import type { HttpApp } from "../http/app.ts";

/** A node that is served over HTTP. */
export type ServedNode<A extends App = App> = AtlasNode<A> & {
  /** The URL at which callers and other nodes reach it, without a slash at the end. */
  readonly url: string;
};

/** What a served node closes. */
export interface ServedNodeParts {
  readonly url: string;
  readonly http: HttpApp;
  /** Stops listening; the port is free afterwards. */
  closeServer(): Promise<void>;
  closeStore(): Promise<void>;
  /** Resolves when nobody can reach the node any more: it then drains and stops. */
  readonly lost: Promise<AtlasError>;
}

/** How long requests in progress may take once the node has drained, in ms. */
const ANSWER_MS = 5_000;
/** How long failing the requests that the node's end cut off may take, in ms. */
const CUT_OFF_MS = 1_000;
/** The time for the last answers to be written to their sockets, in ms. */
const FLUSH_MS = 25;

/** `node`, with a `close` that also closes its parts. */
export function servedNode<A extends App>(
  node: AtlasNode<A>,
  parts: ServedNodeParts,
): ServedNode<A> {
  return new Served(node, parts);
}

class Served<A extends App> implements ServedNode<A> {
  readonly #node: AtlasNode<A>;
  readonly #parts: ServedNodeParts;
  readonly closed: Promise<AtlasError | null>;
  #closing: Promise<void> | undefined;

  constructor(node: AtlasNode<A>, parts: ServedNodeParts) {
    this.#node = node;
    this.#parts = parts;
    // A node may also stop by itself. Its parts are then closed here.
    const stopped = node.closed.then((error) => ({ error, drainMs: 0 }));
    const lost = parts.lost.then((error) => ({ error, drainMs: DEFAULT_DRAIN_MS }));
    this.closed = Promise.race([stopped, lost]).then(async ({ error, drainMs }) => {
      await this.close({ drainMs });
      return error;
    });
  }

  get url(): string {
    return this.#parts.url;
  }
  get region(): string {
    return this.#node.region;
  }
  get node(): string {
    return this.#node.node;
  }
  get incarnation(): string {
    return this.#node.incarnation;
  }
  get state(): NodeState {
    return this.#node.state;
  }

  stats(): NodeStats {
    return this.#node.stats();
  }
  resource<T extends keyof A["resources"] & string>(
    type: T,
    id: string,
    options?: CallOptions,
  ): StubOf<A, T> {
    return this.#node.resource(type, id, options);
  }
  call(
    type: string,
    id: string,
    method: string,
    args: readonly unknown[],
    options?: CallOptions,
  ): Promise<CallResult> {
    return this.#node.call(type, id, method, args, options);
  }
  lookup(type: string, id: string, options?: LookupOptions): Promise<Lookup> {
    return this.#node.lookup(type, id, options);
  }
  members(): Promise<readonly Member[]> {
    return this.#node.members();
  }
  resources(prefix: string, page?: PageOptions): Promise<ResourcePage> {
    return this.#node.resources(prefix, page);
  }

  count(prefix: string, options?: Pick<CallOptions, "timeoutMs">): Promise<number> {
    return this.#node.count(prefix, options);
  }
  move(
    type: string,
    id: string,
    region: string,
    options?: Pick<CallOptions, "timeoutMs">,
  ): ReturnType<AtlasNode["move"]> {
    return this.#node.move(type, id, region, options);
  }
  accept(...given: Parameters<AtlasNode["accept"]>): ReturnType<AtlasNode["accept"]> {
    return this.#node.accept(...given);
  }
  publish(module: Module, options?: PublishOptions): Listener {
    return this.#node.publish(module, options);
  }
  discover<M extends keyof NonNullable<A["modules"]> & string>(
    name: M,
    options?: DiscoverOptions,
  ): Promise<ModuleProxy<NonNullable<A["modules"]>[M], Plb>> {
    return this.#node.discover(name, options);
  }
  request(
    module: string,
    name: string,
    args: readonly unknown[],
    options?: ModuleRequestOptions,
  ): Promise<ModuleCallResult> {
    return this.#node.request(module, name, args, options);
  }
  listeners(): readonly Listener[] {
    return this.#node.listeners();
  }
  modules(): Promise<readonly ModuleView[]> {
    return this.#node.modules();
  }
  exchange(name: string): Promise<readonly ExchangeView[]> {
    return this.#node.exchange(name);
  }
  authorities(): Promise<readonly AuthorityView[]> {
    return this.#node.authorities();
  }
  knowsRegion(region: string): boolean {
    return this.#node.knowsRegion(region);
  }
  drain(options?: DrainOptions): Promise<void> {
    return this.#node.drain(options);
  }
  drainNodes(options: DrainNodesOptions): Promise<readonly DrainedNode[]> {
    return this.#node.drainNodes(options);
  }

  async close(options: { drainMs?: number } = {}): Promise<void> {
    const drainMs = drainMsOf(options);
    await (this.#closing ??= this.#shut(drainMs));
  }

  async #shut(drainMs: number): Promise<void> {
    const { http, closeServer, closeStore } = this.#parts;
    // A failed drain hands nothing more over; the remaining ownerships end with the lease.
    if (drainMs > 0) await atMost(drainMs, this.#node.drain().catch(() => {}));
    await http.stop(drainMs > 0 ? ANSWER_MS : 0);
    await sleep(FLUSH_MS);
    await this.#node.close({ drainMs: 0 });
    // Requests that were still running have failed by now, and say whether they may have executed.
    await http.stop(CUT_OFF_MS);
    await sleep(FLUSH_MS);
    await closeServer();
    await closeStore();
  }
}

/** Waits for `work`, but not longer than `ms`. */
async function atMost(ms: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
