/**
 * Where a call came from and which nodes it went through.
 *
 * Takes what a caller, or the nodes that passed a call on, report; gives names and origins in
 * one form. A local call that reports nothing has no path.
 *
 * Source: `docs/design.md`, Calls; W3C Trace Context, https://www.w3.org/TR/trace-context/.
 */
import { AtlasError } from "../errors.ts";

/** The path of a call so far. */
export interface CallPath {
  /** The nodes that it went through, its caller's first, as `<region>/<node>`. */
  readonly via: readonly string[];
  /** The region it is made for; null: its first node's. */
  readonly region: string | null;
  /**
   * A W3C `traceparent`: the caller's trace, with the last link as parent; null if the call is not
   * traced.
   */
  readonly trace: string | null;
}

/** Who made a call: the node it started at, and the region it was made for. */
export interface Caller {
  readonly region: string;
  readonly node: string;
}

/** How a node is named on a path: `<region>/<node>`. */
export function nodeName({ region, node }: Caller): string {
  return `${region}/${node}`;
}

/** The region in a `<region>/<node>`, or in an RRP without its `rrp:`. */
export function regionOf(name: string): string {
  const start = name.startsWith("rrp:") ? 4 : 0;
  const end = name.indexOf("/", start);
  return name.slice(start, end < 0 ? undefined : end);
}

/** Who made a call that came over a link from `peer` with this path. */
export function callerOf(path: CallPath | null, peer: Caller): Caller {
  const first = path?.via[0];
  const [region, node] = first === undefined
    ? [peer.region, peer.node]
    : [regionOf(first), first.slice(first.indexOf("/") + 1)];
  return { region: path?.region ?? region, node };
}

/** Whether `text` is a `traceparent` of a version that has the four fields known today. */
export function isTraceparent(text: unknown): text is string {
  return typeof text === "string" && text.length <= 128 &&
    /^(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?$/.test(text);
}

/** @throws AtlasError `bad_request` if a caller's `traceparent` isn't valid. */
export function checkTraceparent(text: string | undefined): string | null {
  if (text === undefined || isTraceparent(text)) return text ?? null;
  throw new AtlasError(
    "bad_request",
    `traceparent is ${JSON.stringify(String(text).slice(0, 80))}: it must be a W3C ` +
      "traceparent, <version>-<trace id>-<parent id>-<flags> in lower-case hexadecimal",
  );
}
