/**
 * How routes of the HTTP API are declared (method, pattern, handler), their JSON answers, and the
 * caller of a request, by its address.
 */
import type { RequestOrigin } from "../../src/ports/runtime.ts";
import { toJson } from "../http_wire/json.ts";
import { plainResponse } from "../http_wire/plain_response.ts";

/** Answers a request; `path` is its path as it came, still percent-encoded. */
export type Handler = (request: Request, path: string) => Response | Promise<Response>;

export type Add = (method: "GET" | "POST" | "DELETE", pattern: string, handler: Handler) => void;

/** A value as the JSON answer, under `headers`. */
export function json(
  value: unknown,
  status: number = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return plainResponse(toJson(value), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

/**
 * A call's result and its owner, as the JSON answer. JSON has no undefined, so such a result is
 * null.
 */
export function resultJson(
  answer: { readonly result: unknown; readonly [origin: string]: unknown },
  headers: Readonly<Record<string, string>> = {},
): Response {
  return json({ ...answer, result: answer.result ?? null }, 200, headers);
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
