/**
 * Decides which addresses may be dialled for links. Addresses come from the store, so they are
 * untrusted data: an address of a cloud's metadata service would be a security hole.
 *
 * Takes an address; gives it in normal form, or an error that says why it isn't dialled. A host
 * name is judged as written, not by what it resolves to.
 *
 * Source: `docs/design.md`, Links and messages; RFC 3927 and RFC 4291 §2.5.6 (link-local).
 */
import { AtlasError } from "../../src/errors.ts";
import { MAX_ADDRESS } from "../../src/limits.ts";
import { quoted, withoutTrailing } from "../../src/model/options.ts";

/** The path at which a node's server accepts links. */
export const LINK_PATH = "/atlas/link";

/** Metadata services that are not link-local: Google's names, Alibaba, Oracle, AWS over IPv6. */
const METADATA_HOSTS: ReadonlySet<string> = new Set([
  "metadata",
  "metadata.google.internal",
  "100.100.100.200",
  "192.0.0.192",
  "fd00:ec2:0:0:0:0:0:254",
]);

export interface AddressRules {
  /** Whether a secret of at least 32 bytes is set. Without one, only loopback is dialled. */
  secured: boolean;
  /** Restricts further which addresses are dialled. */
  allow?: (url: URL) => boolean;
}

/**
 * The address under which a server reached at `url` takes links: `http` becomes `ws`,
 * `https` `wss`, and the path gets {@link LINK_PATH} behind it. Two spellings of one URL give
 * one address, the same that {@link checkAddress} gives.
 *
 * @throws AtlasError `bad_request` if `url` isn't an http, https, ws or wss URL, or is longer than
 * 1,024 characters as an address.
 */
export function linkAddress(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const scheme = parsed?.protocol.replace(/^http/, "ws");
  if (!parsed || (scheme !== "ws:" && scheme !== "wss:")) {
    throw new AtlasError("bad_request", `${quoted(url)} is not an http, https, ws or wss URL`);
  }
  const path = withoutTrailing(parsed.pathname, "/");
  const address = `${scheme}//${parsed.host}${path.endsWith(LINK_PATH) ? path : path + LINK_PATH}`;
  if (address.length <= MAX_ADDRESS) return address;
  throw new AtlasError(
    "bad_request",
    `${quoted(url)} is longer than ${MAX_ADDRESS} characters as an address of links`,
  );
}

/**
 * An address of the store, if it may be dialled.
 *
 * @throws AtlasError `unavailable`, not retryable, saying what is wrong with it.
 */
export function checkAddress(address: string, rules: AddressRules): string {
  const parsed = address.length <= MAX_ADDRESS && URL.canParse(address) ? new URL(address) : null;
  // The normal form may be longer, because characters outside ASCII are encoded.
  const url = parsed && parsed.href.length <= MAX_ADDRESS ? parsed : null;
  const why = url ? faultOf(url, rules) : "it is not a URL";
  if (url && why === null) return url.href;
  throw new AtlasError("unavailable", `the node's address may not be dialled: ${why}`, {
    retryable: false,
    detail: `${quoted(address)} may not be dialled: ${why}`,
  });
}

function faultOf(url: URL, { secured, allow }: AddressRules): string | null {
  if (url.protocol !== "ws:" && url.protocol !== "wss:") return "its scheme is not ws or wss";
  if (url.username || url.password) return "it holds credentials";
  if (url.search || url.hash) return "it holds a query or a fragment";
  if (!url.pathname.endsWith(LINK_PATH)) return `its path does not end in ${LINK_PATH}`;
  if (url.port === "0") return "its port is not 1 to 65535";
  const host = normalHost(url.hostname);
  if (METADATA_HOSTS.has(host)) return "it is a metadata service";
  if (isForbidden(host)) return "its host is link-local, multicast or unspecified";
  if (!secured && !isLoopback(url.hostname)) {
    return "it is beyond loopback, which needs a secret of at least 32 bytes";
  }
  if (allow && !allow(url)) return "this node's rules do not allow it";
  return null;
}

/** Whether a host, as written in a URL or an option, is this machine's loopback. */
export function isLoopback(host: string): boolean {
  const plain = normalHost(host);
  return plain === "localhost" || plain.endsWith(".localhost") ||
    /^127\.\d+\.\d+\.\d+$/.test(plain) || plain === "0:0:0:0:0:0:0:1";
}

function isForbidden(host: string): boolean {
  const v4 = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(host);
  if (v4) {
    const [first, second] = [Number(v4[1]), Number(v4[2])];
    return first === 0 || first >= 224 || (first === 169 && second === 254);
  }
  if (!host.includes(":")) return false;
  const first = parseInt(host, 16);
  return host === "0:0:0:0:0:0:0:0" || (first & 0xffc0) === 0xfe80 || (first & 0xff00) === 0xff00;
}

/**
 * A host in one spelling: lower case, IPv6 in eight groups without brackets, and an
 * IPv4 address that travels inside of IPv6 (mapped, compatible, NAT64) as IPv4.
 */
export function normalHost(host: string): string {
  const plain = host.toLowerCase().replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (!plain.includes(":") || !URL.canParse(`ws://[${plain}]/`)) return plain;
  const canonical = new URL(`ws://[${plain}]/`).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = !tail ? [] : tail.split(":");
  const zeros = Array<string>(tail === undefined ? 0 : 8 - left.length - right.length).fill("0");
  const groups = [...left, ...zeros, ...right];
  const prefix = groups.slice(0, 6).join(":");
  const [high, low] = [parseInt(groups[6] ?? "", 16), parseInt(groups[7] ?? "", 16)];
  const embeds = prefix === "0:0:0:0:0:ffff" || prefix === "64:ff9b:0:0:0:0" ||
    (prefix === "0:0:0:0:0:0" && high > 0);
  return embeds ? `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}` : groups.join(":");
}
