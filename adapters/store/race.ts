/**
 * Opens a Redis for a race: a starting block for each contender.
 *
 * Takes a registry's URL and how many contend; gives each a line of its own, a connection
 * to `redis://` or `rediss://`, or single requests to `https://` (Upstash's REST API).
 * A claim is one script, as the registry's own is. Keys expire by themselves, should
 * whoever races be killed.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import type { RaceStore } from "../../src/ports/race_store.ts";
import { checkMs, refused, unavailable } from "./check.ts";
import { shownUrl } from "./mask.ts";
import { splitStrategy } from "./optimistic_strategy.ts";
import { parseRedisUrl } from "./redis_client.ts";
import { RedisConnection } from "./redis_connection.ts";

/** How long what a race wrote may stay, in ms: longer than any race. */
const EXPIRES_MS = "900000";

/** Compare-and-set against absence; answers what stands. */
const CLAIM = `
local standing = redis.call('GET', KEYS[1])
if standing then return standing end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`;

export interface RaceStoresOptions {
  /** Lines to open. */
  count: number;
  /** Token of an `https://` registry. */
  token?: string | undefined;
  /** How long one step may take, in ms. Default 5,000. */
  timeoutMs?: number;
}

/** Open lines, and how to close them all. */
export interface RaceStores {
  readonly stores: readonly RaceStore[];
  close(): void;
}

/** Sends one command; a refusal by the server rejects with its text. */
interface Line {
  send(command: string, args: string[]): Promise<unknown>;
  close(): void;
}

/**
 * Opens `count` lines to the registry at `url`.
 *
 * @throws AtlasError `bad_request` where the URL isn't of a kind that can be raced, or the
 * registry refuses its credentials; `unavailable` where it can't be reached.
 */
export async function openRaceStores(url: string, options: RaceStoresOptions): Promise<RaceStores> {
  const { count, token, timeoutMs = 5_000 } = options;
  checkMs("timeoutMs", timeoutMs);
  const dial = dialerOf(splitStrategy(url).url, token, timeoutMs);
  const lines: Line[] = [];
  const close = (): void => lines.forEach((line) => line.close());
  try {
    for (let i = 0; i < count; i++) lines.push(await dial());
  } catch (error) {
    close();
    throw error;
  }
  return { stores: lines.map(raceStore), close };
}

function dialerOf(url: string, token: string | undefined, timeoutMs: number): () => Promise<Line> {
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
    const line = new RestLine(new URL(url), token, timeoutMs);
    return async () => {
      await line.send("PING", []);
      return line;
    };
  }
  throw refused(
    "the registry",
    shownUrl(url),
    "one redis://, rediss:// or https:// URL: no other store is raced for by several machines",
  );
}

/** Upstash's REST API: one request a command. */
class RestLine implements Line {
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
        redirect: "error",
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
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

function raceStore(line: Line): RaceStore {
  return {
    async get(key) {
      const standing = await line.send("GET", [key]);
      return standing === null ? null : String(standing);
    },
    async set(key, value) {
      await line.send("SET", [key, value, "PX", EXPIRES_MS]);
    },
    async claim(key, value) {
      return String(await line.send("EVAL", [CLAIM, "1", key, value, EXPIRES_MS]));
    },
    async remove(keys) {
      // One by one: on a cluster they may have different slots.
      await Promise.all(keys.map((key) => line.send("DEL", [key])));
    },
  };
}
