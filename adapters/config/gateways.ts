/**
 * Parses the gateways of other regions. Takes `ATLAS_GATEWAYS` or the option in its place; gives
 * link addresses by region, or one error that names the entry.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_GATEWAYS } from "../../src/limits.ts";
import { quoted } from "../../src/model/options.ts";
import { checkToken } from "../../src/model/rrp.ts";
import { linkAddress } from "../transport/link_address.ts";

const ALLOWED = '{ <region>: [<URL>, …] } or "<region>=<URL>,…"';

/** URLs of gateways by region. */
export type GatewayList = Readonly<Record<string, readonly string[]>>;

/**
 * The gateways that `given`, else `ATLAS_GATEWAYS`, names; none if both are absent.
 *
 * @throws AtlasError `bad_request`, naming the entry that isn't allowed.
 */
export function readGateways(
  env: { readonly [name: string]: string | undefined },
  given: string | GatewayList | undefined,
): Record<string, string[]> {
  const name = given === undefined ? "ATLAS_GATEWAYS" : "gateways";
  const list: Record<string, string[]> = {};
  for (const [region, url] of entriesOf(name, given ?? env["ATLAS_GATEWAYS"] ?? "")) {
    const shown = `${region}=${url}`;
    const address = checked(name, shown, () => {
      checkToken("region", region);
      return addressOf(url);
    });
    const addresses = (list[region] ??= []);
    if (!addresses.includes(address)) addresses.push(address);
    if (addresses.length > MAX_GATEWAYS) {
      const message = `${name} names more than ${MAX_GATEWAYS} gateways of region ${region}`;
      throw new AtlasError("bad_request", message);
    }
  }
  return list;
}

function entriesOf(name: string, given: string | GatewayList): [region: string, url: string][] {
  if (typeof given === "string") return listed(name, given);
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new AtlasError("bad_request", `${name} is ${quoted(given)}, it must be ${ALLOWED}`);
  }
  return Object.entries(given).flatMap(([region, urls]) => {
    if (Array.isArray(urls) && urls.every((url) => typeof url === "string")) {
      return urls.map((url): [string, string] => [region, url]);
    }
    throw new AtlasError(
      "bad_request",
      `${name}.${region} is ${quoted(urls)}, it must be a list of URLs`,
    );
  });
}

/**
 * What `<region>=<URL>,<URL>,…` names: a URL without a region is a further gateway of the region
 * before it.
 */
function listed(name: string, given: string): [region: string, url: string][] {
  let region = "";
  return given.split(",").map((part) => part.trim()).filter(Boolean).map((part) => {
    const [, named, url] = /^([^=/:]+)=(.*)$/s.exec(part) ?? [];
    region = named?.trim() ?? region;
    if (region !== "") return [region, url?.trim() ?? part];
    throw refused(name, part, "it needs a region and a URL");
  });
}

function addressOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const hasMore = parsed !== null &&
    `${parsed.username}${parsed.password}${parsed.search}${parsed.hash}` !== "";
  if (hasMore) throw new AtlasError("bad_request", "a user name, password, query or fragment");
  return linkAddress(url);
}

function checked<T>(name: string, shown: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw refused(name, shown, messageOf(cause));
  }
}

function refused(name: string, text: string, why: string): AtlasError {
  const shown = JSON.stringify(text.replace(/\/\/[^/?#]*@/, "//***@").slice(0, 80));
  return new AtlasError(
    "bad_request",
    `${name} has the entry ${shown} (${why}): use <region>=<URL of a node there>, http or https`,
  );
}
