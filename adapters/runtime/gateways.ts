/**
 * The list of other regions' gateways, read like a phone book: region, then number.
 *
 * Takes `ATLAS_GATEWAYS` or what a program gives in its place; gives link addresses by
 * region, or one error that names the entry.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { MAX_GATEWAYS } from "../../src/limits.ts";
import { checkToken } from "../../src/model/rrp.ts";
import { linkAddress } from "../transport/link_address.ts";

/** URLs of gateways by region. */
export type GatewayList = Readonly<Record<string, readonly string[]>>;

/**
 * The gateways that `given`, else `ATLAS_GATEWAYS`, names; none where both are absent.
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
  if (typeof given === "object") {
    return Object.entries(given).flatMap(([region, urls]) =>
      urls.map((url): [string, string] => [region, url])
    );
  }
  return given.split(",").map((part) => part.trim()).filter(Boolean).map((part) => {
    const at = part.indexOf("=");
    if (at > 0) return [part.slice(0, at).trim(), part.slice(at + 1).trim()];
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
