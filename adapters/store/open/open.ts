/**
 * Opens a store by its URL, as `ATLAS_REGISTRY_URL` holds it. Gives an open store or one clear
 * error. Adapters are loaded only when they are needed.
 */
import { AtlasError, messageOf } from "../../../src/errors.ts";
import type { NodeEvent } from "../../../src/model/node_event.ts";
import { quoted } from "../../../src/model/options.ts";
import type { Store } from "../../../src/ports/store.ts";
import { refused } from "../check.ts";
import { memoryStore } from "../memory.ts";
import { splitStrategy } from "../optimistic/options.ts";
import { quotedUrl } from "../redact_url.ts";
import type { HomeRules } from "../regional/store.ts";
import { parseRegistries } from "../regional/url.ts";

/** The token of all HTTP Redises, or of each region's. */
export type RegistryTokens = string | Readonly<Record<string, string>>;

export interface OpenStoreOptions {
  /** How long one step on a Redis, and its first connection, may take, in ms. Default 5,000. */
  timeoutMs?: number;
  /**
   * The token of an HTTP Redis. For a registry by region: one token for all regions, or one for
   * each (`ATLAS_REGISTRY_TOKEN`).
   */
  token?: RegistryTokens;
  /** The node's region; needed for a registry by region. */
  region?: string;
  /** The homes of keys, for a registry by region. `default`: the first region. */
  homes?: HomeRules;
  /**
   * Gets events: other regions' registries that can't be opened, and what a store detects by
   * itself. MUST NOT throw.
   */
  onEvent?: (event: NodeEvent) => void;
}

/**
 * Opens the store that `url` names:
 *
 * - `memory:` of this process only, empty;
 * - `file:PATH`, such as `file:.atlas/registry.db`: SQLite, its directory made if need be;
 *   `?synchronous=full` if epochs must survive the loss of power;
 * - `redis://[user:password@]host[:port][/database]`, or `rediss:` for TLS. A Redis that may
 *   evict keys without TTL is refused, unless the URL has `?eviction=allow`;
 * - `https://host`: Upstash's REST API, with `options.token`; `http://` on loopback only;
 * - one of the last two with `?strategy=optimistic&master=a&masters=a,b&bound=500`: the
 *   master `a` of several that copy each other without one write order;
 * - `redis+sentinel://[user:password@]host[:port],…/master[/database]`, or `rediss+sentinel:`:
 *   the master that these sentinels name, wherever it moves;
 * - `redis+cluster://[user:password@]host[:port],…`, or `rediss+cluster:`;
 * - `REGION=URL,REGION=URL`: a registry for each region. The first region is the home of all keys
 *   to which `options.homes` gives no home, so it MUST stay the first. All URLs are checked at
 *   once; whether the others can be reached shows when they are first needed.
 *
 * @throws AtlasError `bad_request` that says what is wrong with the URL, `unauthorized` if an HTTP
 * Redis refuses the token, or `unavailable` if the store can't be reached within about 5 seconds.
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<Store> {
  if (typeof url !== "string") throw refused("registry URL", quoted(url), "text");
  const registries = parseRegistries(url);
  if (registries) return await openRegions(registries, options);
  const scheme = /^([a-z]+(?:\+[a-z]+)?):/.exec(url)?.[1];
  switch (scheme) {
    case "memory":
      if (url !== "memory:" && url !== "memory://") {
        throw refused("registry URL", JSON.stringify(url), "memory: with nothing after it");
      }
      return memoryStore();
    case "file": {
      const { path, synchronous } = parseFileUrl(url);
      const { sqliteStore } = await import("../sqlite/store.ts");
      return await sqliteStore(path, { synchronous });
    }
    case "redis":
    case "rediss": {
      const { redisStore } = await import("./redis.ts");
      const asked = splitStrategy(url);
      return await redisStore(asked.url, { ...options, ...asked.options });
    }
    case "redis+sentinel":
    case "rediss+sentinel":
    case "redis+cluster":
    case "rediss+cluster": {
      const { redisStore } = await import("./redis.ts");
      return await redisStore(url, options);
    }
    case "https":
    case "http": {
      const { upstashStore } = await import("./upstash.ts");
      const { timeoutMs, onEvent } = options;
      const token = tokenOf(options.token) ?? "";
      const asked = splitStrategy(url);
      return await upstashStore({ url: asked.url, token, timeoutMs, onEvent, ...asked.options });
    }
    default:
      throw refused(
        "registry URL",
        quotedUrl(url),
        "memory:, file:PATH, redis://, redis+sentinel://, redis+cluster:// (or rediss…) or " +
          "https://, or REGION=URL,REGION=URL",
      );
  }
}

async function openRegions(
  registries: ReadonlyMap<string, string>,
  options: OpenStoreOptions,
): Promise<Store> {
  const { region: self = "", homes, token, ...others } = options;
  const { onEvent } = others;
  for (const [region, url] of registries) await checkEntry(region, url);
  const [first] = registries.keys();
  const stores = [...registries].map(([region, url]) =>
    [region, () => openStore(url, { ...others, token: tokenOf(token, region) })] as const
  );
  const { regionalStore } = await import("../regional/store.ts");
  return await regionalStore({
    self,
    stores: Object.fromEntries(stores),
    homes: { ...first !== undefined && { default: first }, ...homes },
    ...onEvent && { onEvent },
  });
}

/** Refuses a URL that could never be opened, though it is not needed yet. */
async function checkEntry(region: string, url: string): Promise<void> {
  try {
    if (/^redis/.test(url)) {
      const { parseRedisTarget } = await import("../redis/url.ts");
      parseRedisTarget(splitStrategy(url).url);
    } else if (/^http/.test(url)) {
      const { checkUrl } = await import("./upstash.ts");
      checkUrl(splitStrategy(url).url);
    } else if (/^file:/.test(url)) parseFileUrl(url);
  } catch (cause) {
    throw new AtlasError("bad_request", `region ${region}: ${messageOf(cause)}`, { cause });
  }
}

function tokenOf(token: RegistryTokens | undefined, region: string = ""): string | undefined {
  if (typeof token !== "object" || token === null) return token;
  return Object.hasOwn(token, region) ? token[region] : undefined;
}

/** The path and settings in `file:PATH[?synchronous=normal|full]`; the path is used unchanged. */
function parseFileUrl(url: string): { path: string; synchronous?: "normal" | "full" } {
  const [location = "", ...queries] = url.slice("file:".length).split("?");
  const path = location.replace(/^\/\/(?=\/)/, "");
  if (path === "" || path.startsWith("//")) {
    throw refused("registry URL", JSON.stringify(url), "file:PATH or file:///PATH");
  }
  const query = queries.join("?");
  if (query === "") return { path };
  const synchronous = /^synchronous=(normal|full)$/.exec(query)?.[1];
  if (synchronous) return { path, synchronous: synchronous as "normal" | "full" };
  throw new AtlasError(
    "bad_request",
    `registry URL has ${JSON.stringify(`?${query}`)}, only ?synchronous=normal or full is allowed`,
  );
}
