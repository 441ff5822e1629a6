/**
 * A node's settings. Takes environment variables and options of a program, which take precedence;
 * gives checked settings, or one error that names the variable (or option), its value and what is
 * allowed. Secrets and passwords are never quoted.
 */
import type { LeaseProfile, LeaseTimes, Role } from "../../src/api/options.ts";
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_ADDRESS } from "../../src/limits.ts";
import { quoted, withoutTrailing } from "../../src/model/options.ts";
import { checkToken } from "../../src/model/rrp.ts";
import type { RegistryTokens } from "../store/open/open.ts";
import { redactUrl } from "../store/redact_url.ts";
import { isLoopback, linkAddress } from "../transport/link_address.ts";
import {
  BOOTSTRAP_ALLOWED,
  type BootstrapSetting,
  checkBootstrap,
  type CheckedBootstrap,
} from "./bootstrap.ts";
import { readGateways } from "./gateways.ts";
import { hostMachine, hostRegion, hostUrl } from "./host_variables.ts";
import {
  checkRegionListed,
  headerText,
  refused,
  registryOf,
  registryTokensOf,
  type Setting,
} from "./registry_setting.ts";

/** How much is logged; `silent`: nothing. */
export type LogLevel = "debug" | "info" | "warning" | "error" | "silent";

/** Settings whose values may hold secrets. */
const SECRET_SETTINGS: readonly PlainSetting[] = ["registry", "publicUrl", "secret", "token"];

/** The settings of a program; absent ones come from the environment. */
export interface Settings {
  /** `ATLAS_REGION`; default what the container host says, else `local`. */
  region?: string;
  /** `ATLAS_NODE`; default `atlas@<machine>-<port>`. */
  node?: string;
  /**
   * `ATLAS_REGISTRY_URL`; `file:`, `memory:`, `redis://`, `redis+sentinel://`, `redis+cluster://`
   * (or `rediss…` for TLS), or `https://` (Upstash; `http://` on loopback only), or one for each
   * region: `us-east-1=redis://…,eu-west-1=…`, the first of which keeps the keys that have no other
   * home. Default `file:.atlas/registry.db`.
   */
  registry?: string;
  /**
   * `ATLAS_REGISTRY_TOKEN`; the REST token of a registry at `https://`, which needs one. If there
   * are several by region: one for all, or `us-east-1=<token>,eu-west-1=<token>`.
   */
  registryToken?: RegistryTokens;
  /** `ATLAS_HOST`; the address to listen on. Default `127.0.0.1`. */
  host?: string;
  /** `PORT`; 0: any free one. Default 8080. */
  port?: number;
  /**
   * `ATLAS_PUBLIC_URL`; the URL at which others reach this node. Default: as the container host
   * says, else derived from host and port.
   */
  publicUrl?: string;
  /**
   * `ATLAS_SECRET`; shared by all nodes, `current,previous` while it is changed. Beyond loopback
   * at least 32 bytes. With a token and no secret node links are refused.
   */
  secret?: string;
  /**
   * `ATLAS_TOKEN`; callers of the HTTP API need it. Without one, requests whose `Host` is neither
   * loopback, the public URL's nor in `origins` are refused.
   */
  token?: string;
  /** `ATLAS_LEASE`; `standard`, `fast`, `frugal` or the two times. */
  lease?: LeaseProfile | LeaseTimes;
  /** `ATLAS_ROLE`; default `authority` if no bootstrap is given, else `worker`. */
  role?: Role;
  /** `ATLAS_BOOTSTRAP`; where authorities are found. Default `registry`. */
  bootstrap?: BootstrapSetting;
  /**
   * `ATLAS_WATCH`; reloads the app's modules when its file changes, or one that this imports inside
   * its folder. A path or file URL of the app's file; true: the file that `ATLAS_APP` names.
   */
  watch?: boolean | string | URL;
  /**
   * `ATLAS_GATEWAYS`; by region, URLs of nodes there that pass calls on to nodes that can't be
   * dialled from here: `eu-west-1=https://a,https://b,us-east-1=…`. Default none.
   */
  gateways?: string | Readonly<Record<string, readonly string[]>>;
  /**
   * `ATLAS_ORIGINS`; origins whose pages may call this node and connect to it from a browser:
   * `https://app.example,http://localhost:5173`, or `*` for all. Default: only its own origin.
   * Requests from pages of other origins are refused, unless they carry the token.
   */
  origins?: string | readonly string[];
  /**
   * `ATLAS_ADDRESSES`; further URLs by which peers dial this node, besides its public URL and the
   * address on which it listens: those that its peers' settings for gateways, bootstrap or DNS
   * name. A link that was dialled by any other URL is refused. At most 64. Default none.
   */
  addresses?: string | readonly string[];
}

/** The settings, all checked. An undefined one is derived once the port is bound. */
export interface CheckedSettings {
  readonly region: string;
  readonly node: string | undefined;
  /** The machine's name at its host; undefined if that gives none. */
  readonly machine: string | undefined;
  readonly registry: string;
  readonly registryToken: RegistryTokens | undefined;
  readonly host: string;
  readonly port: number;
  readonly publicUrl: string | undefined;
  /** The present secret first, then the former one; empty: none. */
  readonly secrets: readonly string[];
  readonly token: string | undefined;
  readonly lease: LeaseProfile | LeaseTimes;
  readonly role: Role | undefined;
  readonly bootstrap: CheckedBootstrap | undefined;
  readonly watch: boolean | string;
  /** Link addresses by region. */
  readonly gateways: Readonly<Record<string, readonly string[]>>;
  /** Origins of pages that may call and connect; `*` alone: all. */
  readonly origins: readonly string[];
  /** Further link addresses by which peers dial this node. */
  readonly addresses: readonly string[];
}

export type Environment = { readonly [name: string]: string | undefined };

/** Shortest secret that lets a node listen beyond loopback, in UTF-8 bytes (docs/security.md). */
const MIN_SECRET_BYTES = 32;
/** Longest public URL, in characters: links are dialled at it, with a path behind it. */
const MAX_URL = 1_000;
const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error", "silent"];
const ROLES: readonly Role[] = ["authority", "worker"];
const LEASE = "standard, fast, frugal or heartbeatMs/leaseMs";
const LEASES: readonly LeaseProfile[] = ["standard", "fast", "frugal"];

/**
 * The settings of a node: `given` first, then the environment, then the defaults. A
 * variable that is set to nothing counts as not set.
 *
 * @throws AtlasError `bad_request`, naming the first line that isn't allowed.
 */
export function readSettings(env: Environment, given: Settings = {}): CheckedSettings {
  const pick = (option: PlainSetting, variable: string): Setting | undefined => {
    const value = given[option];
    if (value !== undefined) return { name: option, text: textOf(option, value) };
    return line(env, variable);
  };
  const host = hostOf(pick("host", "ATLAS_HOST"));
  const port = portOf(pick("port", "PORT"));
  const registry = registryOf(pick("registry", "ATLAS_REGISTRY_URL"));
  return {
    region: regionOf(pick("region", "ATLAS_REGION") ?? hostRegion(env), registry),
    node: token("node", pick("node", "ATLAS_NODE")),
    machine: hostMachine(env),
    registry,
    registryToken: registryTokens(env, given.registryToken, registry),
    host,
    port,
    publicUrl: publicUrlOf(pick("publicUrl", "ATLAS_PUBLIC_URL")) ?? hostUrl(env, host, port),
    secrets: secretsOf(pick("secret", "ATLAS_SECRET") ?? blank(env, "ATLAS_SECRET"), host),
    token: bearerOf(pick("token", "ATLAS_TOKEN") ?? blank(env, "ATLAS_TOKEN")),
    lease: leaseOf(pick("lease", "ATLAS_LEASE")),
    role: roleOf(pick("role", "ATLAS_ROLE")),
    bootstrap: bootstrapOf(given.bootstrap, line(env, "ATLAS_BOOTSTRAP")),
    watch: watchOf(given.watch, line(env, "ATLAS_WATCH")),
    gateways: readGateways(env, given.gateways),
    origins: readOrigins(env, given.origins),
    addresses: readAddresses(env, given.addresses),
  };
}

/** `ATLAS_LOG`; default `info`. */
export function readLogLevel(env: Environment): LogLevel {
  const given = line(env, "ATLAS_LOG");
  if (!given) return "info";
  const found = LOG_LEVELS.find((level) => level === given.text);
  if (found) return found;
  throw refused(given, `use ${LOG_LEVELS.join(", ")}`);
}

/** `ATLAS_APP`; undefined: the example. */
export function readAppPath(env: Environment): string | undefined {
  return line(env, "ATLAS_APP")?.text;
}

type PlainSetting = Exclude<
  keyof Settings,
  "addresses" | "bootstrap" | "gateways" | "origins" | "registryToken" | "watch"
>;

function line(env: Environment, name: string): Setting | undefined {
  const text = env[name]?.trim();
  return text ? { name, text } : undefined;
}

/** Refuses a token or secret of white space only, because it would turn the check off. */
function blank(env: Environment, name: string): Setting | undefined {
  return env[name] ? { name, text: "" } : undefined;
}

function textOf(option: PlainSetting, value: unknown): string {
  if (typeof value === "string") return value;
  if (option === "port" && typeof value === "number") return String(value);
  if (option === "lease" && typeof value === "object" && value !== null && "heartbeatMs" in value) {
    const { heartbeatMs, leaseMs } = value as LeaseTimes;
    return `${heartbeatMs}/${leaseMs}`;
  }
  const allowed = option === "port" ? "a number" : option === "lease" ? LEASE : "text";
  // The value is quoted, unless the setting may hold secrets.
  const shown = SECRET_SETTINGS.includes(option) ? `of type ${typeof value}` : quoted(value);
  throw new AtlasError("bad_request", `${option} is ${shown}, it must be ${allowed}`);
}

function token(part: string, given: Setting | undefined): string | undefined {
  if (!given) return undefined;
  try {
    return checkToken(part, given.text);
  } catch (cause) {
    throw refused(given, messageOf(cause));
  }
}

function regionOf(given: Setting | undefined, registry: string): string {
  const region = token("region", given) ?? "local";
  checkRegionListed(given ?? { name: "ATLAS_REGION", text: region }, registry, given !== undefined);
  return region;
}

function registryTokens(
  env: Environment,
  given: RegistryTokens | undefined,
  registry: string,
): RegistryTokens | undefined {
  if (given !== undefined) return registryTokensOf("registryToken", given, registry);
  const variable = "ATLAS_REGISTRY_TOKEN";
  return registryTokensOf(variable, line(env, variable)?.text, registry);
}

function hostOf(given: Setting | undefined): string {
  if (!given) return "127.0.0.1";
  const host = given.text.replace(/^\[(.*)\]$/, "$1");
  if (/^[A-Za-z0-9.\-_:%]+$/.test(host)) return host;
  throw refused(given, "use a host name or an IP address");
}

function portOf(given: Setting | undefined): number {
  if (!given) return 8080;
  const port = /^\d{1,5}$/.test(given.text) ? Number(given.text) : -1;
  if (port >= 0 && port <= 65_535) return port;
  throw refused(given, "use 0 (any free port) to 65535");
}

function bearerOf(given: Setting | undefined): string | undefined {
  return given && headerText(given.name, given.text);
}

function publicUrlOf(given: Setting | undefined): string | undefined {
  if (!given) return undefined;
  const url = URL.canParse(given.text) ? new URL(given.text) : null;
  if (
    url && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "" &&
    url.username === "" && url.password === "" && url.href.length <= MAX_URL
  ) return url.origin + withoutTrailing(url.pathname, "/");
  const shown = { name: given.name, text: redactUrl(given.text) };
  const allowed = "use http:// or https:// with a host, without user name, query or fragment";
  throw refused(shown, `${allowed}, of ${MAX_URL} characters at most`);
}

function secretsOf(given: Setting | undefined, host: string): string[] {
  const secrets = given?.text.split(",").map((part) => part.trim()) ?? [];
  const name = given?.name ?? "ATLAS_SECRET";
  if (secrets.length > 2 || secrets.includes("")) {
    throw new AtlasError("bad_request", `${name} must be one secret, or two as "current,previous"`);
  }
  if (isLoopback(host)) return secrets;
  const shortest = Math.min(...secrets.map((secret) => new TextEncoder().encode(secret).length));
  if (secrets.length > 0 && shortest >= MIN_SECRET_BYTES) return secrets;
  throw new AtlasError(
    "bad_request",
    `${name} ${given ? `has a secret of ${shortest} bytes` : "is not set"}: to listen beyond ` +
      `loopback (on ${host}) a node needs one of at least ${MIN_SECRET_BYTES} bytes`,
  );
}

function leaseOf(given: Setting | undefined): LeaseProfile | LeaseTimes {
  if (!given) return "standard";
  const profile = LEASES.find((name) => name === given.text);
  if (profile) return profile;
  const [, heartbeat, lease] = /^(\d{1,7})\/(\d{1,7})$/.exec(given.text) ?? [];
  const times = { heartbeatMs: Number(heartbeat), leaseMs: Number(lease) };
  if (times.heartbeatMs >= 50 && times.leaseMs >= 2 * times.heartbeatMs) return times;
  throw refused(
    given,
    `use ${LEASE}, with a heartbeat of at least 50 and a lease of at least twice that`,
  );
}

function roleOf(given: Setting | undefined): Role | undefined {
  const role = ROLES.find((name) => name === given?.text);
  if (role || !given) return role;
  throw refused(given, "use authority or worker");
}

function bootstrapOf(
  given: BootstrapSetting | undefined,
  variable: Setting | undefined,
): CheckedBootstrap | undefined {
  const setting = given ?? variable?.text;
  if (setting === undefined) return undefined;
  const checked = checkBootstrap(setting);
  if (checked !== null) return checked;
  const name = given === undefined ? "ATLAS_BOOTSTRAP" : "bootstrap";
  const text = typeof setting === "string"
    ? redactUrl(setting)
    : redactUrl(JSON.stringify(setting));
  throw refused({ name, text }, BOOTSTRAP_ALLOWED);
}

function watchOf(given: Settings["watch"], variable: Setting | undefined): boolean | string {
  if (typeof given === "boolean") return given;
  if (given instanceof URL ? given.protocol === "file:" : typeof given === "string" && given) {
    return String(given);
  }
  if (given !== undefined) {
    const allowed = "use true, false, or the path or file URL of the app's file";
    throw new AtlasError("bad_request", `watch is ${quoted(given)}: ${allowed}`);
  }
  if (!variable || variable.text === "0" || variable.text === "false") return false;
  if (variable.text === "1" || variable.text === "true") return true;
  throw refused(variable, "use 1 or 0");
}

/** Means all origins; allowed only as the single entry. */
const ALL = "*";
const ORIGINS_ALLOWED =
  "use origins as browsers write them, such as https://app.example, or * alone for all";

/**
 * The origins that `given`, else `ATLAS_ORIGINS`, names; none if both are absent.
 *
 * @throws AtlasError `bad_request`, naming the entry that isn't allowed.
 */
export function readOrigins(
  env: Environment,
  given: string | readonly string[] | undefined,
): readonly string[] {
  const name = given === undefined ? "ATLAS_ORIGINS" : "origins";
  const list = entriesOf(given === undefined ? env["ATLAS_ORIGINS"] ?? "" : given);
  if (list === null) {
    throw new AtlasError("bad_request", `${name} is ${quoted(given)}: ${ORIGINS_ALLOWED}`);
  }
  const origins = [...new Set(list)];
  const wrong = origins.find((it) => it === ALL ? origins.length > 1 : !isOrigin(it));
  if (wrong === undefined) return origins as readonly string[];
  const shown = quoted(typeof wrong === "string" ? redactUrl(wrong) : wrong);
  throw new AtlasError("bad_request", `${name} has the entry ${shown}: ${ORIGINS_ALLOWED}`);
}

function isOrigin(text: unknown): boolean {
  return typeof text === "string" && /^https?:/.test(text) && URL.canParse(text) &&
    new URL(text).origin === text;
}

/** Addresses that one node may have besides its public URL. */
export const MAX_ADDRESSES = 64;
const ADDRESSES_ALLOWED = "use <URL>,<URL>… with http, https, ws or wss, as peers dial this node";

/**
 * The link addresses that `given`, else `ATLAS_ADDRESSES`, names; none if both are absent.
 *
 * @throws AtlasError `bad_request`, naming the entry that isn't allowed.
 */
export function readAddresses(
  env: Environment,
  given: string | readonly string[] | undefined,
): readonly string[] {
  const name = given === undefined ? "ATLAS_ADDRESSES" : "addresses";
  const entries = entriesOf(given ?? env["ATLAS_ADDRESSES"] ?? "");
  if (entries === null) {
    throw new AtlasError("bad_request", `${name} is ${quoted(given)}: ${ADDRESSES_ALLOWED}`);
  }
  const addresses = [...new Set(entries.map((entry) => addressOf(name, entry)))];
  if (addresses.length <= MAX_ADDRESSES) return addresses;
  throw new AtlasError("bad_request", `${name} names more than ${MAX_ADDRESSES} addresses`);
}

function addressOf(name: string, entry: unknown): string {
  const shown = quoted(typeof entry === "string" ? redactUrl(entry) : entry);
  const wrong = (why: string): AtlasError =>
    new AtlasError("bad_request", `${name} has the entry ${shown} (${why}): ${ADDRESSES_ALLOWED}`);
  if (typeof entry !== "string") throw wrong("it is not text");
  const url = URL.canParse(entry) ? new URL(entry) : null;
  if (url && `${url.username}${url.password}${url.search}${url.hash}` !== "") {
    throw wrong("it has a user name, password, query or fragment");
  }
  if (url?.port === "0") throw wrong("its port is not 1 to 65535");
  try {
    return linkAddress(entry);
  } catch {
    const what = `an http, https, ws or wss URL of at most ${MAX_ADDRESS} characters`;
    throw wrong(url ? `it is not ${what}` : "it is not a URL");
  }
}

/** The entries of a list: text with commas between them, or a list; null if it is neither. */
function entriesOf(given: string | readonly string[]): readonly unknown[] | null {
  if (typeof given !== "string") return Array.isArray(given) ? given : null;
  return given.split(",").map((part) => part.trim()).filter(Boolean);
}
