/**
 * The registry settings of a node: URLs, tokens and homes of keys.
 *
 * Takes the settings of the environment or of a program; gives them checked, or one error that
 * names the variable, and the region if one of several is wrong. Passwords and tokens are never
 * quoted.
 */
import { type App, resolveTypes } from "../../src/api/app.ts";
import { AtlasError, detailOf, isAtlasError, messageOf } from "../../src/errors.ts";
import type { RegistryTokens } from "../store/open/open.ts";
import { redactIn, redactUrl } from "../store/redact_url.ts";
import { type HomeRules, Homes } from "../store/regional/homes.ts";
import { checkHomeRules } from "../store/regional/options.ts";
import { parseRegistries } from "../store/regional/url.ts";
import { isLoopback } from "../transport/link_address.ts";

/** A setting: the name under which it was given, and its text. */
export interface Setting {
  readonly name: string;
  readonly text: string;
}

const DEFAULT_REGISTRY = "file:.atlas/registry.db";
const ALLOWED =
  "use file:<path>, memory:, redis://, redis+sentinel://, redis+cluster:// (or rediss…), " +
  "https:// (http:// on loopback only), or <region>=<URL>,<region>=<URL>";

/** The error of a setting that isn't allowed. */
export function refused({ name, text }: Setting, allowed: string): AtlasError {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text);
  return new AtlasError("bad_request", `${name} is ${shown}: ${allowed}`);
}

/** A registry's URL, or several by region. @throws AtlasError that names the region */
export function registryOf(given: Setting | undefined): string {
  if (!given) return DEFAULT_REGISTRY;
  for (const [region, url] of entriesOf(given)) {
    if (isRegistry(url)) continue;
    const text = redactUrl(url);
    if (region === null) throw refused({ name: given.name, text }, ALLOWED);
    throw refused({ name: `${given.name}'s region ${region}`, text }, ALLOWED);
  }
  return given.text;
}

function entriesOf({ name, text }: Setting): [region: string | null, url: string][] {
  try {
    return [...parseRegistries(text) ?? [[null, text] as const]] as [string | null, string][];
  } catch (cause) {
    throw new AtlasError("bad_request", `${name}: ${messageOf(cause)}`);
  }
}

function isRegistry(url: string): boolean {
  return /^(?:file:.+|memory:(?:\/\/)?|(?:rediss?(?:\+(?:sentinel|cluster))?|https):\/\/.+)$/s.test(
    url,
  ) ||
    /^http:/.test(url) && URL.canParse(url) && isLoopback(new URL(url).hostname);
}

/** Refuses the region of a node for which a registry by region has no entry. */
export function checkRegionListed(region: Setting, registry: string, isGiven: boolean): void {
  const regions = [...parseRegistries(registry)?.keys() ?? []];
  if (regions.length === 0 || regions.includes(region.text)) return;
  const allowed = `use one of ${regions.join(", ")}, the regions of the registry`;
  if (isGiven) throw refused(region, allowed);
  throw new AtlasError("bad_request", `${region.name} is not set: ${allowed}`);
}

/** The homes that a program gives. @throws AtlasError if they name an unknown region */
export function homesOf(registry: string, given: HomeRules | undefined): HomeRules | undefined {
  const regions = [...parseRegistries(registry)?.keys() ?? []];
  if (given === undefined) return undefined;
  checkHomeRules(given);
  if (regions.length > 0) new Homes(regions, given);
  return given;
}

/**
 * The tokens of registries that are reached by HTTP: one for all, or one for each region.
 *
 * @param given `<token>`, or of a registry by region `<region>=<token>,<region>=<token>`
 */
export function registryTokensOf(
  name: string,
  given: RegistryTokens | undefined,
  registry: string,
): RegistryTokens | undefined {
  const urls = parseRegistries(registry);
  const remote = [...urls ?? [["", registry]]].filter(([, url]) => /^https?:/.test(url as string));
  if (given === undefined || given === "") {
    if (remote.length === 0) return undefined;
    throw new AtlasError(
      "bad_request",
      `${name} is not set: a registry at https:// needs the database's REST token`,
    );
  }
  const listed = typeof given === "string" ? listOf(given, urls) : Object.entries(given);
  if (listed === null) return headerText(name, given as string);
  const tokens = tokensOf(name, listed, [...urls?.keys() ?? []]);
  const missing = remote.find(([region]) => !tokens.has(region as string))?.[0];
  if (missing === undefined) return Object.fromEntries(tokens);
  throw new AtlasError(
    "bad_request",
    `${name} has no token for the region ${missing}, whose registry is at https://`,
  );
}

/** Regions and tokens; null if `text` is one token for all. Those may end with `=`. */
function listOf(
  text: string,
  urls: ReadonlyMap<string, string> | null,
): [region: string, token: string][] | null {
  if (!urls) return null;
  const parts = text.split(",").map((part): [string, string] => {
    const at = part.indexOf("=");
    return at < 0 ? ["", part] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
  });
  const isList = parts.some(([region, token]) =>
    urls.has(region) || region !== "" && /^[^=]/.test(token)
  );
  return isList ? parts : null;
}

function tokensOf(
  name: string,
  listed: readonly (readonly [region: string, token: string])[],
  regions: readonly string[],
): Map<string, string> {
  const tokens = new Map<string, string>();
  for (const [region, token] of listed) {
    if (!regions.includes(region)) {
      // The text may be a token, so it isn't quoted.
      throw new AtlasError(
        "bad_request",
        `${name} has an entry without one of the registry's regions: use <region>=<token>,` +
          `<region>=<token> with ${regions.join(", ") || "a registry by region"}, or one token`,
      );
    }
    if (tokens.has(region)) {
      throw new AtlasError("bad_request", `${name} has the region ${region} twice`);
    }
    tokens.set(region, headerText(`${name}'s region ${region}`, token));
  }
  return tokens;
}

/** A token must fit into a header unchanged (RFC 6750 §2.1 allows even fewer characters). */
export function headerText(name: string, token: string): string {
  if (typeof token === "string" && /^[!-~]+$/.test(token)) return token;
  const why = token ? "holds white space or characters beyond ASCII" : "is empty";
  throw new AtlasError("bad_request", `${name} ${why}: use printable ASCII only`);
}

/**
 * An error of the registry, with the name of its variable or option. If there are several
 * registries, it names the one in the error, else the node's own.
 */
export function namingRegistry(
  name: string,
  registry: string,
  region: string,
  cause: unknown,
): AtlasError {
  const registries = parseRegistries(registry);
  const detail = detailOf(cause);
  const [prefix = "", named = region] = /^region ([^:]+): /.exec(detail) ?? [];
  const url = registries?.get(named);
  const urls = registries ? [...registries.values()] : [registry];
  const setting = url === undefined
    ? `${name} is ${redactUrl(registry)}`
    : `${name}'s region ${named} is ${redactUrl(url)}`;
  const why = url === undefined ? detail : detail.slice(prefix.length);
  const code = isAtlasError(cause) ? cause.code : "unavailable";
  return new AtlasError(code, `${setting}: ${redactIn(why, urls)}`, { cause });
}

/**
 * Homes of keys, with those of the types that are placed in a region: the rule of `homes` comes
 * first. If all regions share one registry, keys have no homes, and `homes` is returned unchanged.
 *
 * @throws AtlasError `bad_request` if a type is placed in a region without a registry
 */
export function placedHomes(
  app: App,
  registry: string,
  homes: HomeRules | undefined,
): HomeRules | undefined {
  const regions = [...parseRegistries(registry)?.keys() ?? []];
  if (regions.length === 0) return homes;
  const placed = new Map<string, string>();
  for (const [type, { placement }] of resolveTypes(app)) {
    if (typeof placement !== "object") continue;
    const { region } = placement;
    if (!regions.includes(region)) {
      throw new AtlasError(
        "bad_request",
        `resource type ${type}: placement.region is ${JSON.stringify(region)}, it must be one of ` +
          `${regions.join(", ")}, the regions of ATLAS_REGISTRY_URL`,
      );
    }
    placed.set(type, region);
  }
  if (placed.size === 0) return homes;
  return { ...homes, rule: (type, id) => homes?.rule?.(type, id) ?? placed.get(type) };
}
