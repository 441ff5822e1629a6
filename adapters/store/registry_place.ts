/**
 * Where a registry is, in one spelling: a map reference, by which two ways of writing an
 * address are seen to lead to one house.
 *
 * It takes a registry's URL and gives the places where it is kept; two registries that have one
 * in common are one. User, password and query are no part of it. Other names of a host, and
 * what stands behind a proxy, can't be told from a URL: that shows when registries are read
 * (`regional_neighbours.ts`).
 */
import { resolve } from "node:path";
import { withoutTrailing } from "../../src/model/text.ts";

const REDIS = /^rediss?(?:\+(sentinel|cluster))?:\/\/(?:[^/?#]*@)?([^/?#@]*)(?:\/([^?#]*))?/;
const HOST = /^(\[[^\]]*\]|[^:]+)(?::(\d+))?$/;
/** What this machine is called in URLs. */
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** The places of a registry: none where it is this process's own, or `url` can't be read. */
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

/** A host as URLs have it: lower case, addresses in their shortest form. */
function hostOf(text: string): string | null {
  if (!URL.canParse(`http://${text}`)) return null;
  const host = new URL(`http://${text}`).hostname.replace(/\.$/, "");
  return LOCAL.includes(host) ? "localhost" : host;
}

function pathOf(url: string): string {
  const [path = ""] = url.slice("file:".length).split("?");
  return resolve(path.replace(/^\/\/(?=\/)/, ""));
}
