/**
 * Draws hostile heads of HTTP requests. None asks a node to drain, or names what the well-behaved
 * callers use.
 */
import type { Draw } from "./draw.ts";

/** The characters of a token (RFC 9110 §5.6.2). */
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
/** Characters that a head must not contain, and some that it may. */
const ODD = "\0\x01\t\x0b\x0c\x1f \"(),/:;<=>?@[\\]{}\x7f\x80\xa0\xff%&#'*+.^`|~";

/**
 * The number of resources of each type, which is bounded because each one keeps data, such as 4 MiB
 * of events.
 */
const KEYS = 16;

/** A resource that only hostile input uses. */
export function attackedKey(draw: Draw): string {
  const type = draw.weighted([[4, "channels"], [4, "unruly"], [1, "crowded"]]);
  return `${type}/a${draw.below(KEYS)}`;
}

export function method(draw: Draw): string {
  return draw.weighted<() => string>([
    [10, () => "GET"],
    [10, () => "POST"],
    [4, () => draw.pick(["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "PRI"])],
    [3, () => draw.pick(["get", "G\0T", "", "GET\t", "G ET", "P\u00d6ST", "POST\r", "-"])],
    [1, () => draw.text(draw.length(20_000), LETTERS)],
  ])();
}

/** Valid paths of existing routes. */
export function goodTarget(draw: Draw): string {
  const key = attackedKey(draw);
  return draw.pick([
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/nodes",
    "/v1/resources?prefix=rrp:&limit=5",
    "/v1/modules",
    "/v1/authorities",
    `/v1/resources/${key}`,
    `/v1/resources/${key}?require=confirmed`,
    `/v1/resources/${key}/echo`,
    `/v1/resources/${key}/history`,
    `/v1/connect/${key}`,
    "/v1/modules/copy/echo",
    "/atlas/link",
    "/",
  ]);
}

export function target(draw: Draw): string {
  const good = goodTarget(draw);
  return draw.weighted<() => string>([
    [10, () => good],
    [
      2,
      () => draw.pick(["*", "//healthz", "/%00", "/%", "/..//../v1/nodes", "", "/\0", "/ /", "?"]),
    ],
    [2, () => `http://${draw.pick(["127.0.0.1", "[::1", "a b", "@", "127.0.0.1:99999"])}${good}`],
    [1, () => `ftp://x${good}`],
    [1, () => `${good}${good.includes("?") ? "&" : "?"}${"a=%ff&".repeat(draw.length(4_000))}`],
    [1, () => `/v1/resources/channels/${"%c3%a9".repeat(draw.length(3_000))}/send`],
    [1, () => `/${draw.text(draw.length(70_000), LETTERS + ODD)}`],
    [2, () => draw.mutated(Buffer.from(good), 3).toString("latin1")],
  ])();
}

function hostLine(draw: Draw): string[] {
  return draw.weighted<() => string[]>([
    [12, () => ["Host: 127.0.0.1"]],
    [1, () => []],
    [1, () => ["Host: a", "Host: b"]],
    [
      3,
      () => [
        `Host: ${
          draw.pick([
            "",
            " ",
            "a b",
            "a@b",
            "[::1]:x",
            "a/../b",
            "\0",
            "x".repeat(70_000),
            "%",
            "[",
            "a:b:c",
          ])
        }`,
      ],
    ],
  ])();
}

/** Unusual values of the header with this name. */
const VALUES: readonly (readonly [name: string, value: (draw: Draw) => string])[] = [
  [
    "Authorization",
    (draw) => `Bearer ${draw.pick([" ", "\t", "=", "a"]).repeat(draw.length(16_000))}`,
  ],
  [
    "Authorization",
    (draw) => draw.pick(["Bearer", "Basic Og==", "Bearer  x  y", "\xff", "bearer\t"]),
  ],
  ["Atlas-Timeout-Ms", (draw) => draw.pick(["0", "-1", "1e9", "9".repeat(400), "1", "", " 7 "])],
  ["Idempotency-Key", (draw) => draw.text(draw.length(2_000), LETTERS + ODD)],
  ["Atlas-Caller-Region", (draw) => draw.text(draw.length(200), LETTERS + ODD)],
  ["Atlas-Purchase", (draw) => draw.text(draw.length(200), LETTERS)],
  ["Atlas-No-Wait", (draw) => draw.pick(["1", "0", "yes"])],
  ["traceparent", (draw) => `00-${draw.text(draw.length(64), "0123456789abcdefg")}-01`],
  [
    "Content-Type",
    (draw) => draw.pick(["application/msgpack", "text/plain", "\0", "a".repeat(9_000)]),
  ],
  [
    "Accept",
    (draw) => `${draw.pick(["*/*;q=", ",", "application/msgpack;"]).repeat(draw.length(4_000))}x`,
  ],
  [
    "Origin",
    (draw) =>
      draw.pick(["null", "http://evil.example", "http://127.0.0.1", "\x01", "x".repeat(9_000)]),
  ],
  ["Connection", (draw) => draw.pick(["close", "keep-alive", "upgrade, close", ", ,", "host"])],
  ["Upgrade", (draw) => draw.pick(["h2c", "websocket", "", "TLS/1.0, websocket"])],
  ["Expect", (draw) => draw.pick(["100-continue", "200-ok", ""])],
  ["Cookie", (draw) => draw.text(draw.length(9_000), LETTERS + "=; ")],
  ["Range", (draw) => `bytes=${"0-,".repeat(draw.length(2_000))}`],
  ["Accept-Encoding", () => "gzip;q=1, br;q=0.9, *;q=0"],
  ["Content-Encoding", (draw) => draw.pick(["gzip", "br", "x"])],
  ["Forwarded", (draw) => "for=1,".repeat(draw.length(2_000))],
];

/** Lines that are not a header, or more than one. */
function invalidRequestLine(draw: Draw): string {
  return draw.weighted<() => string>([
    [
      3,
      () =>
        draw.pick([
          ": no name",
          "no colon",
          "a b: c",
          "X\0: y",
          "X: \0",
          "X :y",
          ":path: /",
          "\xff: x",
        ]),
    ],
    [1, () => ` folded ${draw.text(20, LETTERS)}`],
    [1, () => `${draw.text(draw.length(70_000), LETTERS)}: x`],
    [1, () => `X-Long: ${draw.text(draw.length(70_000), LETTERS + ODD)}`],
    [1, () => `X-${draw.text(8, LETTERS)}:${draw.text(draw.length(300), ODD)}`],
  ])();
}

/** Lines that declare the length of a body, correctly or not. */
export function lengthLines(draw: Draw, length: number): string[] {
  return draw.weighted<() => string[]>([
    [10, () => [`Content-Length: ${length}`]],
    [1, () => []],
    [1, () => [`Content-Length: ${length + draw.whole(1, 5_000)}`]],
    [1, () => [`Content-Length: ${length >> 1}`]],
    [
      1,
      () => [
        `Content-Length: ${
          draw.pick(["-1", "0x10", "1e3", "+5", "", "9".repeat(30), "5, 5", "5 5"])
        }`,
      ],
    ],
    [1, () => [`Content-Length: ${length}`, `Content-Length: ${length + 1}`]],
    [1, () => [`Content-Length: ${length}`, "Transfer-Encoding: chunked"]],
    [
      1,
      () => [
        `Transfer-Encoding: ${
          draw.pick([
            "xchunked",
            "chunked, chunked",
            "gzip, chunked",
            "chunked\x0b",
            "identity",
            "",
            "CHUNKED",
          ])
        }`,
      ],
    ],
  ])();
}

/** The head of a request with a body of this length, usually with one or two errors. */
export function oddHead(draw: Draw, length: number, authorization: string): string {
  const lines = [...hostLine(draw), ...lengthLines(draw, length)];
  if (draw.chance(0.7)) lines.push(`Authorization: ${authorization}`);
  for (let left = draw.below(4); left > 0; left--) {
    const [name, value] = draw.pick(VALUES);
    lines.push(`${name}: ${value(draw)}`);
  }
  if (draw.chance(0.3)) lines.splice(draw.below(lines.length + 1), 0, invalidRequestLine(draw));
  if (draw.chance(0.05)) {
    for (let i = draw.length(3_000); i > 0; i--) lines.push(`X-${i}: ${i}`);
  }
  const version = draw.chance(0.9) ? "HTTP/1.1" : draw.pick([
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/1.11",
    "HTTP/1.1 ",
    "",
    "HTCPCP/1.0",
    "http/1.1",
  ]);
  const newline = draw.chance(0.92) ? "\r\n" : draw.pick(["\n", "\r", "\n\r", "\r\r\n"]);
  return `${method(draw)} ${target(draw)} ${version}${newline}${
    lines.join(newline)
  }${newline}${newline}`;
}

/** The head of a call that is well formed. */
export function callHead(key: string, name: string, lines: readonly string[]): string {
  return [`POST /v1/resources/${key}/${name} HTTP/1.1`, "Host: 127.0.0.1", ...lines, "", ""]
    .join("\r\n");
}
