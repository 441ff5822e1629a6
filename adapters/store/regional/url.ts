/**
 * Parses a registry by region, `us-east-1=redis://…,eu-west-1=https://…`, into regions and URLs.
 * The first region is the home of every key that has no other home.
 */
import { resolve } from "node:path";
import { AtlasError, messageOf } from "../../../src/errors.ts";
import { withoutTrailing } from "../../../src/model/options.ts";
import { redactUrl } from "../redact_url.ts";
import { checkRegion } from "./options.ts";

/** A region before a URL, at the beginning or after a comma. A URL itself may hold commas. */
const ENTRY = /(?:^|,)\s*([^\s,=/?#]+)=(?=[a-z]+(?:\+[a-z]+)?:)/g;

/**
 * A registry's URLs by region, in their order; null if `text` is a single URL.
 *
 * @throws AtlasError `bad_request` that names the region that isn't allowed or appears twice, or
 * both regions that share one registry.
 */
export function parseRegistries(text: string): ReadonlyMap<string, string> | null {
  const found = [...text.matchAll(ENTRY)];
  if (found[0]?.index !== 0) return null;
  const registries = new Map<string, string>();
  found.forEach((entry, i) => {
    const region = checked(entry[1] as string);
    if (registries.has(region)) throw refused(region, "it stands there twice");
    const end = found[i + 1]?.index ?? text.length;
    registries.set(region, text.slice(entry.index + entry[0].length, end).trim());
  });
  checkApart(registries);
  return registries;
}

/**
 * Refuses one registry for two regions: moving a key between them would copy its state onto itself.
 */
function checkApart(registries: ReadonlyMap<string, string>): void {
  const owners = new Map<string, string>();
  for (const [region, url] of registries) {
    const places = placesOf(url);
    const other = places.map((place) => owners.get(place)).find((it) => it !== undefined);
    if (other !== undefined) {
      const both = `${other}=${redactUrl(registries.get(other) as string)}, ${region}=${
        redactUrl(url)
      }`;
      throw new AtlasError(
        "bad_request",
        `registry URL has one registry for the regions ${other} and ${region} (${both}): each ` +
          "region needs a registry of its own",
      );
    }
    for (const place of places) owners.set(place, region);
  }
}

function checked(region: string): string {
  try {
    checkRegion(region);
    return region;
  } catch (cause) {
    throw refused(region, messageOf(cause));
  }
}

function refused(region: string, why: string): AtlasError {
  return new AtlasError(
    "bad_request",
    `registry URL has the region ${JSON.stringify(region)} (${why}): use ` +
      "<region>=<URL>,<region>=<URL>, each region once",
  );
}

const REDIS = /^rediss?(?:\+(sentinel|cluster))?:\/\/(?:[^/?#]*@)?([^/?#@]*)(?:\/([^?#]*))?/;
const HOST = /^(\[[^\]]*\]|[^:]+)(?::(\d+))?$/;
/** Names of this machine in URLs. */
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** The addresses of a registry: none for a registry in memory, or if `url` can't be read. */
export function placesOf(url: string): string[] {
  if (url.startsWith("file:")) return [`file ${pathOf(url)}`];
  if (/^https?:/.test(url)) return httpPlace(url);
  const parts = REDIS.exec(url);
  if (!parts) return [];
  const [, kind, hosts = "", path = ""] = parts;
  const isSentinel = kind === "sentinel";
  const data = isSentinel ? /^([^/]+)(?:\/(\d+))?$/.exec(path) : /^()(\d*)$/.exec(path);
  if (!data) return [];
  const [, master = "", database] = data;
  const behind = `${isSentinel ? `/${master}` : ""}/${Number(database ?? 0)}`;
  return hosts.split(",").flatMap((text) => {
    const [, host, port = isSentinel ? "26379" : "6379"] = HOST.exec(text.trim()) ?? [];
    const name = host === undefined ? null : hostOf(host);
    return name === null ? [] : [`redis ${name}:${Number(port)}${behind}`];
  });
}

function httpPlace(text: string): string[] {
  if (!URL.canParse(text)) return [];
  const { protocol, hostname, port, pathname } = new URL(text);
  const at = port === "" ? protocol === "https:" ? "443" : "80" : port;
  return [`http ${hostOf(hostname)}:${at}${withoutTrailing(pathname, "/")}`];
}

/** A host in normal form: lower case, addresses in their shortest form. */
function hostOf(text: string): string | null {
  if (!URL.canParse(`http://${text}`)) return null;
  const host = new URL(`http://${text}`).hostname.replace(/\.$/, "");
  return LOCAL.includes(host) ? "localhost" : host;
}

function pathOf(url: string): string {
  const [path = ""] = url.slice("file:".length).split("?");
  return resolve(path.replace(/^\/\/(?=\/)/, ""));
}
