/**
 * The routes on which most requests come: calls of resources and of modules, and lookups. They are
 * answered without a router, and on Node and Deno without a `Request` and a `Response`. These would
 * take longer than the call.
 *
 * Takes a request in its plain form; gives its answer, or null if it isn't for these routes, or is
 * refused by a rule for all routes. The app then answers why.
 */
import type { LookupOptions } from "../../src/api/calls.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import type { AtlasError } from "../../src/errors.ts";
import type { PlainAnswer, PlainRequest } from "../../src/ports/runtime.ts";
import { argumentsOf, isMsgpack, readBody } from "../http_wire/body.ts";
import { errorAnswer } from "../http_wire/errors.ts";
import {
  CALLER_REGION_HEADER,
  callerRegionOf,
  callOptions,
  queryOf,
  requireOf,
  resourceOf,
  timeoutOption,
} from "../http_wire/inputs.ts";
import type { Guard } from "./auth.ts";
import type { DrainGate } from "./drain_gate.ts";
import type { Metrics, RequestCounters } from "./metrics.ts";
import { callModule } from "./modules.ts";
import type { CrossOrigin } from "./origin_rules.ts";
import type { Purchases } from "./purchases.ts";
import {
  callAnswer,
  HEADERS,
  type Headings,
  json,
  NO_HEADERS,
  verdictHeaders,
  wayHeaders,
} from "./route.ts";

/** What the routes need of the app. */
export interface DirectRoutesParts {
  /** Null until the node is ready. */
  readonly node: () => AtlasNode | null;
  /** The node. @throws AtlasError `unavailable` until it is ready. */
  readonly ready: () => AtlasNode;
  readonly guard: Guard;
  readonly gate: DrainGate;
  readonly metrics: Metrics;
  readonly purchases: Purchases;
  /** Undefined: no page of another origin may read answers. */
  readonly crossOrigin: CrossOrigin | undefined;
  /** The error that is answered for what a route threw. */
  readonly errorOf: (thrown: unknown) => AtlasError;
}

/** What an answer says besides its route's headers, also if it is an error. */
interface Noted {
  /** What lets a page of another origin read it. */
  readonly common: Headings;
  /** The region that a call is made for. */
  callerRegion: string | undefined;
}

interface Route {
  readonly method: "GET" | "POST";
  /** Of the path as it came. No part is empty. */
  readonly pattern: RegExp;
  readonly counters: RequestCounters;
  /** Answers a request. @throws AtlasError, or rejects with it. */
  answer(request: PlainRequest, path: string, noted: Noted): Promise<PlainAnswer>;
}

/**
 * Answers a request whose header Host was checked; null: the app answers it. `path` is its
 * path as it came. Never throws or rejects.
 */
export type DirectRoutes = (
  request: PlainRequest,
  path: string,
) => PlainAnswer | Promise<PlainAnswer> | null;

/** The routes of a node. */
export function createDirectRoutes(parts: DirectRoutesParts): DirectRoutes {
  const routes = routesOf(parts);
  const { guard, gate } = parts;
  return (request, path) => {
    const { method, headers } = request;
    for (const route of routes) {
      if (route.method !== method || !route.pattern.test(path)) continue;
      if (gate.isClosed || guard(headers)) return null;
      return answer(parts, route, request, path);
    }
    return null;
  };
}

function answer(
  { gate, crossOrigin, errorOf }: DirectRoutesParts,
  route: Route,
  request: PlainRequest,
  path: string,
): PlainAnswer | Promise<PlainAnswer> {
  const began = performance.now();
  gate.enter();
  const common = crossOrigin ? crossOrigin.headersFor(request.headers.get("origin")) : NO_HEADERS;
  const noted: Noted = { common, callerRegion: undefined };
  const end = (answered: PlainAnswer) => {
    gate.leave();
    route.counters.observe(answered.status, performance.now() - began);
    return answered;
  };
  const fail = (thrown: unknown) => {
    const { callerRegion } = noted;
    const headers: Record<string, string> = { ...HEADERS, ...common };
    if (callerRegion !== undefined) headers[CALLER_REGION_HEADER] = callerRegion;
    return end(errorAnswer(errorOf(thrown), headers));
  };
  try {
    return route.answer(request, path, noted).then(end, fail);
  } catch (thrown) {
    return fail(thrown);
  }
}

function routesOf({ node, ready, metrics, purchases }: DirectRoutesParts): Route[] {
  return [
    {
      method: "POST",
      pattern: /^\/v1\/resources\/[^/]+\/[^/]+\/[^/]+$/,
      counters: metrics.requests("POST", "/v1/resources/:type/:id/:method"),
      answer: (request, path, noted) => {
        const asked = node();
        const asksFor = callerRegionOf(request.headers, asked);
        noted.callerRegion = asksFor ?? asked?.region;
        return callResource(ready(), request, path, asksFor, noted);
      },
    },
    {
      method: "POST",
      pattern: /^\/v1\/modules\/[^/]+\/[^/]+$/,
      counters: metrics.requests("POST", "/v1/modules/:module/:function"),
      answer: (request, path, { common }) => callModule(ready, purchases, request, path, common),
    },
    {
      method: "GET",
      pattern: /^\/v1\/resources\/[^/]+\/[^/]+$/,
      counters: metrics.requests("GET", "/v1/resources/:type/:id"),
      answer: (request, path, { common }) => lookUp(ready, request, path, common),
    },
  ];
}

async function callResource(
  node: AtlasNode,
  request: PlainRequest,
  path: string,
  asksFor: string | undefined,
  { common, callerRegion }: Noted,
): Promise<PlainAnswer> {
  const { type, id, method } = resourceOf(path);
  const { headers } = request;
  const options = callOptions(headers, asksFor);
  options.signal = request.signal;
  const inMsgpack = isMsgpack(headers.get("accept"));
  const body = readBody(request, options);
  const args = argumentsOf(body instanceof Promise ? await body : body, headers);
  const answer = await node.call(type, id, method, args, options);
  return callAnswer(answer, inMsgpack, wayHeaders(answer, callerRegion, common));
}

async function lookUp(
  node: () => AtlasNode,
  request: PlainRequest,
  path: string,
  common: Headings,
): Promise<PlainAnswer> {
  const { type, id } = resourceOf(path);
  const required = requireOf(queryOf(request, ["require"]));
  const options: LookupOptions = Object.assign(required, timeoutOption(request.headers));
  const found = await node().lookup(type, id, options);
  return json(found, 200, verdictHeaders(found.verdict, common));
}
