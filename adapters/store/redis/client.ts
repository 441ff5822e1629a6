/**
 * One interface over the two Redis clients that Atlas uses, Bun's own and ioredis.
 *
 * Takes an address; gives a connection that sends commands, ends once, and never reconnects by
 * itself (`connection.ts` does). Measured with batched claims, 256 in flight: Bun's own client is
 * the fastest on Bun; ioredis is steady on Node and Deno.
 */
import { isIP } from "node:net";
import { AtlasError, messageOf } from "../../../src/errors.ts";
import { refused } from "../check.ts";
import { quotedUrl } from "../redact_url.ts";
import { evictionOf } from "./eviction.ts";
import { withTimeout } from "./request_timeout.ts";

/** The address and credentials of a Redis. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly database: number;
  readonly tls: boolean;
  /** The number of replicas that must have a write before it counts. Default 0. */
  readonly replicas?: number;
  /** Whether the server may evict keys. Default: it may not. */
  readonly eviction?: "allow" | undefined;
}

/** One open connection. A refusal by the server rejects with an Error that has its text. */
export interface RedisClient {
  send(command: string, args: string[]): Promise<unknown>;
  /** Closes it at once; requests in flight reject. */
  close(): void;
}

/**
 * Opens a connection to database 0; `ended` runs once when the connection ends after that, at
 * whichever end. Clients ignore a failure to select a database, so the caller selects it.
 */
export type RedisDialer = (
  address: RedisAddress,
  timeoutMs: number,
  ended: (why: string) => void,
) => Promise<RedisClient>;

/** The settings that a Redis URL may end with. */
export interface RedisQuery {
  /** The number of replicas that must have a write before it counts. */
  readonly replicas: number;
  readonly eviction: "allow" | undefined;
  /** The other settings that are allowed. */
  readonly others: ReadonlyMap<string, string>;
}

/**
 * Reads `?name=value&…`, each at most once: `replicas`, `eviction` and `others`.
 *
 * @throws AtlasError `bad_request`, naming the one that is wrong.
 */
export function parseRedisQuery(query: string, others: readonly string[] = []): RedisQuery {
  const allowed = ["replicas", "eviction", ...others];
  const settings = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!allowed.includes(name) || settings.has(name)) {
      const are = `one of ${allowed.join(", ")}, each at most once`;
      // A value under a misspelt name may be a password, so its value isn't shown.
      const shown = /pass|user/i.test(name) ? name : `${name}=${value}`;
      throw refused("Redis URL query", `?${shown}`, are);
    }
    settings.set(name, value);
  }
  const replicas = settings.get("replicas") ?? "0";
  if (!/^\d{1,2}$/.test(replicas)) {
    throw refused("Redis URL query", `replicas=${replicas}`, "?replicas=0 to 99");
  }
  const eviction = evictionOf(settings.get("eviction"));
  return { replicas: Number(replicas), eviction, others: settings };
}

/**
 * Reads `redis://[user[:password]@]host[:port][/database][?replicas=N&eviction=allow]`, or
 * `rediss:` for TLS.
 *
 * @throws AtlasError `bad_request`, naming the part. Never shows the password.
 */
export function parseRedisUrl(text: string): RedisAddress {
  checkLogin(text);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refused(
      "Redis URL",
      quotedUrl(text),
      "redis://[user:password@]host[:port][/database]",
    );
  }
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") {
    throw refused("Redis URL scheme", url.protocol, "redis: or rediss:");
  }
  if (url.hostname === "") throw refused("Redis URL host", "empty", "a name or address");
  if (url.hash !== "") {
    throw refused("Redis URL", `followed by ${url.hash}`, "without a fragment");
  }
  const { replicas, eviction } = parseRedisQuery(url.search);
  const path = /^\/?(\d{0,5})$/.exec(url.pathname);
  if (!path) throw refused("Redis URL database", url.pathname, "a number, such as /0");
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 6379 : Number(url.port),
    username: decodePart("user", url.username),
    password: decodePart("password", url.password),
    database: Number(path[1]),
    tls: url.protocol === "rediss:",
    replicas,
    eviction,
  };
}

/**
 * Refuses a URL whose password holds `/`, `?` or `#`: the rest would be parsed as a database or a
 * query, and quoted in errors. Sentinels' own passwords may be in the query.
 */
export function checkLogin(text: string): void {
  const [, rest = ""] = /^[^/]*\/\/[^/?#]*(.*)$/s.exec(String(text)) ?? [];
  if (!rest.replace(/([?&]sentinel(?:Username|Password)=)[^&#]*/g, "$1").includes("@")) return;
  throw refused(
    "Redis URL",
    quotedUrl(text),
    "percent-encoded in its user and password: %2F for /, %3F for ?, %23 for #, %40 for @",
  );
}

/** A part of a URL, percent-decoded; `name` says which part, for the error. */
export function decodePart(name: string, encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new AtlasError("bad_request", `Redis URL ${name} is not percent-encoded UTF-8`);
  }
}

/** The part of Bun's `RedisClient` that is used. */
interface BunClient {
  onclose: ((error: Error) => void) | null;
  connect(): Promise<void>;
  send(command: string, args: string[]): Promise<unknown>;
  close(): void;
}

type BunClientClass = new (url: string, options: object) => BunClient;

/** Bun's own client, or undefined on another runtime. */
function bunClient(): BunClientClass | undefined {
  return (globalThis as { Bun?: { RedisClient?: BunClientClass } }).Bun?.RedisClient;
}

/** Through Bun's own client. It gives no reason when a connection fails. */
export const dialBun: RedisDialer = async (address, timeoutMs, ended) => {
  const Client = bunClient();
  if (!Client) throw new AtlasError("bad_request", "Bun's Redis client needs Bun");
  const client = new Client(urlOf(address), {
    autoReconnect: false,
    enableOfflineQueue: false,
    connectionTimeout: Math.ceil(timeoutMs),
  });
  await client.connect();
  client.onclose = (error) => ended(messageOf(error));
  return client;
};

/** The part of ioredis's `Redis` that is used. */
interface IoClient {
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "close", listener: () => void): unknown;
  connect(): Promise<void>;
  call(command: string, args: string[]): Promise<unknown>;
  disconnect(): void;
}

type IoClientClass = new (options: object) => IoClient;

/** Through ioredis, on any runtime. */
export const dialIoredis: RedisDialer = async (address, timeoutMs, ended) => {
  const { Redis } = (await import("ioredis")) as unknown as { Redis: IoClientClass };
  const { host, port, username, password, tls } = address;
  const client = new Redis({
    host,
    port,
    username: username === "" ? undefined : username,
    password: password === "" ? undefined : password,
    // A server name is a DNS name (RFC 6066 §3); a certificate's addresses are checked without.
    tls: tls ? (isIP(host) === 0 ? { servername: host } : {}) : undefined,
    connectTimeout: Math.ceil(timeoutMs),
    lazyConnect: true,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
  });
  let opened = false;
  let why = "the connection ended";
  // Without a listener an "error" event would end the process.
  client.on("error", (error) => why = messageOf(error));
  client.on("close", () => {
    if (opened) ended(why);
  });
  try {
    await withTimeout(timeoutMs, client.connect());
  } catch (error) {
    client.disconnect();
    throw new Error(why === "the connection ended" ? messageOf(error) : why, { cause: error });
  }
  opened = true;
  return {
    send: (command, args) => client.call(command, args),
    close: () => client.disconnect(),
  };
};

/** The fastest client of the running runtime. */
export function defaultDialer(): RedisDialer {
  return bunClient() ? dialBun : dialIoredis;
}

function urlOf({ host, port, username, password, tls }: RedisAddress): string {
  const user = username === "" && password === ""
    ? ""
    : `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`;
  const name = host.includes(":") ? `[${host}]` : host;
  return `${tls ? "rediss" : "redis"}://${user}${name}:${port}`;
}
