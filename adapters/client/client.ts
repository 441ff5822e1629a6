/**
 * A client of one or several nodes, over HTTP.
 *
 * Takes the URL of a node, or of several, and gives the same shape as a node: stubs, calls,
 * lookups, modules. Arguments and results travel as MessagePack, so that Dates, bytes, Maps, Sets
 * and bigints arrive unchanged. Browser-safe.
 *
 * @example
 * ```ts
 * const atlas = connect<typeof app>("http://127.0.0.1:8080", { token });
 * await atlas.resource("channels", "project_0:channel_0").send("ann", "hi");
 * const calc = await atlas.discover("calc", { capacity: 2 });
 * await calc.pi(5);
 * ```
 */
import type { App } from "../../src/api/app.ts";
import {
  type CallOptions,
  type CallResult,
  checkCall,
  checkLookup,
  checkPage,
  checkTimeout,
  type LookupOptions,
  type PageOptions,
  type ResourcePage,
  type TimeoutOptions,
} from "../../src/api/calls.ts";
import { checkRange } from "../../src/api/module.ts";
import type {
  AuthorityView,
  ExchangeView,
  ModuleAtlas,
  ModuleCallResult,
  ModuleProxy,
  ModuleView,
} from "../../src/api/modules.ts";
import type { Atlas, AtlasNode, StubOf } from "../../src/api/node.ts";
import { makeProxy, makeStub } from "../../src/api/proxies.ts";
import { AtlasError } from "../../src/errors.ts";
import { checkRequest, demandOf } from "../../src/lambda/market_options.ts";
import { DEFAULT_DISCOVER_MS } from "../../src/limits.ts";
import { checkTraceparent } from "../../src/model/call_path.ts";
import { isCallable } from "../../src/model/internal_methods.ts";
import type { Member } from "../../src/model/member.ts";
import { checkMs, quoted } from "../../src/model/options.ts";
import type { DegradedVerdict, Lookup, Ownership } from "../../src/model/ownership.ts";
import { checkPrefix, checkToken, resourceKey } from "../../src/model/rrp.ts";
import { readPath, readVerdict } from "../http_wire/path.ts";
import {
  baseUrls,
  checkConnect,
  checkIdempotencyKey,
  checkSocket,
  type ConnectOptions,
  encodeArguments,
  functionPath,
  type NodeUrl,
} from "./options.ts";
import { ClientPlb } from "./purchase.ts";
import { createRequester, type Requester } from "./retrying_requester.ts";
import { openSocket } from "./socket.ts";
import type { ClientSocket, SocketOptions } from "./socket_api.ts";

export type {
  ClientSocket,
  SocketCallOptions,
  SocketClose,
  SocketEvent,
  SocketHello,
  SocketOptions,
} from "./socket_api.ts";

export type { ConnectOptions, NodeUrl } from "./options.ts";

/** How long a node may take to answer with the reason why a socket can't be opened, in ms. */
const PROBE_MS = 2_000;

/** The sockets of a client. */
export interface ClientSockets<A extends App = App> {
  /**
   * Connects a WebSocket to a resource, wherever it is. Its events come in order, each once, also
   * after a reconnection (to the next URL, if there are several). If events were lost, the next
   * event has `gap` set.
   *
   * @example
   * ```ts
   * const room = atlas.connect("channels", "project_0:channel_0", {
   *   onEvent: ({ seq, data }) => console.log(seq, data),
   * });
   * room.send("hi");
   * ```
   * @throws AtlasError `invalid_rrp` if type or id isn't allowed, `bad_request` if an option has no
   * such name or kind.
   */
  connect<T = unknown>(
    type: keyof A["resources"] & string,
    id: string,
    options?: SocketOptions<T>,
  ): ClientSocket<T>;
}

/** A client: a node's methods for callers, moves of resources, and sockets. */
export type AtlasClient<A extends App = App> =
  & Atlas<A>
  & Pick<AtlasNode<A>, "move">
  & ClientSockets<A>;

/**
 * A client of the node at `url`, or of several nodes. If one can't be reached or doesn't answer,
 * the next one is asked: in parallel, if that can't run anything twice (lookups, listings, calls
 * with an idempotency key); else from the next call on. Nothing is sent before the first call.
 *
 * A call whose outcome is unknown rejects with `maybeExecuted`; it is repeated, with pauses and
 * within its deadline, only if it carries an idempotency key or can't have run. An idempotency key
 * must be printable ASCII here: it travels as a header.
 *
 * @param url http:// or https://, without user name, password or query.
 * @throws AtlasError `bad_request` if a URL or an option isn't allowed; `invalid_rrp`: the region.
 */
export function connect<A extends App = App>(
  url: NodeUrl | readonly NodeUrl[],
  options: ConnectOptions = {},
): AtlasClient<A> {
  const { token, fetch, timeoutMs, region } = checkConnect(options);
  const urls = baseUrls(url);
  const request = createRequester({ urls, token, fetch });
  const client = new HttpClient(request, timeoutMs, region);
  const sockets: ClientSockets = {
    connect<T>(type: string, id: string, given: SocketOptions<T> = {}) {
      const key = resourceKey(type, id);
      checkSocket(given);
      const path = `/v1/connect/${key}`;
      const probe = () => request({ method: "GET", path, timeoutMs: PROBE_MS });
      return openSocket<T>({ urls, token, key, timeoutMs, probe }, given);
    },
  };
  const whole: unknown = Object.assign(client, clientModules(request, timeoutMs), sockets);
  return whole as AtlasClient<A>;
}

class HttpClient implements Omit<AtlasClient, keyof ModuleAtlas | "connect"> {
  readonly #request: Requester;
  readonly #timeoutMs: number;
  readonly #region: string | undefined;

  constructor(request: Requester, timeoutMs: number, region: string | undefined) {
    this.#request = request;
    this.#timeoutMs = timeoutMs;
    this.#region = region;
  }

  resource<T extends string>(type: T, id: string, options: CallOptions = {}): StubOf<App, T> {
    resourceKey(type, id);
    checkCall(options);
    return makeStub(async (method, args) =>
      (await this.call(type, id, method, args, options)).result
    ) as StubOf<App, T>;
  }

  async call(
    type: string,
    id: string,
    method: string,
    args: readonly unknown[],
    options: CallOptions = {},
  ): Promise<CallResult> {
    const key = resourceKey(type, id);
    checkCall(options);
    // Refused, because `fetch` would remove a dot segment from the path.
    if (!isCallable(method) || /^\.{1,2}$/.test(method)) {
      throw new AtlasError("not_found", `${type} has no method ${quoted(method)}`);
    }
    const located = { path: [] as readonly string[], verdict: null as DegradedVerdict | null };
    const { callerRegion = this.#region, timeoutMs = this.#timeoutMs, traceparent } = options;
    if (callerRegion !== undefined) checkToken("callerRegion", callerRegion);
    const answer = await this.#request({
      method: "POST",
      path: `/v1/resources/${key}/${encodeURIComponent(method)}`,
      body: encodeArguments(args),
      timeoutMs: checkMs("timeoutMs", timeoutMs),
      idempotencyKey: checkIdempotencyKey(options.idempotencyKey),
      signal: options.signal,
      callerRegion,
      traceparent: checkTraceparent(traceparent) ?? undefined,
      onHeaders: (headers) =>
        Object.assign(located, { path: readPath(headers), verdict: readVerdict(headers) }),
    });
    const { path, verdict } = located;
    return { ...answer as Omit<CallResult, "path">, path, ...verdict && { verdict } };
  }

  async lookup(type: string, id: string, options: LookupOptions = {}): Promise<Lookup> {
    const { require, timeoutMs } = checkLookup(options);
    const query = require === undefined ? "" : `?require=${require}`;
    const path = `/v1/resources/${resourceKey(type, id)}${query}`;
    return await this.#get(path, timeoutMs) as Lookup;
  }

  async members(): Promise<readonly Member[]> {
    const { nodes } = await this.#get("/v1/nodes") as { nodes: Member[] };
    return nodes;
  }

  async resources(prefix: string, page: PageOptions = {}): Promise<ResourcePage> {
    const { cursor, limit } = checkPage(page);
    const query = new URLSearchParams({ prefix: checkPrefix(prefix) });
    if (typeof cursor === "string") query.set("cursor", cursor);
    if (limit !== undefined) query.set("limit", String(limit));
    return await this.#get(`/v1/resources?${query}`) as ResourcePage;
  }

  async count(prefix: string, options: TimeoutOptions = {}): Promise<number> {
    const { timeoutMs } = checkTimeout(options);
    const query = new URLSearchParams({ prefix: checkPrefix(prefix), count: "1" });
    const { count } = await this.#get(`/v1/resources?${query}`, timeoutMs) as { count: number };
    return count;
  }

  async move(
    type: string,
    id: string,
    region: string,
    options: TimeoutOptions = {},
  ): Promise<Pick<Ownership, "rrp" | "epoch">> {
    const { timeoutMs = this.#timeoutMs } = checkTimeout(options);
    const query = new URLSearchParams({ move: checkToken("region", region) });
    const answer = await this.#request({
      method: "POST",
      path: `/v1/resources/${resourceKey(type, id)}?${query}`,
      timeoutMs,
    });
    return answer as Pick<Ownership, "rrp" | "epoch">;
  }

  async #get(path: string, timeoutMs: number = this.#timeoutMs): Promise<unknown> {
    return await this.#request({ method: "GET", path, timeoutMs });
  }
}

/** What a client can do with modules. */
export function clientModules(request: Requester, defaultMs: number): ModuleAtlas {
  const get = (path: string): Promise<unknown> =>
    request({ method: "GET", path, timeoutMs: defaultMs });
  return {
    async discover(name, options = {}) {
      checkToken("module", name);
      demandOf(options);
      const { timeoutMs = DEFAULT_DISCOVER_MS, callTimeoutMs = defaultMs } = options;
      const plb = new ClientPlb(request, name, { ...options, timeoutMs, callTimeoutMs });
      await plb.open();
      return makeProxy(plb, () => plb.exports) as ModuleProxy;
    },
    async request(module, name, args, options = {}) {
      const { version, timeoutMs = defaultMs, signal } = checkRequest(options);
      if (version !== undefined) checkRange(version);
      const query = version === undefined ? "" : `?${new URLSearchParams({ version })}`;
      const answer = await request({
        method: "POST",
        path: functionPath(module, name) + query,
        body: encodeArguments(args),
        timeoutMs: checkMs("timeoutMs", timeoutMs),
        signal,
      });
      return answer as ModuleCallResult;
    },
    modules: async () => (await get("/v1/modules") as { modules: ModuleView[] }).modules,
    async exchange(name) {
      const path = `/v1/exchanges/${checkToken("module", name)}`;
      return (await get(path) as { exchanges: ExchangeView[] }).exchanges;
    },
    authorities: async () =>
      (await get("/v1/authorities") as { authorities: AuthorityView[] }).authorities,
  };
}
