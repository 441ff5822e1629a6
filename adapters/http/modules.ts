/** The routes of modules: `/v1/modules`, `/v1/purchases`, `/v1/exchanges` and `/v1/authorities`. */
import type { ModuleCallResult } from "../../src/api/modules.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import { AtlasError } from "../../src/errors.ts";
import type { PlainAnswer, PlainRequest } from "../../src/ports/runtime.ts";
import { argumentsOf, isMsgpack, optionsOf, readBody } from "../http_wire/body.ts";
import { FetchedRequest } from "../http_wire/fetched_request.ts";
import {
  moduleOf,
  noWaitOption,
  PURCHASE_HEADER,
  queryOf,
  timeoutOption,
} from "../http_wire/inputs.ts";
import type { Purchases } from "./purchases.ts";
import { type Add, callerOfRequest, json, resultAnswer } from "./route.ts";

/** The options in the body of a purchase, as `discover` takes them. */
const OPTIONS = [
  "bias",
  "callTimeoutMs",
  "capacity",
  "noWait",
  "orders",
  "prefer",
  "timeoutMs",
  "version",
  "waitFor",
];

/** Adds the routes of modules, except that of calls. */
export function addModules(add: Add, node: () => AtlasNode, purchases: Purchases): void {
  addMarket(add, node);
  addPurchases(add, node, purchases);
}

/** Answers `POST /v1/modules/{module}/{function}`. @throws AtlasError as the call */
export async function callModule(
  node: () => AtlasNode,
  purchases: Purchases,
  request: PlainRequest,
  path: string,
  named: Readonly<Record<string, string>>,
): Promise<PlainAnswer> {
  const { module, name } = moduleOf(path);
  const { headers, signal } = request;
  const version = queryOf(request, ["version"]).get("version") ?? undefined;
  const timeout = timeoutOption(headers);
  const noWait = noWaitOption(headers);
  const id = headers.get(PURCHASE_HEADER);
  const inMsgpack = isMsgpack(headers.get("accept"));
  const args = argumentsOf(await readBody(request, timeout), headers);
  const options = { ...timeout, signal };
  if (id === null) {
    if (noWait.noWait) throw pointless("header Atlas-No-Wait", "needs an Atlas-Purchase");
    const ranged = version === undefined ? options : { ...options, version };
    return answerOf(await node().request(module, name, args, ranged), inMsgpack, named);
  }
  if (version !== undefined) throw pointless("query version", "is the purchase's own");
  const all = { ...options, ...noWait };
  return answerOf(await purchases.call(id, module, name, args, all), inMsgpack, named);
}

function answerOf(
  { result, node, version }: ModuleCallResult,
  inMsgpack: boolean,
  named: Readonly<Record<string, string>>,
): PlainAnswer {
  return resultAnswer(result, { node, version }, inMsgpack, named);
}

function addMarket(add: Add, node: () => AtlasNode): void {
  add("GET", "/v1/modules", async () => json({ modules: await node().modules() }));
  add("GET", "/v1/exchanges/:module", async (_request, path) => {
    const { module } = moduleOf(path);
    return json({ module, exchanges: await node().exchange(module) });
  });
  add("GET", "/v1/authorities", async () => json({ authorities: await node().authorities() }));
}

function addPurchases(add: Add, node: () => AtlasNode, purchases: Purchases): void {
  add("POST", "/v1/modules/:module", async (request, path) => {
    const { module } = moduleOf(path);
    const { headers, signal } = request;
    const timeout = timeoutOption(headers);
    const options = optionsOf(
      await readBody(new FetchedRequest(request), timeout),
      headers,
      OPTIONS,
    );
    const caller = callerOfRequest(request);
    const all = { ...timeout, ...options, signal };
    return json(await purchases.open(node(), module, all, caller), 201);
  });
  add("GET", "/v1/purchases/:id", (_request, path) => json(purchases.view(idOf(path))));
  add("DELETE", "/v1/purchases/:id", async (_request, path) => {
    const id = idOf(path);
    await purchases.close(id);
    return json({ id, state: "ended" });
  });
}

function idOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function pointless(what: string, why: string): AtlasError {
  return new AtlasError("bad_request", `${what} ${why}`);
}
