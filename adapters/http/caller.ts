/**
 * Names the caller of a request by its remote address, for the fair share of purchases. Takes what
 * the runtime tells of a request's connection.
 */
import type { RequestOrigin } from "../../src/ports/runtime.ts";

const origins = new WeakMap<Request, RequestOrigin>();

/** Remembers where a request came from. */
export function noteCaller(request: Request, from: RequestOrigin | undefined): void {
  if (from) origins.set(request, from);
}

/** The caller of a request; all without a known address count as one. */
export function callerOfRequest(request: Request): string {
  const remote = origins.get(request)?.remote;
  return remote === undefined ? "" : callerOf(remote);
}

/** An IPv4 address as it is, an IPv6 address without its last 64 bits: these one host may choose. */
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
