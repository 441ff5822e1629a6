/**
 * How routes of the HTTP API are declared (method, pattern, handler), their answers, and the caller
 * of a request, by its address.
 */
import type { CallResult } from "../../src/api/calls.ts";
import { regionOf } from "../../src/model/call_path.ts";
import type { PlainAnswer, RequestOrigin } from "../../src/ports/runtime.ts";
import { MSGPACK, msgpackMap } from "../http_wire/body.ts";
import { CALLER_REGION_HEADER } from "../http_wire/inputs.ts";
import { toJson } from "../http_wire/json.ts";
import { pathHeaders, VERDICT_HEADER } from "../http_wire/path.ts";

/** Answers a request; `path` is its path as it came, still percent-encoded. */
export type Handler = (request: Request, path: string) => PlainAnswer | Promise<PlainAnswer>;

export type Add = (method: "GET" | "POST" | "DELETE", pattern: string, handler: Handler) => void;

/** Headers of every answer: no sniffing, no framing, no caching. */
export const HEADERS = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

export type Headings = Readonly<Record<string, string>>;

/** No headers: all answers without their own share this record. */
export const NO_HEADERS: Headings = Object.freeze({});

/** A value as the JSON answer, under `headers`. */
export function json(
  value: unknown,
  status: number = 200,
  headers: Headings = NO_HEADERS,
): PlainAnswer {
  return answered(toJson(value), "application/json", status, headers);
}

/** The answer to a call of a resource, as JSON or as MessagePack, under `headers`. */
export function callAnswer(
  { result, rrp, epoch }: CallResult,
  inMsgpack: boolean,
  headers: Headings,
): PlainAnswer {
  if (inMsgpack) return resultAnswer(result, { rrp, epoch }, true, headers);
  const text = `{"result":${jsonOf(result)},"rrp":${JSON.stringify(rrp)},"epoch":${epoch}}`;
  return answered(text, "application/json", 200, headers);
}

/** A call's result and its origin, as JSON or as MessagePack. */
export function resultAnswer(
  result: unknown,
  origin: { readonly [name: string]: string | number },
  inMsgpack: boolean,
  headers: Headings,
): PlainAnswer {
  if (inMsgpack) return answered(msgpackMap(result, origin), MSGPACK, 200, headers);
  const text = `{"result":${jsonOf(result)},${JSON.stringify(origin).slice(1)}`;
  return answered(text, "application/json", 200, headers);
}

/** JSON has no undefined, so such a result is null. */
function jsonOf(result: unknown): string {
  return toJson(result ?? null);
}

/** An answer of any media type. */
export function answered(
  body: PlainAnswer["body"],
  mediaType: string,
  status: number,
  headers: Headings,
): PlainAnswer {
  return { status, headers: headersOf(mediaType, headers), body };
}

/** The headers of the last answer, as they were given and as they are sent. */
let last: { readonly mediaType: string; readonly given: Headings; readonly sent: Headings } | null =
  null;

/** The same record as for the last answer if the same one was given: most calls' are. */
function headersOf(mediaType: string, given: Headings): Headings {
  if (last !== null && last.given === given && last.mediaType === mediaType) return last.sent;
  const sent = { "content-type": mediaType, ...HEADERS, ...given };
  last = { mediaType, given, sent };
  return sent;
}

/** The way of the last call, and the headers that say it. */
let lastWay: {
  readonly path: readonly string[];
  readonly region: string;
  readonly verdict: string | undefined;
  readonly callerRegion: string | undefined;
  readonly common: Headings;
  readonly headers: Headings;
} | null = null;

/**
 * The headers of a call's answer: its path and verdict, the region that it was made for, and
 * `common`. The same record as for the last call if all of these were the same.
 */
export function wayHeaders(
  { path, rrp, verdict }: CallResult,
  callerRegion: string | undefined,
  common: Headings,
): Headings {
  const region = regionOf(rrp);
  if (
    lastWay !== null && lastWay.region === region && lastWay.callerRegion === callerRegion &&
    lastWay.common === common && lastWay.verdict === verdict && isSamePath(lastWay.path, path)
  ) return lastWay.headers;
  const headers = pathHeaders(path, rrp);
  if (verdict) headers[VERDICT_HEADER] = verdict;
  if (callerRegion !== undefined) headers[CALLER_REGION_HEADER] = callerRegion;
  Object.assign(headers, common);
  lastWay = { path, region, verdict, callerRegion, common, headers };
  return headers;
}

function isSamePath(one: readonly string[], other: readonly string[]): boolean {
  return one === other ||
    one.length === other.length && one.every((node, i) => node === other[i]);
}

let lastVerdict: {
  readonly verdict: string;
  readonly common: Headings;
  readonly headers: Headings;
} | null = null;

/** The headers of a lookup's answer: its verdict, and `common`. The same record for the same two. */
export function verdictHeaders(verdict: string, common: Headings): Headings {
  if (lastVerdict?.verdict === verdict && lastVerdict.common === common) return lastVerdict.headers;
  const headers = { ...common, [VERDICT_HEADER]: verdict };
  lastVerdict = { verdict, common, headers };
  return headers;
}

const origins = new WeakMap<Request, RequestOrigin>();

/** Remembers the address from which a request came. */
export function noteCaller(request: Request, from: RequestOrigin | undefined): void {
  if (from) origins.set(request, from);
}

/** The caller of a request. All requests without a known address count as one caller's. */
export function callerOfRequest(request: Request): string {
  const remote = origins.get(request)?.remote;
  return remote === undefined ? "" : callerOf(remote);
}

/**
 * An IPv4 address unchanged, or an IPv6 address without its last 64 bits, because one host may
 * choose these freely.
 */
export function callerOf(remote: string): string {
  const [address = ""] = remote.toLowerCase().split("%");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  while (groups.length + after.length < 8) groups.push("0");
  return [...groups, ...after].slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "")).join(":");
}
