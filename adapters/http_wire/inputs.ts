/**
 * Parses and checks paths, queries and headers of requests. Takes text; gives values as the core
 * takes them, or one clear error. Encodes the cursor of a listing, too.
 */
import type { CallOptions } from "../../src/api/calls.ts";
import type { AtlasNode, DrainNodesOptions } from "../../src/api/node.ts";
import { AtlasError } from "../../src/errors.ts";
import { MAX_DECLINE_MS, MAX_IDEMPOTENCY_KEY_BYTES, MAX_TIMEOUT_MS } from "../../src/limits.ts";
import { isTraceparent } from "../../src/model/call_path.ts";
import { quoted } from "../../src/model/options.ts";
import { checkPrefix, checkToken, resourceKey } from "../../src/model/rrp.ts";
import type { HeaderReader, PlainRequest } from "../../src/ports/runtime.ts";
import { base64 } from "./json.ts";

/** The header that makes repeats of a call get the first call's answer. */
export const IDEMPOTENCY_HEADER = "idempotency-key";
/** The header with the time until the caller's deadline, in ms. */
export const TIMEOUT_HEADER = "atlas-timeout-ms";
/** The header that names the purchase over which a module call goes. */
export const PURCHASE_HEADER = "atlas-purchase";
/** The header that makes a module call fail if no credit is available now. */
export const NO_WAIT_HEADER = "atlas-no-wait";
/**
 * The header that names the region for which a call is made. A request has it if that isn't the
 * node's own region; each answer has it.
 */
export const CALLER_REGION_HEADER = "atlas-caller-region";
/** The header of W3C Trace Context: its trace continues to the owner. */
export const TRACE_HEADER = "traceparent";

/** What is read of a request's line: the whole URL, or path and query. */
type WithUrl = Pick<PlainRequest, "url">;

/**
 * The path of a request as it came, still percent-encoded: only the code that reads a part decodes
 * it, so that nothing is decoded twice.
 */
export function rawPath({ url }: WithUrl): string {
  const start = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("//") + 2);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  const fragment = url.indexOf("#", start);
  const end = query < 0 ? fragment : fragment < 0 ? query : Math.min(query, fragment);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/**
 * The host that was parsed last: most requests name the same host, and each request reads it three
 * times.
 */
let parsed: { readonly text: string; readonly url: URL | null } = { text: "", url: null };

/** A host, with or without a port, as a URL of `http:` or `https:`; null if it is not one. */
export function hostUrl(scheme: string, host: string): URL | null {
  const text = `${scheme}//${host}`;
  if (parsed.text === text) return parsed.url;
  const isHost = !/[\s/?#@\\]/.test(host) && URL.canParse(text);
  parsed = { text, url: isHost ? new URL(text) : null };
  return parsed.url;
}

/**
 * What is wrong with the header Host: some runtimes make URLs of any value (RFC 9112 §3.2). Its
 * absence is allowed, as in HTTP/1.0.
 */
export function faultOfHost(headers: HeaderReader): AtlasError | null {
  const host = headers.get("host");
  if (!host || hostUrl("http:", host)) return null;
  const allowed = "it must be a host, and a port where that isn't the scheme's own";
  return new AtlasError("bad_request", `header Host is ${quoted(host)}: ${allowed}`);
}

/** Type and id, and the method if there is one, of `/v1/resources/{type}/{id}[/{method}]`. */
export function resourceOf(path: string): { type: string; id: string; method: string } {
  const [, , , type, id, method] = path.split("/");
  const named = {
    type: checkToken("type", decode("type", type ?? "")),
    id: decode("id", id ?? ""),
    method: decode("method", method ?? ""),
  };
  resourceKey(named.type, named.id);
  return named;
}

/** The module, and the function if there is one, of `/v1/…/{module}[/{function}]`. */
export function moduleOf(path: string): { module: string; name: string } {
  const [, , , module, name] = path.split("/");
  return {
    module: checkToken("module", decode("module", module ?? "")),
    name: decode("function", name ?? ""),
  };
}

/** Whether a module call is not to wait for credit. */
export function noWaitOption(headers: HeaderReader): { noWait?: true } {
  const text = headers.get(NO_WAIT_HEADER);
  if (text === null) return {};
  if (text === "1") return { noWait: true };
  throw new AtlasError("bad_request", `header Atlas-No-Wait is ${quoted(text)}: only 1 is allowed`);
}

function decode(part: string, text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AtlasError("invalid_rrp", `${part} ${quoted(text)} is not percent-encoded UTF-8`);
  }
}

/** The options that a call's headers ask for; `callerRegion` is read before. */
export function callOptions(headers: HeaderReader, callerRegion: string | undefined): CallOptions {
  const options: CallOptions = timeoutOption(headers);
  const key = headers.get(IDEMPOTENCY_HEADER);
  if (key !== null) options.idempotencyKey = checkKey(key);
  if (callerRegion !== undefined) options.callerRegion = callerRegion;
  const traceparent = headers.get(TRACE_HEADER);
  // An invalid one is ignored: W3C Trace Context, §3.2.1.
  if (isTraceparent(traceparent)) options.traceparent = traceparent;
  return options;
}

/**
 * The region that `Atlas-Caller-Region` names. An unknown one is ignored: the clients of an
 * unreachable region must not be refused by all others.
 */
export function callerRegionOf(
  headers: HeaderReader,
  node: Pick<AtlasNode, "knowsRegion"> | null,
): string | undefined {
  const region = headers.get(CALLER_REGION_HEADER);
  if (region === null) return undefined;
  const callerRegion = checkToken("header Atlas-Caller-Region", region);
  return node?.knowsRegion(callerRegion) ? callerRegion : undefined;
}

/** The deadline that `Atlas-Timeout-Ms` asks for. */
export function timeoutOption(headers: HeaderReader): { timeoutMs?: number } {
  const text = headers.get(TIMEOUT_HEADER);
  if (text === null) return {};
  return { timeoutMs: count("header Atlas-Timeout-Ms", text, MAX_TIMEOUT_MS) };
}

function checkKey(key: string): string {
  if (isHeaderText(key)) return key;
  throw new AtlasError(
    "bad_request",
    `header Idempotency-Key is ${quoted(key)}: it must be 1 to ${MAX_IDEMPOTENCY_KEY_BYTES} ` +
      "printable ASCII characters",
  );
}

/** Whether a key can be sent as a header's value unchanged. */
export function isHeaderText(key: string): boolean {
  return key.length <= MAX_IDEMPOTENCY_KEY_BYTES && /^[!-~](?:[ -~]*[!-~])?$/.test(key);
}

/**
 * The query of a request to a route that takes `known` parameters.
 *
 * @throws AtlasError `bad_request`, naming one that isn't among them.
 */
export function queryOf({ url }: WithUrl, known: readonly string[]): URLSearchParams {
  const start = url.indexOf("?");
  if (start < 0) return new URLSearchParams();
  const [text] = url.slice(start + 1).split("#", 1);
  const query = new URLSearchParams(text);
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown === undefined) return query;
  const message = `there is no query parameter ${quoted(unknown)} here`;
  throw new AtlasError("bad_request", `${message}; there are: ${known.join(", ")}`);
}

/** The parameters of a listing. */
export const LISTING: readonly string[] = ["prefix", "cursor", "limit", "count"];

/** Which page of which resources a query asks for. */
export function pageOf(
  query: URLSearchParams,
): { prefix: string; page: { cursor?: string; limit?: number } } {
  const limit = query.get("limit");
  const cursor = query.get("cursor");
  return {
    prefix: checkPrefix(query.get("prefix") ?? "rrp:"),
    page: {
      ...(limit === null ? {} : { limit: count("query limit", limit, 1_000) }),
      ...(cursor === null || cursor === "" ? {} : { cursor: readCursor(cursor) }),
    },
  };
}

/** Whether a listing asks for the count only. */
export function countOf(query: URLSearchParams): boolean {
  const text = query.get("count");
  if (text === null || text === "1") return text === "1";
  throw new AtlasError("bad_request", `query count is ${quoted(text)}: only "1" is allowed`);
}

/** The parameters of a drain. */
export const DRAINING: readonly string[] = ["node", "prefix", "forMs"];

/** The nodes to drain; undefined: the whole node that was asked. */
export function drainOf(query: URLSearchParams): DrainNodesOptions | undefined {
  const node = query.get("node");
  const prefix = query.get("prefix");
  const forMs = query.get("forMs");
  const named = node === null ? {} : { node: nodeNameOf(node) };
  if (prefix === null) {
    if (forMs !== null) throw new AtlasError("bad_request", "query forMs goes with a prefix only");
    return node === null ? undefined : named;
  }
  const span = forMs === null ? {} : { forMs: count("query forMs", forMs, MAX_DECLINE_MS) };
  return { ...named, prefix: checkPrefix(prefix), ...span };
}

/** `<node>` or `<region>/<node>`. */
function nodeNameOf(text: string): string {
  const parts = text.split("/");
  if (parts.length > 2) {
    const message = `query node is ${quoted(text)}: it must be <node> or <region>/<node>`;
    throw new AtlasError("bad_request", message);
  }
  for (const part of parts) checkToken("query node", part);
  return text;
}

/** The region to which a POST to a resource itself moves it. */
export function moveOf(query: URLSearchParams): string {
  const region = query.get("move");
  if (region !== null) return checkToken("query move", region);
  const message = "there is no POST to a resource without a method, /<method>, or ?move=<region>";
  throw new AtlasError("not_found", message);
}

/** Whether a lookup has to read through the store. */
export function requireOf(query: URLSearchParams): { require?: "confirmed" } {
  const text = query.get("require");
  if (text === null) return {};
  if (text === "confirmed") return { require: text };
  throw new AtlasError(
    "bad_request",
    `query require is ${quoted(text)}: only "confirmed" is allowed`,
  );
}

function count(what: string, text: string, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  throw new AtlasError("bad_request", `${what} is ${quoted(text)}: it must be 1 to ${most}`);
}

/** A store's cursor as the `next` of a page; null if there is no next page. */
export function cursorText(cursor: string | null): string | null {
  if (cursor === null) return null;
  const text = base64(new TextEncoder().encode(cursor));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/={1,2}$/, "");
}

/** The store's cursor that a `next` was made of. @throws AtlasError `bad_request` */
export function readCursor(text: string): string {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (it) => it.charCodeAt(0));
    const cursor = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // `atob` takes more than base64url: white space, too.
    if (cursorText(cursor) === text) return cursor;
  } catch {
    // Neither base64url nor UTF-8.
  }
  const allowed = "it must be the `next` of an earlier page";
  throw new AtlasError("bad_request", `query cursor is ${quoted(text)}: ${allowed}`);
}
