/**
 * The HTTP API of a node.
 *
 * Takes standard Requests, gives standard Responses; the runtime's server carries them. Every
 * failure is answered as an Atlas error in JSON, never as a stack. HEAD is answered like GET. While
 * the node stops, further requests are refused, and those in progress are still answered.
 *
 * | route | does |
 * |---|---|
 * | `GET /healthz`, `/readyz`, `/metrics` | liveness, readiness, Prometheus text |
 * | `GET /v1/nodes` | all members, and the incarnation of the node that answers |
 * | `GET /v1/resources?prefix=&cursor=&limit=` | resources, a page at a time; `&count=1`: how many |
 * | `GET /v1/resources/{type}/{id}` | a lookup; `?require=confirmed` |
 * | `POST /v1/resources/{type}/{id}/{method}` | a call; JSON or MessagePack; its path and verdict in headers |
 * | `POST /v1/resources/{type}/{id}?move=<region>` | moves its home there |
 * | `GET /v1/connect/{type}/{id}` | a client socket; `?after=<seq>` to resume |
 * | `POST /v1/drain` | starts draining this node; `?node=` another one; `?prefix=&forMs=` resources under a prefix, on all nodes |
 * | `GET /v1/modules`, `/v1/exchanges/{module}`, `/v1/authorities` | what is on the market |
 * | `POST /v1/modules/{module}/{function}` | a module call; `?version=^1`, or over a purchase |
 * | `POST /v1/modules/{module}`, `GET`, `DELETE /v1/purchases/{id}` | buys capacity; its figures; ends the purchase |
 */
import { Hono } from "hono";
import type { AtlasNode, NodeEvent } from "../../src/api/node.ts";
import { AtlasError, isAtlasError, messageOf, stackOf } from "../../src/errors.ts";
import type { RequestOrigin, Upgrade } from "../../src/ports/runtime.ts";
import { isMsgpack, msgpackAnswer, readArguments } from "../http_wire/body.ts";
import { errorBody, errorResponse } from "../http_wire/errors.ts";
import {
  CALLER_REGION_HEADER,
  callerRegionOption,
  callOptions,
  countOf,
  cursorText,
  DRAINING,
  drainOf,
  faultOfHost,
  LISTING,
  moveOf,
  pageOf,
  queryOf,
  rawPath,
  requireOf,
  resourceOf,
  timeoutOption,
} from "../http_wire/inputs.ts";
import { pathHeaders, VERDICT_HEADER } from "../http_wire/path.ts";
import { bearerCheck } from "./auth.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { addModules } from "./modules.ts";
import { crossOrigin } from "./origin_rules.ts";
import { Purchases } from "./purchases.ts";
import { type Add, json, noteCaller, resultJson } from "./route.ts";
import { refuse, SOCKET_ROUTE, socketRoute } from "./sockets.ts";

export interface HttpAppOptions {
  /** The node to serve; null until it is ready: its routes then answer 503. */
  node: () => AtlasNode | null;
  /** If given, guards `/v1` and `/`. */
  token?: string | undefined;
  /** Origins whose pages may read answers: `*` alone is all. Default none but the node's own. */
  origins?: readonly string[] | undefined;
  /** Gets internal faults, whose details callers don't get. MUST NOT throw. */
  onEvent?: ((event: NodeEvent) => void) | undefined;
}

export interface HttpApp {
  /** Answers one request; never rejects. */
  fetch(request: Request, from?: RequestOrigin): Promise<Response>;
  /** Turns a request that wants a client socket into one, or answers why not; never throws. */
  connect(request: Request, upgrade: Upgrade): Response;
  /** Answers a request that is refused before it came to a route. */
  refuse(request: Request, error: AtlasError): Response;
  /**
   * Refuses further requests as `unavailable`, and resolves when those in progress are answered, or
   * after `ms`. May be called again to wait longer.
   */
  stop(ms: number): Promise<void>;
}

/** Headers of every answer: no sniffing, no framing, no caching. */
const HEADERS = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** The route of calls; their answers and errors name the region that they are made for. */
const CALL_ROUTE = "/v1/resources/:type/:id/:method";

/** Methods that are counted by name. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** The HTTP API over a node. */
export function createHttpApp(options: HttpAppOptions): HttpApp {
  const metrics = createMetrics(options.node);
  const hono = new Hono({ getPath: rawPath });
  const drainGate = createDrainGate();
  const purchases = new Purchases();
  const onEvent = options.onEvent ?? (() => {});

  hono.onError((thrown) => errorResponse(asError(thrown, onEvent)));
  hono.notFound(({ req }) =>
    errorResponse(new AtlasError("not_found", `there is no ${req.method} ${shorten(req.path)}`))
  );
  measure(hono, metrics);
  hono.use(async ({ req }, next) => {
    const fault = faultOfHost(req.raw.headers);
    if (fault) throw fault;
    await next();
  });
  if (options.token !== undefined) guard(hono, options.token);
  hono.on("POST", CALL_ROUTE, async (context, next) => {
    const node = options.node();
    const { callerRegion = node?.region } = callerRegionOption(context.req.raw.headers, node);
    await next();
    if (callerRegion !== undefined) context.res.headers.set(CALLER_REGION_HEADER, callerRegion);
  });
  const add: Add = (method, pattern, handler) =>
    void hono.on(method, pattern, (context) => {
      routes.set(context.req.raw, pattern);
      return handler(context.req.raw, context.req.path);
    });
  addHealth(add, options.node, metrics);
  addNodes(add, () => ready(options.node), onEvent);
  addResources(add, () => ready(options.node));
  addModules(add, () => ready(options.node), purchases);
  add("GET", SOCKET_ROUTE, async (request) => refuse(ready(options.node), request));
  const enter = socketRoute(() => ready(options.node), options.token);

  const answer = (request: Request) => drainGate.pass(async () => await hono.fetch(request));
  const { origins = [] } = options;
  const fetch = withHead(origins.length > 0 ? crossOrigin(origins, answer) : answer);

  return {
    fetch(request, from) {
      noteCaller(request, from);
      return fetch(request);
    },
    connect(request, upgrade) {
      try {
        return enter(request, upgrade);
      } catch (error) {
        return errorResponse(asError(error, onEvent), HEADERS);
      }
    },
    refuse({ method }, error) {
      const refused = errorResponse(error, HEADERS);
      metrics.observe(METHODS.has(method) ? method : "other", "none", refused.status, 0);
      return refused;
    },
    stop: async (ms) => {
      await drainGate.close(ms);
      purchases.stop();
    },
  };
}

/** The route pattern of each request in progress. */
const routes = new WeakMap<Request, string>();

/** Sets the headers of every response, and observes each request. */
function measure(hono: Hono, metrics: Metrics): void {
  hono.use(async (context, next) => {
    const began = performance.now();
    const { method } = context.req;
    await next();
    // Not by context.header, which makes a new Response of a finished one each time.
    const { headers } = context.res;
    for (const name in HEADERS) headers.set(name, HEADERS[name as keyof typeof HEADERS]);
    const known = METHODS.has(method) ? method : "other";
    const route = routes.get(context.req.raw) ?? "none";
    metrics.observe(known, route, context.res.status, (performance.now() - began) / 1_000);
  });
}

function guard(hono: Hono, token: string): void {
  const allowed = bearerCheck(token);
  for (const path of ["/", "/v1", "/v1/*"]) {
    hono.use(path, async (context, next) => {
      const given = context.req.raw.headers.get("authorization");
      if (allowed(given)) return await next();
      throw new AtlasError(
        "unauthorized",
        given === null
          ? "this needs the header Authorization: Bearer <token>"
          : "the bearer token is wrong",
      );
    });
  }
}

function addHealth(add: Add, node: () => AtlasNode | null, metrics: Metrics): void {
  add("GET", "/healthz", () => {
    const state = node()?.state ?? "starting";
    return json({ state }, state === "closed" ? 503 : 200);
  });
  add("GET", "/readyz", () => {
    const state = node()?.state ?? "starting";
    if (state === "serving") return json({ state });
    return json(
      { state, ...errorBody(new AtlasError("unavailable", `the node is ${state}`)) },
      503,
    );
  });
  add("GET", "/metrics", async () => {
    const { contentType, text } = await metrics.render();
    return new Response(text, { headers: { "content-type": contentType } });
  });
}

function addNodes(add: Add, node: () => AtlasNode, onEvent: (event: NodeEvent) => void): void {
  add("GET", "/v1/nodes", async () => {
    const { incarnation } = node();
    return json({ nodes: await node().members(), self: incarnation });
  });
  add("POST", "/v1/drain", async (request) => {
    const asked = node();
    const { region, node: name, incarnation } = asked;
    const self = { region, node: name, incarnation };
    const wanted = drainOf(queryOf(request, DRAINING));
    if (wanted === undefined) {
      asked.drain().catch((error: unknown) =>
        onEvent({ level: "error", event: "drain failed", fields: { error: messageOf(error) } })
      );
      return json({ state: "draining", ...self }, 202);
    }
    const { prefix, forMs } = wanted;
    const part = { ...prefix !== undefined && { prefix }, ...forMs !== undefined && { forMs } };
    const agreed = prefix === undefined ? { state: "draining" } : part;
    const drained = await asked.drainNodes({ ...wanted, ...timeoutOption(request.headers) });
    const nodes = drained.map(({ error, ...place }) => ({
      ...place,
      ...error ? errorBody(error) : agreed,
    }));
    return json({ ...part, ...self, nodes }, 202);
  });
}

function addResources(add: Add, node: () => AtlasNode): void {
  add("GET", "/v1/resources", async (request) => {
    const query = queryOf(request, LISTING);
    const { prefix, page } = pageOf(query);
    if (countOf(query)) {
      return json({ prefix, count: await node().count(prefix, timeoutOption(request.headers)) });
    }
    const { resources, next } = await node().resources(prefix, page);
    const listed = resources.map(({ rrp, epoch }) => ({ rrp, epoch }));
    return json({ resources: listed, next: cursorText(next) });
  });
  add("GET", "/v1/resources/:type/:id", async (request, path) => {
    const { type, id } = resourceOf(path);
    const required = requireOf(queryOf(request, ["require"]));
    const timeout = timeoutOption(request.headers);
    const found = await node().lookup(type, id, { ...required, ...timeout });
    return json(found, 200, { [VERDICT_HEADER]: found.verdict });
  });
  add("POST", "/v1/resources/:type/:id", async (request, path) => {
    const { type, id } = resourceOf(path);
    const region = moveOf(queryOf(request, ["move"]));
    const { rrp, epoch } = await node().move(type, id, region, timeoutOption(request.headers));
    return json({ rrp, epoch });
  });
  add("POST", CALL_ROUTE, async (request, path) => {
    const { type, id, method } = resourceOf(path);
    const asked = callOptions(request.headers, node());
    // Read first, because some runtimes can't read a request once its caller has disconnected.
    const { signal } = request;
    const inMsgpack = isMsgpack(request.headers.get("accept"));
    const { value: args, left } = await readArguments(request, asked.timeoutMs);
    const answer = await node().call(type, id, method, args, { ...asked, ...left, signal });
    const { result, rrp, epoch, path: nodes, verdict } = answer;
    const headers = { ...pathHeaders(nodes, rrp), ...verdict && { [VERDICT_HEADER]: verdict } };
    const body = { result, rrp, epoch };
    return inMsgpack ? msgpackAnswer(body, headers) : resultJson(body, headers);
  });
}

function ready(node: () => AtlasNode | null): AtlasNode {
  const found = node();
  if (found) return found;
  throw new AtlasError("unavailable", "the node is still starting");
}

/** An internal fault is logged in full and answered as `internal` without details. */
function asError(thrown: unknown, onEvent: (event: NodeEvent) => void): AtlasError {
  if (isAtlasError(thrown)) return thrown;
  onEvent({ level: "error", event: "http request failed", fields: { error: stackOf(thrown) } });
  return new AtlasError("unavailable", "the request failed inside the node", {
    retryable: false,
    maybeExecuted: true,
  });
}

function shorten(path: string): string {
  return path.length > 80 ? `${path.slice(0, 79)}…` : path;
}

/** `answer`, but HEAD is answered as GET without a body. Other methods pass through. */
export function withHead(
  answer: (request: Request) => Promise<Response>,
): (request: Request) => Promise<Response> {
  return async (request) => {
    if (request.method !== "HEAD") return await answer(request);
    const { url, headers: asked, signal } = request;
    const response = await answer(new Request(url, { method: "GET", headers: asked, signal }));
    const { status, headers } = response;
    if (!headers.has("content-length")) {
      headers.set("content-length", String((await response.arrayBuffer()).byteLength));
    } else await response.body?.cancel();
    return new Response(null, { status, headers });
  };
}

/**
 * Counts the requests in progress, and refuses new ones once it is closed. Its `close` resolves
 * when the last request has ended.
 */
export interface DrainGate {
  /** Runs a request's work, or refuses it as `unavailable` if the gate is closed. */
  pass(run: () => Promise<Response>): Promise<Response>;
  /** Refuses further requests. Resolves when those in progress have ended, or after `ms`. */
  close(ms: number): Promise<void>;
}

/** An open gate. */
export function createDrainGate(): DrainGate {
  let inside = 0;
  let closed = false;
  let emptied = () => {};
  return {
    async pass(run) {
      if (closed) {
        const error = new AtlasError("unavailable", "the node is stopping");
        return errorResponse(error, { connection: "close" });
      }
      inside++;
      try {
        return await run();
      } finally {
        if (--inside === 0) emptied();
      }
    },
    async close(ms) {
      closed = true;
      if (inside === 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        emptied = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    },
  };
}
