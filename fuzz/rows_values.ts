/** Draws the content of invalid rows: texts, addresses, RRPs, epochs and stored values. */
import type { Draw } from "./draw.ts";
import { oddJson, oddPack, value } from "./values.ts";

export function oddText(draw: Draw): string {
  const text = String(value(draw)).toWellFormed().replaceAll("\0", "");
  return text.slice(0, draw.pick([20, 300, 70_000]));
}

/** Addresses of links, all of loopback or of nothing. */
export function oddAddress(draw: Draw): string {
  return draw.pick([
    "ws://127.0.0.1:1/atlas/link",
    "ws://127.0.0.1:99999/atlas/link",
    "http://127.0.0.1:1",
    "ws://127.0.0.1:1/elsewhere",
    "ws://user:password@127.0.0.1:1/atlas/link",
    "",
    "x".repeat(draw.length(9_000)),
    "javascript:0",
  ]);
}

export function oddHosts(draw: Draw): string {
  return draw.weighted<() => string>([
    [3, () => '["channels","unruly"]'],
    [1, () => "[]"],
    [1, () => "not json"],
    [1, () => draw.pick(["null", "5", "{}", '"channels"', "[1,null]", '{"hosts":5}', ""])],
    [1, () => oddJson(draw).toString().toWellFormed().slice(0, 100_000)],
  ])();
}

export function oddRrp(draw: Draw, key: string): string {
  return draw.pick([
    `rrp:local/target/${key}`,
    `rrp:local/ghost-1/${key}`,
    `rrp:elsewhere/x/${key}`,
    "rrp:",
    "rrp:a/b/c/d/e/f",
    "",
    oddText(draw),
  ]);
}

export function oddEpoch(draw: Draw): bigint {
  return draw.pick([0n, 1n, -1n, 7n, 1n << 36n, (1n << 53n) - 1n, 1n << 53n, (1n << 63n) - 1n]);
}

/** A stored value: JSON, or `~` and base64 of MessagePack, or neither. */
export function oddStored(draw: Draw): string {
  return draw.weighted<() => string>([
    [2, () => oddJson(draw).toString().toWellFormed()],
    [3, () => `~${oddPack(draw).toString("base64")}`],
    [1, () => draw.pick(["", "~", "~***", "{oops", "~~", "undefined"])],
    [1, () => oddText(draw)],
    [1, () => `"${"x".repeat(draw.pick([1_000, 1_048_576, 4_000_000]))}"`],
  ])();
}
