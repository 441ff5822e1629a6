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
  callerRegionOption,
  callOptions,
  queryOf,
  rawPath,
  requireOf,
  resourceOf,
  timeoutOption,
} from "../http_wire/inputs.ts";
import { pathHeaders, VERDICT_HEADER } from "../http_wire/path.ts";
import type { Guard } from "./auth.ts";
import type { DrainGate } from "./drain_gate.ts";
import type { Metrics, RequestCounters } from "./metrics.ts";
import { callModule } from "./modules.ts";
import type { CrossOrigin } from "./origin_rules.ts";
import type { Purchases } from "./purchases.ts";
import { HEADERS, json, resultAnswer } from "./route.ts";

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

/** Headers of an answer besides those of every answer. */
type Named = Record<string, string>;

interface Route {
  readonly method: "GET" | "POST";
  /** Of the path as it came. No part is empty. */
  readonly pattern: RegExp;
  readonly counters: RequestCounters;
  /** Answers a request. `named` gets headers that an error has, too. */
  answer(request: PlainRequest, path: string, named: Named): Promise<PlainAnswer>;
}

/**
 * Answers a request whose header Host was checked; null: the app answers it. Never throws or rejects.
 */
export type DirectRoutes = (request: PlainRequest) => Promise<PlainAnswer> | null;

/** The routes of a node. */
export function createDirectRoutes(parts: DirectRoutesParts): DirectRoutes {
  const routes = routesOf(parts);
  const { guard, gate } = parts;
  return (request) => {
    const { method, headers } = request;
    const path = rawPath(request);
    for (const route of routes) {
      if (route.method !== method || !route.pattern.test(path)) continue;
      if (gate.isClosed || guard(headers)) return null;
      return answer(parts, route, request, path);
    }
    return null;
  };
}

async function answer(
  { gate, crossOrigin, errorOf }: DirectRoutesParts,
  { counters, answer }: Route,
  request: PlainRequest,
  path: string,
): Promise<PlainAnswer> {
  const began = performance.now();
  gate.enter();
  const named = crossOrigin ? crossOrigin.headersFor(request.headers.get("origin")) : {};
  let answered: PlainAnswer;
  try {
    answered = await answer(request, path, named);
  } catch (thrown) {
    answered = errorAnswer(errorOf(thrown), { ...HEADERS, ...named });
  }
  gate.leave();
  counters.observe(answered.status, performance.now() - began);
  return answered;
}

function routesOf({ node, ready, metrics, purchases }: DirectRoutesParts): Route[] {
  return [
    {
      method: "POST",
      pattern: /^\/v1\/resources\/[^/]+\/[^/]+\/[^/]+$/,
      counters: metrics.requests("POST", "/v1/resources/:type/:id/:method"),
      answer: (request, path, named) => {
        const asked = node();
        const { callerRegion = asked?.region } = callerRegionOption(request.headers, asked);
        if (callerRegion !== undefined) named[CALLER_REGION_HEADER] = callerRegion;
        return callResource(ready, request, path, named);
      },
    },
    {
      method: "POST",
      pattern: /^\/v1\/modules\/[^/]+\/[^/]+$/,
      counters: metrics.requests("POST", "/v1/modules/:module/:function"),
      answer: (request, path, named) => callModule(ready, purchases, request, path, named),
    },
    {
      method: "GET",
      pattern: /^\/v1\/resources\/[^/]+\/[^/]+$/,
      counters: metrics.requests("GET", "/v1/resources/:type/:id"),
      answer: (request, path, named) => lookUp(ready, request, path, named),
    },
  ];
}

async function callResource(
  node: () => AtlasNode,
  request: PlainRequest,
  path: string,
  named: Named,
): Promise<PlainAnswer> {
  const { type, id, method } = resourceOf(path);
  const { headers } = request;
  const options = callOptions(headers, node());
  options.signal = request.signal;
  const inMsgpack = isMsgpack(headers.get("accept"));
  const args = argumentsOf(await readBody(request, options), headers);
  const answer = await node().call(type, id, method, args, options);
  const { rrp, epoch, verdict } = answer;
  const located = pathHeaders(answer.path, rrp);
  if (verdict) located[VERDICT_HEADER] = verdict;
  return resultAnswer(answer.result, { rrp, epoch }, inMsgpack, Object.assign(located, named));
}

async function lookUp(
  node: () => AtlasNode,
  request: PlainRequest,
  path: string,
  named: Named,
): Promise<PlainAnswer> {
  const { type, id } = resourceOf(path);
  const required = requireOf(queryOf(request, ["require"]));
  const options: LookupOptions = Object.assign(required, timeoutOption(request.headers));
  const found = await node().lookup(type, id, options);
  return json(found, 200, { ...named, [VERDICT_HEADER]: found.verdict });
}
