/** The routes of modules: `/v1/modules`, `/v1/purchases`, `/v1/exchanges` and `/v1/authorities`. */
import type { ModuleCallResult } from "../../src/api/modules.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import { AtlasError } from "../../src/errors.ts";
import { isMsgpack, msgpackAnswer, readArguments, readOptions } from "../http_wire/body.ts";
import {
  moduleOf,
  noWaitOption,
  PURCHASE_HEADER,
  queryOf,
  timeoutOption,
} from "../http_wire/inputs.ts";
import type { Purchases } from "./purchases.ts";
import { type Add, callerOfRequest, json, resultJson } from "./route.ts";

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

/** Adds the routes of modules. */
export function addModules(add: Add, node: () => AtlasNode, purchases: Purchases): void {
  addMarket(add, node);
  addPurchases(add, node, purchases);
  add("POST", "/v1/modules/:module/:function", async (request, path) => {
    const { module, name } = moduleOf(path);
    const { headers, signal } = request;
    const version = queryOf(request, ["version"]).get("version") ?? undefined;
    const { timeoutMs } = timeoutOption(headers);
    const noWait = noWaitOption(headers);
    const id = headers.get(PURCHASE_HEADER);
    const inMsgpack = isMsgpack(headers.get("accept"));
    const { value: args, left } = await readArguments(request, timeoutMs);
    const options = { ...left, signal };
    if (id === null) {
      if (noWait.noWait) throw pointless("header Atlas-No-Wait", "needs an Atlas-Purchase");
      const ranged = version === undefined ? options : { ...options, version };
      return answered(await node().request(module, name, args, ranged), inMsgpack);
    }
    if (version !== undefined) throw pointless("query version", "is the purchase's own");
    const all = { ...options, ...noWait };
    return answered(await purchases.call(id, module, name, args, all), inMsgpack);
  });
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
    const { timeoutMs } = timeoutOption(headers);
    const { value: options, left } = await readOptions(request, OPTIONS, timeoutMs);
    const caller = callerOfRequest(request);
    const all = { ...left, ...options, signal };
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

function answered(answer: ModuleCallResult, inMsgpack: boolean): Response {
  const { result, node, version } = answer;
  const body = { result, node, version };
  return inMsgpack ? msgpackAnswer(body) : resultJson(body);
}

function pointless(what: string, why: string): AtlasError {
  return new AtlasError("bad_request", `${what} ${why}`);
}
