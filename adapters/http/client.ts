/**
 * A client: a node's counter, seen from the other side.
 *
 * Takes the URL of a node, or of several, and gives the same shape as a node: stubs,
 * calls, lookups, modules. Arguments and results travel as MessagePack, so that Dates, bytes,
 * Maps, Sets and bigints arrive as they left. Browser-safe.
 *
 * @example
 * ```ts
 * const atlas = connect<typeof app>("http://127.0.0.1:8080", { token });
 * await atlas.resource("channels", "project_0:channel_0").send("ann", "hi");
 * const calc = await atlas.discover("calc", { capacity: 2 });
 * await calc.pi(5);
 * ```
 */
import type {
  Atlas,
  AtlasNode,
  CallOptions,
  CallResult,
  LookupOptions,
  PageOptions,
  ResourcePage,
  StubOf,
} from "../../src/api.ts";
import type { App } from "../../src/app.ts";
import { AtlasError } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_IDEMPOTENCY_KEY_BYTES } from "../../src/limits.ts";
import type { ModuleAtlas } from "../../src/lambda/api.ts";
import type { Member } from "../../src/model/member.ts";
import { isCallable } from "../../src/model/method.ts";
import type { Lookup, Mark, Ownership } from "../../src/model/ownership.ts";
import { checkPrefix, checkToken, resourceKey } from "../../src/model/rrp.ts";
import { checkTraceparent } from "../../src/model/trail.ts";
import { makeStub } from "../../src/routing/stub.ts";
import { clientModules } from "./client_modules.ts";
import { isHeaderText } from "./inputs.ts";
import { checkTimeout, encodeArguments } from "./outgoing.ts";
import { readMark, readPath } from "./path.ts";
import { createRequester, type Fetch, type Requester } from "./requester.ts";

export interface ConnectOptions {
  /** The nodes' `ATLAS_TOKEN`. */
  token?: string;
  /** Default: the global one. */
  fetch?: Fetch;
  /** Deadline of calls that name none, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /** The region that this program runs in: told to the resources it calls. Default: the node's. */
  region?: string;
}

/** What a client can do: what a node can for others, and move resources. */
export type AtlasClient<A extends App = App> = Atlas<A> & Pick<AtlasNode<A>, "move">;

/**
 * A client of the node at `url`; of several, the next one is asked where one can't be
 * reached or stays silent: at once, beside it, where that can't run anything twice (lookups,
 * listings, calls with an idempotency key), else by the next call. Nothing is sent before the
 * first call.
 *
 * A call whose outcome is unknown rejects with `maybeExecuted`; it is repeated, with
 * pauses and within its deadline, only where it carries an idempotency key or can't
 * have run. An idempotency key must be printable ASCII here: it travels as a header.
 *
 * @throws AtlasError `bad_request` where a URL or an option isn't allowed.
 */
export function connect<A extends App = App>(
  url: string | readonly string[],
  options: ConnectOptions = {},
): AtlasClient<A> {
  const timeoutMs = checkTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const request = createRequester({
    urls: baseUrls(url),
    token: options.token,
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
  });
  const region = options.region === undefined ? undefined : checkToken("region", options.region);
  const client = new HttpClient(request, timeoutMs, region);
  return Object.assign(client, clientModules(request, timeoutMs)) as unknown as AtlasClient<A>;
}

class HttpClient implements Omit<AtlasClient, keyof ModuleAtlas> {
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
    // A dot would be taken out of the path before it is sent.
    if (!isCallable(method) || /^\.{1,2}$/.test(method)) {
      throw new AtlasError("not_found", `${type} has no method ${JSON.stringify(method)}`);
    }
    const told = { path: [] as readonly string[], mark: null as Mark | null };
    const { callerRegion = this.#region, traceparent } = options;
    const answer = await this.#request({
      method: "POST",
      path: `/v1/resources/${key}/${encodeURIComponent(method)}`,
      body: encodeArguments(args),
      timeoutMs: checkTimeout(options.timeoutMs ?? this.#timeoutMs),
      idempotencyKey: checkIdempotencyKey(options.idempotencyKey),
      signal: options.signal,
      callerRegion: callerRegion && checkToken("callerRegion", callerRegion),
      traceparent: checkTraceparent(traceparent) ?? undefined,
      heard: (headers) => Object.assign(told, { path: readPath(headers), mark: readMark(headers) }),
    });
    const { path, mark } = told;
    return { ...answer as Omit<CallResult, "path">, path, ...mark && { verdict: mark } };
  }

  async lookup(type: string, id: string, options: LookupOptions = {}): Promise<Lookup> {
    const query = options.require === undefined ? "" : `?require=${options.require}`;
    const path = `/v1/resources/${resourceKey(type, id)}${query}`;
    return await this.#get(path, options.timeoutMs) as Lookup;
  }

  async members(): Promise<readonly Member[]> {
    const { nodes } = await this.#get("/v1/nodes") as { nodes: Member[] };
    return nodes;
  }

  async resources(prefix: string, page: PageOptions = {}): Promise<ResourcePage> {
    const query = new URLSearchParams({ prefix: checkPrefix(prefix) });
    if (page.cursor !== undefined) query.set("cursor", page.cursor);
    if (page.limit !== undefined) query.set("limit", String(page.limit));
    return await this.#get(`/v1/resources?${query}`) as ResourcePage;
  }

  async count(
    prefix: string,
    { timeoutMs }: Pick<CallOptions, "timeoutMs"> = {},
  ): Promise<number> {
    const query = new URLSearchParams({ prefix: checkPrefix(prefix), count: "1" });
    const { count } = await this.#get(`/v1/resources?${query}`, timeoutMs) as { count: number };
    return count;
  }

  async move(
    type: string,
    id: string,
    region: string,
    { timeoutMs = this.#timeoutMs }: Pick<CallOptions, "timeoutMs"> = {},
  ): Promise<Pick<Ownership, "rrp" | "epoch">> {
    const query = new URLSearchParams({ move: checkToken("region", region) });
    const answer = await this.#request({
      method: "POST",
      path: `/v1/resources/${resourceKey(type, id)}?${query}`,
      timeoutMs: checkTimeout(timeoutMs),
    });
    return answer as Pick<Ownership, "rrp" | "epoch">;
  }

  async #get(path: string, timeoutMs: number = this.#timeoutMs): Promise<unknown> {
    return await this.#request({ method: "GET", path, timeoutMs: checkTimeout(timeoutMs) });
  }
}

function baseUrls(given: string | readonly string[]): string[] {
  const urls = (typeof given === "string" ? [given] : given).map(baseUrl);
  if (urls.length > 0) return urls;
  throw new AtlasError("bad_request", "connect needs the URL of at least one node");
}

function baseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url && /^https?:$/.test(url.protocol) && url.username === "" && url.search === "") {
    return url.origin + url.pathname.replace(/\/+$/, "");
  }
  throw new AtlasError(
    "bad_request",
    "the URL of a node must be http:// or https://, without user name, password or query",
  );
}

function checkIdempotencyKey(key: string | undefined): string | undefined {
  if (key === undefined || (typeof key === "string" && isHeaderText(key))) return key;
  throw new AtlasError(
    "bad_request",
    `idempotencyKey must be 1 to ${MAX_IDEMPOTENCY_KEY_BYTES} printable ASCII characters`,
  );
}
