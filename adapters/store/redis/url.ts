/**
 * Parses the URL of a Redis registry: `redis://`, `redis+sentinel://` or `redis+cluster://` (each
 * also `rediss…` for TLS). Gives a target to connect to, or one error that never shows a password.
 */
import { refused } from "../check.ts";
import { quotedUrl } from "../redact_url.ts";
import {
  checkLogin,
  decodePart,
  parseRedisQuery,
  parseRedisUrl,
  type RedisAddress,
} from "./client.ts";

/** Credentials and TLS settings of any server. */
export type RedisLogin = Omit<RedisAddress, "host" | "port" | "replicas" | "eviction">;

/** Settings of any target. */
interface TargetSettings {
  /** The number of replicas that must have a write before it counts. */
  readonly replicas: number;
  /** Whether servers may evict keys that have no TTL. */
  readonly eviction: "allow" | undefined;
}

/** A master that sentinels watch, and the sentinels' addresses. */
export interface SentinelTarget extends TargetSettings {
  readonly kind: "sentinel";
  readonly sentinels: readonly RedisAddress[];
  /** The name by which the sentinels know the master. */
  readonly master: string;
  readonly login: RedisLogin;
}

/** A cluster, and some of its nodes, which know the others. */
export interface ClusterTarget extends TargetSettings {
  readonly kind: "cluster";
  readonly seeds: readonly RedisAddress[];
}

/** One server. */
export interface SingleTarget extends TargetSettings {
  readonly kind: "single";
  readonly address: RedisAddress;
}

export type RedisTarget = SingleTarget | SentinelTarget | ClusterTarget;

/** The largest number of sentinels, or of a cluster's first nodes, that one URL may name. */
const MAX_HOSTS = 32;

const URL_PARTS =
  /^(rediss?)\+(sentinel|cluster):\/\/(?:([^@/?#]*)@)?([^@/?#]*)(\/[^?#]*)?(\?[^#]*)?$/;
const HOST = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/;

/**
 * Reads one of
 *
 * - `redis://[user[:password]@]host[:port][/database]`
 * - `redis+sentinel://[user[:password]@]host[:port],…/master[/database]`, the port of a
 *   sentinel being 26379 by default; user and password are the master's, those of the
 *   sentinels are given by `?sentinelUsername=…&sentinelPassword=…`
 * - `redis+cluster://[user[:password]@]host[:port],…`
 *
 * each with `?replicas=N` and `eviction=allow` if need be, or the same with `rediss` for TLS to all
 * of them.
 *
 * @throws AtlasError `bad_request`, naming the part that is wrong.
 */
export function parseRedisTarget(text: string): RedisTarget {
  if (!/^rediss?\+/.test(text)) {
    const address = parseRedisUrl(text);
    const { replicas = 0, eviction } = address;
    return { kind: "single", replicas, eviction, address };
  }
  checkLogin(text);
  const parts = URL_PARTS.exec(text);
  if (!parts) {
    throw refused(
      "Redis URL",
      quotedUrl(text),
      "redis+sentinel://[user:password@]host[:port],host[:port]/master[/database] or " +
        "redis+cluster://[user:password@]host[:port],host[:port]",
    );
  }
  const [, scheme, kind, login, hosts = "", path = "", query = ""] = parts;
  const { username, password } = parseLogin(login ?? "");
  const tls = scheme === "rediss";
  if (kind === "sentinel") {
    return parseSentinel(hosts, path, query, { username, password, tls });
  }
  if (path !== "" && path !== "/" && path !== "/0") {
    throw refused("Redis URL database", path, "left out: a cluster has no database but 0");
  }
  const { replicas, eviction } = parseRedisQuery(query);
  const address = { username, password, tls, database: 0 };
  return {
    kind: "cluster",
    replicas,
    eviction,
    seeds: parseHosts(hosts, 6379).map((at) => ({ ...at, ...address })),
  };
}

function parseSentinel(
  hosts: string,
  path: string,
  query: string,
  login: Pick<RedisLogin, "username" | "password" | "tls">,
): SentinelTarget {
  const [, name = "", database = "0", ...more] = path.split("/");
  const master = decodePart("master", name);
  if (master === "" || /\s/.test(master)) {
    throw refused(
      "Redis URL master",
      JSON.stringify(master),
      "the name by which the sentinels know it, such as /mymaster",
    );
  }
  if (!/^\d{1,5}$/.test(database) || more.length > 0) {
    throw refused("Redis URL database", path, "a number after the master, such as /mymaster/0");
  }
  const { replicas, eviction, others } = parseRedisQuery(query, [
    "sentinelUsername",
    "sentinelPassword",
  ]);
  const ask = {
    username: others.get("sentinelUsername") ?? "",
    password: others.get("sentinelPassword") ?? "",
    database: 0,
    tls: login.tls,
  };
  return {
    kind: "sentinel",
    replicas,
    eviction,
    sentinels: parseHosts(hosts, 26379).map((at) => ({ ...at, ...ask })),
    master,
    login: { ...login, database: Number(database) },
  };
}

function parseLogin(text: string): { username: string; password: string } {
  const [username = "", ...password] = text.split(":");
  return {
    username: decodePart("user", username),
    password: decodePart("password", password.join(":")),
  };
}

function parseHosts(text: string, defaultPort: number): { host: string; port: number }[] {
  const hosts = text.split(",").map((item) => parseHost(item.trim(), defaultPort));
  if (hosts.length <= MAX_HOSTS) return hosts;
  throw refused("Redis URL hosts", `${hosts.length} in number`, `at most ${MAX_HOSTS}`);
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const parts = HOST.exec(text);
  const port = Number(parts?.[3] ?? defaultPort);
  if (!parts || port < 1 || port > 65_535) {
    throw refused("Redis URL host", JSON.stringify(text), "host or host:port, parted by commas");
  }
  return { host: (parts[1] ?? parts[2]) as string, port };
}
