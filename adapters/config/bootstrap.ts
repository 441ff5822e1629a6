/**
 * Parses the setting that says where the first authority is found.
 *
 * Takes `registry`, `static:url,url`, `dns:name:port`, the same as objects, or a function; gives
 * what the core's bootstrap takes, with names resolved by the system, as by `getaddrinfo` (DNS and
 * the machine's host file), and URLs turned into the addresses that nodes publish.
 */
import { lookup } from "node:dns/promises";
import type { Bootstrap, BootstrapNode } from "../../src/api/options.ts";
import { AtlasError, messageOf } from "../../src/errors.ts";
import { checkNodes } from "../../src/lambda/exchange/bootstrap.ts";
import { linkAddress } from "../transport/link_address.ts";

/** Where authorities are found: text as in `ATLAS_BOOTSTRAP`, or one of its kinds. */
export type BootstrapSetting =
  | string
  /** URLs of nodes, as these publish them. */
  | { readonly static: readonly string[] }
  /** A name whose every address is asked at this port, 1 to 65535. */
  | { readonly dns: string; readonly port: number }
  /**
   * Answers URLs, or members of the registry. It is called again every 10 s; if it hasn't answered
   * by then, its signal is aborted first.
   */
  | ((signal: AbortSignal) => Promise<readonly BootstrapNode[]>);

/** A setting that was checked. */
export type CheckedBootstrap = Exclude<BootstrapSetting, string> | "registry";

export const BOOTSTRAP_ALLOWED: string =
  "use registry, static:<url>,<url>… with http:// or https:// URLs of nodes, or " +
  "dns:<name>:<port> with a port from 1 to 65535";

/** A setting in its checked form; null if it isn't allowed. */
export function checkBootstrap(given: BootstrapSetting): CheckedBootstrap | null {
  if (typeof given === "function" || given === "registry") return given;
  const parsed = typeof given === "string" ? parse(given) : given;
  if (typeof parsed !== "object" || parsed === null) return null;
  if ("static" in parsed) {
    const urls = Array.isArray(parsed.static) ? parsed.static : [];
    return urls.length > 0 && urls.every(isNodeUrl) ? { static: urls } : null;
  }
  const { dns, port } = parsed;
  const fits = typeof dns === "string" && /^[A-Za-z0-9._-]{1,253}$/.test(dns) &&
    Number.isInteger(port) && port >= 1 && port <= 65_535;
  return fits ? { dns, port } : null;
}

function parse(text: string): BootstrapSetting | null {
  if (text.startsWith("static:")) {
    return { static: text.slice("static:".length).split(",").map((url) => url.trim()) };
  }
  const [, dns, port] = /^dns:([^:]+):(\d{1,5})$/.exec(text) ?? [];
  return dns === undefined ? null : { dns, port: Number(port) };
}

/** Nodes publish http and https URLs; the form of link addresses is accepted as well. */
function isNodeUrl(text: unknown): boolean {
  if (typeof text !== "string" || !URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^(?:https?|wss?):$/.test(protocol) && username + password + search + hash === "";
}

/**
 * What the core takes, for a node that publishes `publicUrl`.
 *
 * A name's addresses are dialled in the scheme that this node publishes. If that is https, the name
 * itself is dialled and may lead to any of its addresses, because certificates are issued for
 * names.
 */
export function bootstrapOf(checked: CheckedBootstrap, publicUrl: string): Bootstrap {
  if (checked === "registry") return checked;
  if (typeof checked === "function") {
    return async (signal) =>
      checkNodes(await checked(signal)).map((node) =>
        typeof node === "string" ? linkAddress(node) : node
      );
  }
  if ("static" in checked) return { static: checked.static.map(linkAddress) };
  const scheme = new URL(publicUrl).protocol;
  return {
    ...checked,
    resolve: scheme === "https:" ? (name) => Promise.resolve([name]) : addressesOf,
    address: (host, port) =>
      linkAddress(`${scheme}//${host.includes(":") ? `[${host}]` : host}:${port}`),
  };
}

/** All IPv4 and IPv6 addresses of a name. */
async function addressesOf(name: string): Promise<string[]> {
  try {
    const found = await lookup(name, { all: true });
    return [...new Set(found.map(({ address }) => address))];
  } catch (cause) {
    const why = `the name ${name} can't be resolved: ${messageOf(cause)}`;
    throw new AtlasError("unavailable", why, { cause });
  }
}
