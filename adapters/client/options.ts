/**
 * Checks the options of `connect` before anything is sent. Gives them checked, or an error that
 * names the option, shows it unless it is secret, and says what is allowed. Also encodes the
 * arguments and paths of requests. Browser-safe.
 */
import { AtlasError } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS, MAX_BODY_BYTES, MAX_IDEMPOTENCY_KEY_BYTES } from "../../src/limits.ts";
import { isCallable } from "../../src/model/internal_methods.ts";
import {
  checkArguments,
  checkMs,
  checkOptions,
  type OptionNames,
  quoted,
  withoutTrailing,
  wrong,
} from "../../src/model/options.ts";
import { checkToken } from "../../src/model/rrp.ts";
import { encodeValue } from "../../src/model/value.ts";
import { isHeaderText } from "../http_wire/inputs.ts";
import { redactUrl } from "../store/redact_url.ts";
import type { Fetch } from "./request.ts";
import type { SocketOptions } from "./socket_api.ts";

export interface ConnectOptions {
  /** The nodes' `ATLAS_TOKEN`: printable ASCII without white space. */
  token?: string;
  /** Default: the global one. */
  fetch?: Fetch;
  /** Deadline of calls that name none, in ms; 1 to 300,000. Default 10,000. */
  timeoutMs?: number;
  /** The region of this program, sent with each call. Default: the node's. */
  region?: string;
}

/** The URL of a node. */
export type NodeUrl = string | URL;

const CONNECT: OptionNames<ConnectOptions> = {
  token: true,
  fetch: true,
  timeoutMs: true,
  region: true,
};
const SOCKET: OptionNames<SocketOptions> = {
  after: true,
  onEvent: true,
  onHello: true,
  onClose: true,
  signal: true,
};

/** Options with their defaults. */
export interface Connection {
  readonly token: string | undefined;
  readonly fetch: Fetch;
  readonly timeoutMs: number;
  readonly region: string | undefined;
}

/** @throws AtlasError `bad_request`; `invalid_rrp` if the region isn't one */
export function checkConnect(options: ConnectOptions): Connection {
  const { token, fetch: given, timeoutMs = DEFAULT_TIMEOUT_MS, region } = checkOptions(
    options,
    CONNECT,
  );
  if (token !== undefined && !(typeof token === "string" && /^[!-~]+$/.test(token))) {
    const message = "token must be text of printable ASCII characters without white space";
    throw new AtlasError("bad_request", message);
  }
  checkFunction("fetch", given);
  return {
    token,
    fetch: given ?? ((input, init) => fetch(input, init)),
    timeoutMs: checkMs("timeoutMs", timeoutMs),
    region: region === undefined ? undefined : checkToken("region", region),
  };
}

/** @throws AtlasError `bad_request` */
export function checkSocket<T>(options: SocketOptions<T>): SocketOptions<T> {
  const { after, onEvent, onHello, onClose } = checkOptions(options, SOCKET);
  if (after !== undefined && !(Number.isSafeInteger(after) && after >= 0)) {
    throw wrong("after", after, "an event's number, 0 or more");
  }
  for (const [name, given] of Object.entries({ onEvent, onHello, onClose })) {
    checkFunction(name, given);
  }
  return options;
}

/** Base URLs of nodes, without a slash at the end. @throws AtlasError `bad_request` */
export function baseUrls(given: NodeUrl | readonly NodeUrl[]): string[] {
  const urls: readonly unknown[] = Array.isArray(given) && given.length > 0 ? given : [given];
  return urls.map(baseUrl);
}

function baseUrl(given: unknown): string {
  const text = typeof given === "string" || given instanceof URL ? String(given) : "";
  const url = URL.canParse(text) ? new URL(text) : null;
  if (
    url && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "" &&
    url.search === ""
  ) return url.origin + withoutTrailing(url.pathname, "/");
  const shown = quoted(given instanceof URL ? redactUrl(text) : redacted(given));
  throw new AtlasError(
    "bad_request",
    `url is ${shown}, it must be an http:// or https:// URL of a node, without user name, ` +
      "password or query, or several of these",
  );
}

function redacted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redacted);
  return typeof value === "string" ? redactUrl(value) : value;
}

/** @throws AtlasError `bad_request` */
export function checkIdempotencyKey(key: string | undefined): string | undefined {
  if (key === undefined || (typeof key === "string" && isHeaderText(key))) return key;
  const allowed = `1 to ${MAX_IDEMPOTENCY_KEY_BYTES} printable ASCII characters`;
  throw wrong("idempotencyKey", key, allowed);
}

function checkFunction(name: string, given: unknown): void {
  if (given !== undefined && typeof given !== "function") throw wrong(name, given, "a function");
}

/** Arguments as a body. @throws AtlasError `bad_request`, `payload_too_large` */
export function encodeArguments(args: readonly unknown[]): Uint8Array {
  return encodeValue(checkArguments(args), "arguments", MAX_BODY_BYTES);
}

/** The path of a module's function. @throws AtlasError `invalid_rrp`, `not_found` */
export function functionPath(module: string, name: string): string {
  checkToken("module", module);
  // Refused, because `fetch` would remove a dot segment from the path.
  if (isCallable(name) && !/^\.{1,2}$/.test(name)) {
    return `/v1/modules/${module}/${encodeURIComponent(name)}`;
  }
  throw new AtlasError("not_found", `${module} has no function ${quoted(name)}`);
}
