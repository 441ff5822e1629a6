/**
 * Opens the store in an Upstash Redis over HTTPS, on any runtime, also without TCP. Takes an
 * address and a token; gives a `RedisStore` over `@upstash/redis`. Every step is a script, so that
 * the server that writes answers it, never a replica.
 */
import { Redis } from "@upstash/redis";
import { AtlasError } from "../../../src/errors.ts";
import { quoted } from "../../../src/model/options.ts";
import type { Store } from "../../../src/ports/store.ts";
import { checkMs, refused } from "../check.ts";
import { checkStrategy, openOptimistic, type StrategyOptions } from "../optimistic/options.ts";
import { OPTIMISTIC_SCRIPTS, RedisMaster } from "../optimistic/redis_master.ts";
import { quotedUrl } from "../redact_url.ts";
import { EvictionMonitor, evictionOf, type EvictionOptions } from "../redis/eviction.ts";
import {
  MAX_REQUEST_TEXT,
  type UpstashClient,
  UpstashConnection,
} from "../redis/http_connection.ts";
import { UpstashRequester } from "../redis/http_requester.ts";
import { SCRIPTS } from "../redis/scripts.ts";
import { RedisStore } from "../redis/store.ts";

export interface UpstashStoreOptions extends StrategyOptions, EvictionOptions {
  /** The REST URL: `https://…`; `http://` on loopback only. May end with `?eviction=allow`. */
  url: string;
  /** The REST token, not the read-only one. */
  token: string;
  /** How long one step, and opening, may take, in ms. Default 5,000. */
  timeoutMs?: number;
}

/**
 * Opens the store of an Upstash Redis, or of anything that speaks its REST API.
 *
 * A step whose answer was lost is repeated up to twice within its time; a repeat has no further
 * effect. Only `release` is never repeated, since the second answer would not tell what the first
 * attempt did; a network that repeats it may make it answer false. `status()` tells whether the
 * last request was answered.
 *
 * @throws AtlasError `bad_request` if an option isn't allowed, or the server says that it may evict
 * keys that have no TTL (Upstash itself doesn't say), `unauthorized` if the token is refused,
 * `unavailable` if nobody answers within `timeoutMs`.
 *
 * @example
 * ```ts
 * const store = await upstashStore({ url: "https://eu1-cat-1.upstash.io", token });
 * ```
 */
export async function upstashStore(options: UpstashStoreOptions): Promise<Store> {
  if (typeof options !== "object" || options === null) {
    throw refused("options", quoted(options), "{ url, token }");
  }
  const timeoutMs = options.timeoutMs ?? 5_000;
  checkMs("timeoutMs", timeoutMs);
  const masters = checkStrategy(options);
  const { url, eviction } = checkUrl(options.url);
  const token = checkToken(options.token);
  const connection = new UpstashConnection({
    name: `the Redis at ${url.host}`,
    timeoutMs,
    scripts: masters ? OPTIMISTIC_SCRIPTS : SCRIPTS,
    client: (signal) => clientOf(url, token, signal),
    eviction: new EvictionMonitor({
      eviction: options.eviction ?? eviction,
      onEvent: options.onEvent,
    }),
  });
  try {
    await connection.open();
  } catch (error) {
    connection.close();
    throw error;
  }
  if (masters) return await openOptimistic(new RedisMaster(connection, masters), masters, options);
  return new RedisStore(connection, MAX_REQUEST_TEXT, options.onEvent);
}

/**
 * Makes the client with a requester that has bounds and doesn't repeat requests (the default one
 * sends each up to six times), without automatic deserialization and telemetry. Answers come as
 * plain JSON, because the decoder for base64 drops a byte order mark; all text here is well-formed
 * Unicode.
 */
function clientOf(url: URL, token: string, signal: () => AbortSignal): UpstashClient {
  return new PlainRedis(new UpstashRequester({ url, token, signal }));
}

/** The client's constructor takes no options besides a requester; its commands read them here. */
class PlainRedis extends Redis {
  protected override opts = { automaticDeserialization: false };
}

const LOOPBACK = /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** The address of a URL, and its `eviction`. @throws AtlasError `bad_request` */
export function checkUrl(text: string): { url: URL; eviction: "allow" | undefined } {
  const allowed = "https://host, or http://host[:port] on loopback";
  if (!URL.canParse(text)) throw refused("Upstash URL", quotedUrl(text), allowed);
  const url = new URL(text);
  const safe = url.protocol === "https:" ||
    (url.protocol === "http:" && LOOPBACK.test(url.hostname));
  if (!safe) throw refused("Upstash URL", quotedUrl(text), allowed);
  const eviction = /^\?eviction=(\w{1,20})$/.exec(url.search)?.[1];
  if (eviction !== undefined) url.search = "";
  if (/[@?#]/.test(url.href)) {
    const rest = "without user or fragment, and without a query but eviction=allow";
    throw refused("Upstash URL", quotedUrl(text), `${allowed}, ${rest}`);
  }
  return { url, eviction: evictionOf(eviction) };
}

function checkToken(token: string): string {
  if (typeof token === "string" && /^[!-~]{1,4096}$/.test(token)) return token;
  throw new AtlasError(
    "bad_request",
    "the Upstash token (option `token`, or ATLAS_REGISTRY_TOKEN) must be the database's REST " +
      `token: printable ASCII without white space; it is ${token ? "not" : "not set"}`,
  );
}
