/**
 * Decides which pages and host names may reach a node, by the headers Origin and Host, and adds the
 * CORS headers that let the allowed pages read answers.
 *
 * Takes a request's path and headers and the node's settings; gives the error that refuses the
 * request, or null. Sources: RFC 6454 (Origin), RFC 9112 §3.2 (Host), docs/security.md.
 */
import { AtlasError } from "../../src/errors.ts";
import { quoted } from "../../src/model/options.ts";
import type { HeaderReader } from "../../src/ports/runtime.ts";
import {
  CALLER_REGION_HEADER,
  hostUrl,
  IDEMPOTENCY_HEADER,
  NO_WAIT_HEADER,
  PURCHASE_HEADER,
  TIMEOUT_HEADER,
  TRACE_HEADER,
} from "../http_wire/inputs.ts";
import { PATH_HEADER, REGION_HEADER, VERDICT_HEADER } from "../http_wire/path.ts";
import { protocolsOf, TOKEN_PROTOCOL } from "../http_wire/socket_codec.ts";
import { isLoopback, LINK_PATH } from "../transport/link_address.ts";

/** The settings of a node that the rules need. */
export interface OriginRules {
  /** `ATLAS_ORIGINS`; `*` alone: all. */
  readonly origins: readonly string[];
  /** `ATLAS_PUBLIC_URL`, or the URL derived in its place; undefined if it isn't known yet. */
  readonly url: string | undefined;
  /** Whether callers need a token. */
  readonly hasToken: boolean;
  /** Whether node links need a secret. */
  readonly hasSecret: boolean;
}

/** Routes for probes, which use any host name or address. */
const PROBES = new Set(["/healthz", "/readyz"]);
/** The last header Host that was loopback: most requests have the same. */
let lastLoopback: string | null = null;
/** Schemes of `Authorization` that browsers send by themselves once a user has logged in. */
const SENT_BY_BROWSERS = /^\s*(?:basic|digest|ntlm|negotiate)\b/i;

/**
 * Why a request is refused as `forbidden`, before it has any effect; null if it isn't.
 *
 * - An `Origin` MUST be the node's own or a listed one, unless the request carries what no browser
 *   sends for a foreign page: `Authorization`, or, if a token is checked, the subprotocol
 *   `atlas.token.…`.
 * - Without a token, `Host` MUST be a name that nobody else can point at this node (DNS rebinding).
 *   HTTP/1.0 sends no `Host`, and no browser uses HTTP/1.0.
 */
export function refusalOf(
  path: string,
  headers: HeaderReader,
  rules: OriginRules,
): AtlasError | null {
  const host = headers.get("host") || null;
  const origin = headers.get("origin");
  if (origin !== null && !mayCall(origin, host, headers, rules)) {
    const allowed = "pages of that origin may call this node only if ATLAS_ORIGINS lists it";
    const own = "; the node's own origin is that of its header Host or of ATLAS_PUBLIC_URL";
    return forbidden(`header Origin is ${quoted(origin)}: ${allowed}${own}`);
  }
  if (host === null || isAnswered(path, host, rules)) return null;
  const allowed = "a node without ATLAS_TOKEN answers under loopback names, the host of " +
    "ATLAS_PUBLIC_URL and hosts in ATLAS_ORIGINS only: set one of these three";
  return forbidden(`header Host is ${quoted(host)}: ${allowed}`);
}

function mayCall(
  text: string,
  host: string | null,
  headers: HeaderReader,
  { origins, url, hasToken }: OriginRules,
): boolean {
  if (origins.includes("*") || origins.includes(text)) return true;
  const origin = originOf(text);
  if (origin !== null && host !== null) {
    // The header Host names no scheme: its port is compared as one of the origin's scheme.
    if (hostUrl(origin.protocol, host)?.host === origin.host) return true;
  }
  if (origin !== null && url !== undefined && origin.origin === new URL(url).origin) return true;
  const authorization = headers.get("authorization");
  if (authorization && !SENT_BY_BROWSERS.test(authorization)) return true;
  // Without a token the subprotocol isn't checked, and any page may offer any subprotocol.
  return hasToken && protocolsOf(headers).some((it) => it.startsWith(TOKEN_PROTOCOL));
}

function isAnswered(path: string, host: string, rules: OriginRules): boolean {
  const { origins, url, hasToken, hasSecret } = rules;
  if (hasToken || origins.includes("*") || PROBES.has(path)) return true;
  // Peers dial by other host names, and prove that they know the secret.
  if (hasSecret && path === LINK_PATH) return true;
  if (host === lastLoopback) return true;
  const name = hostUrl("http:", host)?.hostname;
  if (name === undefined) return false;
  if (isLoopback(name)) {
    lastLoopback = host;
    return true;
  }
  const known = url === undefined ? origins : [url, ...origins];
  return known.some((it) => new URL(it).hostname === name);
}

/** An origin of a page; null if it is none of HTTP (`null`, an extension's, a file's). */
function originOf(text: string): URL | null {
  for (const scheme of ["http:", "https:"]) {
    if (text.startsWith(`${scheme}//`)) return hostUrl(scheme, text.slice(scheme.length + 2));
  }
  return null;
}

function forbidden(message: string): AtlasError {
  return new AtlasError("forbidden", message);
}

/** Headers that pages may send. */
const ALLOWED_HEADERS = [
  "accept",
  "authorization",
  "content-type",
  CALLER_REGION_HEADER,
  IDEMPOTENCY_HEADER,
  NO_WAIT_HEADER,
  PURCHASE_HEADER,
  TIMEOUT_HEADER,
  TRACE_HEADER,
];
/** Headers that pages may read. */
const EXPOSED_HEADERS = [CALLER_REGION_HEADER, PATH_HEADER, REGION_HEADER, VERDICT_HEADER];
/** How long a browser may cache a preflight, in s: the most that browsers allow. */
const MAX_AGE_S = 7_200;

/** What lets pages of some origins read answers. Source: the Fetch standard, CORS protocol. */
export class CrossOrigin {
  readonly #origins: readonly string[];
  /** The same on every answer. */
  readonly #common: Readonly<Record<string, string>>;
  /** The last origin whose pages may read answers, and the headers for it. */
  #last: { readonly origin: string | null; readonly headers: Readonly<Record<string, string>> } = {
    origin: null,
    headers: {},
  };

  /** Origins as in `ATLAS_ORIGINS`; `["*"]`: all. */
  constructor(origins: readonly string[]) {
    this.#origins = origins;
    const exposed = { "access-control-expose-headers": EXPOSED_HEADERS.join(",") };
    this.#common = origins.includes("*")
      ? { "access-control-allow-origin": "*", ...exposed }
      : { vary: "Origin", ...exposed };
  }

  /** The headers of an answer to a request with this header Origin. Answers may share them. */
  headersFor(origin: string | null): Readonly<Record<string, string>> {
    if (origin === null || !this.#origins.includes(origin)) return this.#common;
    if (origin !== this.#last.origin) {
      const headers = { "access-control-allow-origin": origin, ...this.#common };
      this.#last = { origin, headers };
    }
    return this.#last.headers;
  }

  /** The answer to a preflight: browsers ask by OPTIONS, without a token. */
  preflight(headers: HeaderReader): Response {
    const { vary, ...common } = this.headersFor(headers.get("origin"));
    const asked = "Access-Control-Request-Headers";
    return new Response(null, {
      status: 204,
      headers: {
        ...common,
        "access-control-max-age": String(MAX_AGE_S),
        "access-control-allow-methods": "GET,POST,DELETE",
        "access-control-allow-headers": ALLOWED_HEADERS.join(","),
        vary: vary === undefined ? asked : `${vary}, ${asked}`,
      },
    });
  }
}
