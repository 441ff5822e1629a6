/**
 * How routes of the HTTP API are declared (method, pattern, handler), their answers, and the caller
 * of a request, by its address.
 */
import type { PlainAnswer, RequestOrigin } from "../../src/ports/runtime.ts";
import { MSGPACK, msgpackMap } from "../http_wire/body.ts";
import { toJson } from "../http_wire/json.ts";

/** Answers a request; `path` is its path as it came, still percent-encoded. */
export type Handler = (request: Request, path: string) => PlainAnswer | Promise<PlainAnswer>;

export type Add = (method: "GET" | "POST" | "DELETE", pattern: string, handler: Handler) => void;

/** Headers of every answer: no sniffing, no framing, no caching. */
export const HEADERS = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

type Headings = Readonly<Record<string, string>>;

/** A value as the JSON answer, under `headers`. */
export function json(value: unknown, status: number = 200, headers: Headings = {}): PlainAnswer {
  return answered(toJson(value), "application/json", status, headers);
}

/**
 * A call's result and its origin, as JSON or as MessagePack. JSON has no undefined, so such a result
 * is null.
 */
export function resultAnswer(
  result: unknown,
  origin: { readonly [name: string]: string | number },
  inMsgpack: boolean,
  headers: Headings = {},
): PlainAnswer {
  if (inMsgpack) return answered(msgpackMap(result, origin), MSGPACK, 200, headers);
  const text = `{"result":${toJson(result ?? null)},${JSON.stringify(origin).slice(1)}`;
  return answered(text, "application/json", 200, headers);
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

/** The same record as for the last answer if its headers were the same: most calls' are. */
function headersOf(mediaType: string, given: Headings): Headings {
  if (last !== null && last.mediaType === mediaType && isSame(last.given, given)) return last.sent;
  const sent = { "content-type": mediaType, ...HEADERS, ...given };
  last = { mediaType, given, sent };
  return sent;
}

function isSame(one: Headings, other: Headings): boolean {
  let left = 0;
  for (const name in one) {
    if (one[name] !== other[name]) return false;
    left++;
  }
  for (const _ in other) left--;
  return left === 0;
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
