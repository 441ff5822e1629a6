/**
 * Parses further addresses by which peers may dial a node besides its public URL. Takes
 * `ATLAS_ADDRESSES` or the option in its place; gives link addresses, or one error that names the
 * entry.
 */
import { AtlasError } from "../../src/errors.ts";
import { MAX_ADDRESS } from "../../src/limits.ts";
import { quoted } from "../../src/model/options.ts";
import { redactUrl } from "../store/redact_url.ts";
import { linkAddress } from "../transport/link_address.ts";

/** Addresses that one node may have besides its public URL. */
export const MAX_ADDRESSES = 64;
const ALLOWED = "use <URL>,<URL>… with http, https, ws or wss, as peers dial this node";

/**
 * The link addresses that `given`, else `ATLAS_ADDRESSES`, names; none where both are absent.
 *
 * @throws AtlasError `bad_request`, naming the entry that isn't allowed.
 */
export function readAddresses(
  env: { readonly [name: string]: string | undefined },
  given: string | readonly string[] | undefined,
): readonly string[] {
  const name = given === undefined ? "ATLAS_ADDRESSES" : "addresses";
  const entries = entriesOf(given ?? env["ATLAS_ADDRESSES"] ?? "");
  if (entries === null) {
    throw new AtlasError("bad_request", `${name} is ${quoted(given)}: ${ALLOWED}`);
  }
  const addresses = [...new Set(entries.map((entry) => addressOf(name, entry)))];
  if (addresses.length <= MAX_ADDRESSES) return addresses;
  throw new AtlasError("bad_request", `${name} names more than ${MAX_ADDRESSES} addresses`);
}

function entriesOf(given: unknown): readonly unknown[] | null {
  if (typeof given !== "string") return Array.isArray(given) ? given : null;
  return given.split(",").map((part) => part.trim()).filter(Boolean);
}

function addressOf(name: string, entry: unknown): string {
  const shown = quoted(typeof entry === "string" ? redactUrl(entry) : entry);
  const refused = (why: string): AtlasError =>
    new AtlasError("bad_request", `${name} has the entry ${shown} (${why}): ${ALLOWED}`);
  if (typeof entry !== "string") throw refused("it is not text");
  const url = URL.canParse(entry) ? new URL(entry) : null;
  if (url && `${url.username}${url.password}${url.search}${url.hash}` !== "") {
    throw refused("it has a user name, password, query or fragment");
  }
  if (url?.port === "0") throw refused("its port is not 1 to 65535");
  try {
    return linkAddress(entry);
  } catch {
    const what = `an http, https, ws or wss URL of at most ${MAX_ADDRESS} characters`;
    throw refused(url ? `it is not ${what}` : "it is not a URL");
  }
}
