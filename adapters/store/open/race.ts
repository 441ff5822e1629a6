/**
 * Opens connections to a Redis, or to several masters, for `atlas race`.
 *
 * Takes URLs of registries and the number of contenders; gives each contender a connection of its
 * own to `redis://` or `rediss://`, or single requests to `https://` (Upstash's REST API).
 * Contenders are spread over several masters in turn. A claim is one script, like the registry's
 * own claims. Keys expire by themselves, in case the racing process is killed.
 */
import { AtlasError, messageOf } from "../../../src/errors.ts";
import { MAX_CONTENDERS } from "../../../src/limits.ts";
import { quoted } from "../../../src/model/options.ts";
import { redirectOf } from "../../../src/model/redirect.ts";
import type { RaceStore } from "../../../src/ports/race_store.ts";
import { checkMs, refused, unavailable } from "../check.ts";
import { splitStrategy } from "../optimistic/options.ts";
import { quotedUrl } from "../redact_url.ts";
import { parseRedisUrl } from "../redis/client.ts";
import { RedisConnection } from "../redis/connection.ts";

/** TTL of a race's keys, in ms: longer than any race. */
const EXPIRES_MS = "900000";

/** Compare-and-set against absence; answers the present value. */
const CLAIM = `
local present = redis.call('GET', KEYS[1])
if present then return present end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`;

export interface RaceStoresOptions {
  /** Connections to open, 1 to 16, and at least one for each URL. */
  count: number;
  /** Token of `https://` registries. */
  token?: string | undefined;
  /** How long one step may take, in ms, 1 to 300,000. Default 5,000. */
  timeoutMs?: number;
}

/** Open connections, and how to close them all. */
export interface RaceStores {
  readonly stores: readonly RaceStore[];
  /** Masters that `masters=…` names and that have no URL. */
  readonly unraced: readonly string[];
  close(): void;
}

/** Sends one command; a refusal by the server rejects with its text. */
interface RaceConnection {
  send(command: string, args: string[]): Promise<unknown>;
  close(): void;
}

/**
 * Opens `count` connections to the registry at `urls`; if it is a list (one URL for each of several
 * masters), to each in turn.
 *
 * @throws AtlasError `bad_request` if an option isn't allowed, a URL isn't of a kind that can be
 * raced or comes twice, or a registry refuses its credentials; `unavailable` if one can't be
 * reached.
 */
export async function openRaceStores(
  urls: string | readonly string[],
  options: RaceStoresOptions,
): Promise<RaceStores> {
  const registries = registriesOf(urls);
  const { count, token, timeoutMs } = checkOptions(options ?? {}, registries.length);
  const dialers = registries.map(({ url }) => dialerOf(url, token, timeoutMs));
  const connections: RaceConnection[] = [];
  const close = (): void => connections.forEach((connection) => connection.close());
  const masterOf = (contender: number): number => contender % dialers.length;
  try {
    for (let i = 0; i < count; i++) {
      connections.push(await (dialers[masterOf(i)] as () => Promise<RaceConnection>)());
    }
  } catch (error) {
    close();
    throw error;
  }
  const stores = connections.map((connection, i) => raceStore(connection, `${masterOf(i)}`));
  const unraced = new Set(registries.flatMap(({ options }) => options.masters ?? []));
  for (const { options } of registries) unraced.delete(options.master ?? "");
  return { stores, unraced: [...unraced].sort(), close };
}

function registriesOf(urls: string | readonly string[]): ReturnType<typeof splitStrategy>[] {
  const list: readonly unknown[] = Array.isArray(urls) ? urls : [urls];
  const isFine = list.length > 0 && list.every((url) => typeof url === "string");
  if (!isFine || list.length > MAX_CONTENDERS) {
    const wrong = list.find((url) => typeof url !== "string");
    const value = list.length > 0 && list.length <= MAX_CONTENDERS ? wrong : list;
    throw refused("the registry", quoted(value), `a URL, or a list of 1 to ${MAX_CONTENDERS}`);
  }
  const registries = (list as readonly string[]).map(splitStrategy);
  const seen = new Set<string>();
  for (const { url } of registries) {
    if (seen.has(url)) throw refused("the registry", `${quotedUrl(url)} twice`, "given once");
    seen.add(url);
  }
  return registries;
}

function checkOptions(
  { count, token, timeoutMs = 5_000 }: RaceStoresOptions,
  least: number,
): RaceStoresOptions & { timeoutMs: number } {
  if (!Number.isInteger(count) || count < least || count > MAX_CONTENDERS) {
    const why = least > 1 ? ", at least one contender for each registry" : "";
    throw refused("count", quoted(count), `${least} to ${MAX_CONTENDERS}${why}`);
  }
  if (token !== undefined && typeof token !== "string") {
    throw refused("token", quoted(token), "text, or absent");
  }
  checkMs("timeoutMs", timeoutMs);
  return { count, token, timeoutMs };
}

function dialerOf(
  url: string,
  token: string | undefined,
  timeoutMs: number,
): () => Promise<RaceConnection> {
  if (/^rediss?:/.test(url)) {
    const address = parseRedisUrl(url);
    return async () => {
      const connection = new RedisConnection(address, { timeoutMs, scripts: [CLAIM] });
      try {
        await connection.open();
      } catch (error) {
        connection.close();
        throw error;
      }
      return connection;
    };
  }
  if (/^https?:/.test(url) && URL.canParse(url)) {
    const connection = new RestConnection(new URL(url), token, timeoutMs);
    return async () => {
      await connection.send("PING", []);
      return connection;
    };
  }
  throw refused(
    "the registry",
    quotedUrl(url),
    "one redis://, rediss:// or https:// URL: no other store is raced for by several machines",
  );
}

/** Upstash's REST API: one request for each command. */
class RestConnection implements RaceConnection {
  readonly #url: URL;
  readonly #token: string;
  readonly #timeoutMs: number;

  constructor(url: URL, token: string | undefined, timeoutMs: number) {
    const isLoopback = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
    if (url.protocol === "http:" && !isLoopback) {
      throw refused("the registry", `at ${url.host} by http:`, "https: beyond loopback");
    }
    if (/[@?#]/.test(url.href)) {
      throw refused("the registry's URL", "more than an address", "scheme, host and path alone");
    }
    if (token === undefined) {
      throw refused("ATLAS_REGISTRY_TOKEN", "not set", `the token of ${url.host}`);
    }
    this.#url = url;
    this.#token = token;
    this.#timeoutMs = timeoutMs;
  }

  async send(command: string, args: string[]): Promise<unknown> {
    const { status, body } = await this.#post([command, ...args]);
    if (status === 401) throw new AtlasError("unauthorized", `${this.#name()} refuses the token`);
    if (status === 200 && typeof body === "object" && body !== null && "result" in body) {
      return body.result;
    }
    const why = typeof body === "object" && body !== null && "error" in body ? body.error : "";
    throw unavailable(
      `${this.#name()} answers with status ${status}: ${String(why).slice(0, 200)}`,
    );
  }

  close(): void {}

  async #post(words: string[]): Promise<{ status: number; body: unknown }> {
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers: { authorization: `Bearer ${this.#token}`, "content-type": "application/json" },
        body: JSON.stringify(words),
        redirect: "manual",
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
      const redirect = redirectOf(response, this.#url.href);
      if (redirect !== null) throw new Error(`it ${redirect}, which is not followed`);
      const text = await response.text();
      return { status: response.status, body: text === "" ? null : JSON.parse(text) };
    } catch (error) {
      throw unavailable(`${this.#name()} can't be reached: ${messageOf(error)}`, error);
    }
  }

  #name(): string {
    return `the Redis at ${this.#url.host}`;
  }
}

function raceStore(connection: RaceConnection, master: string): RaceStore {
  return {
    master,
    async get(key) {
      const present = await connection.send("GET", [key]);
      return present === null ? null : String(present);
    },
    async set(key, value) {
      await connection.send("SET", [key, value, "PX", EXPIRES_MS]);
    },
    async claim(key, value) {
      return String(await connection.send("EVAL", [CLAIM, "1", key, value, EXPIRES_MS]));
    },
    async remove(keys) {
      // Deleted one by one, because on a cluster the keys may have different slots.
      await Promise.all(keys.map((key) => connection.send("DEL", [key])));
    },
  };
}
