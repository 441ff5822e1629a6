/**
 * The HTTP API of a node.
 *
 * Takes standard Requests, gives standard Responses; the runtime's server carries them. Calls and
 * lookups are answered without both if the server can do so (`direct_routes.ts`). Every failure is
 * answered as an Atlas error in JSON, never as a stack. HEAD is answered like GET. While the node
 * stops, further requests are refused, and those in progress are still answered.
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
import type { PlainAnswer, PlainRequest, RequestOrigin, Upgrade } from "../../src/ports/runtime.ts";
import { errorBody, errorResponse } from "../http_wire/errors.ts";
import { FetchedRequest } from "../http_wire/fetched_request.ts";
import {
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
  resourceOf,
  timeoutOption,
} from "../http_wire/inputs.ts";
import { responseOf } from "../http_wire/plain_response.ts";
import { type Guard, guardOf } from "./auth.ts";
import { createDirectRoutes } from "./direct_routes.ts";
import { DrainGate } from "./drain_gate.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { addModules } from "./modules.ts";
import { CrossOrigin } from "./origin_rules.ts";
import { Purchases } from "./purchases.ts";
import { type Add, answered, HEADERS, json, noteCaller } from "./route.ts";
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
  /**
   * Answers a call or a lookup whose header Host was checked; null: {@link fetch} answers it.
   * `path` is the request's path as it came. Never throws or rejects.
   */
  answer(request: PlainRequest, path: string): PlainAnswer | Promise<PlainAnswer> | null;
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

/** Methods that are counted by name. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** The HTTP API over a node. */
export function createHttpApp(options: HttpAppOptions): HttpApp {
  const { node, origins = [] } = options;
  const onEvent = options.onEvent ?? (() => {});
  const metrics = createMetrics(node);
  const gate = new DrainGate();
  const purchases = new Purchases();
  const guard = guardOf(options.token);
  const ready = () => readyNode(node);
  const errorOf = (thrown: unknown) => asError(thrown, onEvent);
  const crossOrigin = origins.length > 0 ? new CrossOrigin(origins) : undefined;
  const answer = createDirectRoutes({
    node,
    ready,
    guard,
    gate,
    metrics,
    purchases,
    crossOrigin,
    errorOf,
  });
  const { hono, add } = createRouter(metrics, guard, errorOf);
  addHealth(add, node, metrics);
  addNodes(add, ready, onEvent);
  addResources(add, ready);
  addModules(add, ready, purchases);
  add("GET", SOCKET_ROUTE, async (request) => refuse(ready(), request));
  const enter = socketRoute(ready, options.token);
  const route = gated(gate, async (request) => await hono.fetch(request));
  const read = crossOrigin ? readable(crossOrigin, route) : route;
  const fetch = withHead(async (request) => {
    const direct = faultOfHost(request.headers)
      ? null
      : answer(new FetchedRequest(request), rawPath(request));
    return direct ? responseOf(await direct) : await read(request);
  });

  return {
    answer,
    fetch(request, from) {
      noteCaller(request, from);
      return fetch(request);
    },
    connect(request, upgrade) {
      try {
        return enter(request, upgrade);
      } catch (error) {
        return errorResponse(errorOf(error), HEADERS);
      }
    },
    refuse({ method }, error) {
      const refused = errorResponse(error, HEADERS);
      metrics.requests(known(method), "none").observe(refused.status, 0);
      return refused;
    },
    stop: async (ms) => {
      await gate.close(ms);
      purchases.stop();
    },
  };
}

function known(method: string): string {
  return METHODS.has(method) ? method : "other";
}

/** A router with the rules that hold for all routes, and a way to add routes. */
function createRouter(
  metrics: Metrics,
  guard: Guard,
  errorOf: (thrown: unknown) => AtlasError,
): { hono: Pick<Hono, "fetch">; add: Add } {
  // The pattern of the request's route, once it is known.
  const hono = new Hono<{ Variables: { route?: string } }>({ getPath: rawPath });
  hono.onError((thrown) => errorResponse(errorOf(thrown), HEADERS));
  hono.notFound(({ req }) => {
    const what = `there is no ${req.method} ${shorten(req.path)}`;
    return errorResponse(new AtlasError("not_found", what), HEADERS);
  });
  hono.use(async (context, next) => {
    const began = performance.now();
    await next();
    metrics.requests(known(context.req.method), context.get("route") ?? "none")
      .observe(context.res.status, performance.now() - began);
  });
  hono.use(async ({ req }, next) => {
    const fault = faultOfHost(req.raw.headers);
    if (fault) throw fault;
    await next();
  });
  for (const path of ["/", "/v1", "/v1/*"]) {
    hono.use(path, async ({ req }, next) => {
      const refusal = guard(req.raw.headers);
      if (refusal) throw refusal;
      await next();
    });
  }
  const add: Add = (method, pattern, handler) =>
    void hono.on(method, pattern, async (context) => {
      context.set("route", pattern);
      return responseOf(await handler(context.req.raw, context.req.path));
    });
  return { hono, add };
}

type Answer = (request: Request) => Promise<Response>;

/** `route`, but further requests are refused once the gate is closed. */
function gated(gate: DrainGate, route: Answer): Answer {
  return async (request) => {
    if (gate.isClosed) {
      const error = new AtlasError("unavailable", "the node is stopping");
      return errorResponse(error, { ...HEADERS, connection: "close" });
    }
    gate.enter();
    try {
      return await route(request);
    } finally {
      gate.leave();
    }
  };
}

/** `route`, whose answers pages of some origins may read. */
function readable(crossOrigin: CrossOrigin, route: Answer): Answer {
  return async (request) => {
    if (request.method === "OPTIONS") return crossOrigin.preflight(request.headers);
    const response = await route(request);
    const headers = crossOrigin.headersFor(request.headers.get("origin"));
    for (const name in headers) response.headers.set(name, headers[name] as string);
    return response;
  };
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
    return answered(text, contentType, 200, {});
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
  add("POST", "/v1/resources/:type/:id", async (request, path) => {
    const { type, id } = resourceOf(path);
    const region = moveOf(queryOf(request, ["move"]));
    const { rrp, epoch } = await node().move(type, id, region, timeoutOption(request.headers));
    return json({ rrp, epoch });
  });
}

function readyNode(node: () => AtlasNode | null): AtlasNode {
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
function withHead(answer: Answer): Answer {
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
