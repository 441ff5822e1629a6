/**
 * Resource reference pointers (RRPs): parsing, printing and matching.
 *
 *     rrp:<region>/<node>/<type>/<id>
 *     rrp:us-east-1/hop@node-1/channels/project_0:channel_0
 *
 * An RRP says where a key is owned; the stable name is the key, `<type>/<id>`. In both the id is
 * percent-encoded (RFC 3986 `pchar` without `*` stays as it is) in one canonical form, so that
 * parsing and printing gives the same text, and two spellings of one id can't be two resources.
 *
 * Source: `docs/design.md`, Names and epochs.
 */
import { AtlasError } from "../errors.ts";
import { MAX_ID_BYTES, MAX_TOKEN_BYTES, SLOTS } from "../limits.ts";
import { quoted } from "./options.ts";

/** A parsed pointer. `id` is decoded. */
export interface Rrp {
  readonly region: string;
  readonly node: string;
  readonly type: string;
  readonly id: string;
}

/**
 * `pchar` without `*` and percent: no white space, control characters, `/`, Redis globs or hash
 * tags.
 */
const TOKEN = /^[A-Za-z0-9\-._~!$&'()+,;=:@]+$/;
// deno-lint-ignore no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
/** What `encodeURIComponent` encodes though `pchar` allows it. */
const NEEDLESS = /%(?:21|24|26|27|28|29|2B|2C|3A|3B|3D|40)/g;

/**
 * Reads an RRP.
 *
 * @throws AtlasError `invalid_rrp`, naming the part and what is wrong with it.
 */
export function parseRrp(text: string): Rrp {
  if (typeof text !== "string") throw invalid("rrp", `is ${typeof text}, not text`);
  if (!text.startsWith("rrp:")) throw invalid("rrp", `${quoted(text)} does not start with "rrp:"`);
  const parts = text.slice(4).split("/");
  if (parts.length !== 4) {
    throw invalid("rrp", `${quoted(text)} has ${parts.length} parts, not region/node/type/id`);
  }
  const [region, node, type, encoded] = parts as [string, string, string, string];
  const rrp = {
    region: checkToken("region", region),
    node: checkToken("node", node),
    type: checkToken("type", type),
    id: decodeId(encoded),
  };
  if (encodeId(rrp.id) !== encoded) {
    throw invalid("id", `${quoted(encoded)} is not in canonical percent-encoding`);
  }
  return rrp;
}

/**
 * Prints an RRP, each part checked.
 *
 * @throws AtlasError `invalid_rrp`
 */
export function formatRrp(rrp: Rrp): string {
  return rrpAt(
    checkToken("region", rrp.region),
    checkToken("node", rrp.node),
    resourceKey(rrp.type, rrp.id),
  );
}

/** The RRP of `key` at a node. All three must be checked already. */
export function rrpAt(region: string, node: string, key: string): string {
  return `rrp:${region}/${node}/${key}`;
}

/**
 * Whether `prefix` matches `rrp`.
 *
 * A prefix is a whole RRP, or ends after a part's slash: `rrp:us-east-1/`,
 * `rrp:us-east-1/hop@node-1/`, `rrp:us-east-1/hop@node-1/channels/`; `rrp:` is all.
 *
 * @throws AtlasError `invalid_rrp` if `prefix` is neither.
 */
export function matchRrp(prefix: string, rrp: string | Rrp): boolean {
  checkPrefix(prefix);
  return isUnder(prefix, typeof rrp === "string" ? rrp : formatRrp(rrp));
}

/** {@link matchRrp} for a prefix that is checked already. */
export function isUnder(prefix: string, rrp: string): boolean {
  return prefix.endsWith("/") || prefix === "rrp:" ? rrp.startsWith(prefix) : rrp === prefix;
}

/** Checks that `prefix` is a whole RRP or ends after a part's slash. */
export function checkPrefix(prefix: string): string {
  if (typeof prefix !== "string" || !prefix.startsWith("rrp:")) {
    throw invalid("prefix", `${quoted(prefix)} does not start with "rrp:"`);
  }
  const parts = prefix.slice(4).split("/");
  if (parts.length === 4 && parts[3] !== "") {
    parseRrp(prefix);
    return prefix;
  }
  const last = parts.pop();
  if (last !== "" || parts.length > 3) {
    throw invalid("prefix", `${quoted(prefix)} must end with "/" after region, node or type`);
  }
  ["region", "node", "type"].slice(0, parts.length).forEach((part, i) =>
    checkToken(part, parts[i] as string)
  );
  return prefix;
}

/**
 * The key of a resource, which doesn't depend on its location: `<type>/<id>`, the id
 * percent-encoded.
 *
 * @throws AtlasError `invalid_rrp`
 */
export function resourceKey(type: string, id: string): string {
  return `${checkToken("type", type)}/${encodeId(id)}`;
}

/** The type and the decoded id of a key made by {@link resourceKey}; refuses any other text. */
export function parseKey(key: string): { type: string; id: string } {
  const slash = key.indexOf("/");
  if (slash < 0) throw invalid("key", `${quoted(key)} is not type/id`);
  const type = checkToken("type", key.slice(0, slash));
  const encoded = key.slice(slash + 1);
  const id = decodeId(encoded);
  if (encodeId(id) !== encoded) throw invalid("id", `${quoted(encoded)} is not canonical`);
  return { type, id };
}

/** The hash slot of a key, 0 to 1,023. */
export function slotOf(key: string): number {
  return hashText(key) % SLOTS;
}

/** FNV-1a over the UTF-16 code units of `text`: 32 bits, unsigned. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

/**
 * The weight of a text in rendezvous hashing, 32 bits. FNV alone gives similar names similar
 * weights; the last step of MurmurHash3 (Appleby 2011) makes every bit depend on all.
 */
export function weigh(text: string): number {
  const hash = hashText(text);
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Checks a region, node or type name. */
export function checkToken(part: string, value: string): string {
  if (typeof value !== "string") throw invalid(part, `is ${typeof value}, not text`);
  if (value.length === 0) throw invalid(part, "is empty");
  if (value.length > MAX_TOKEN_BYTES) {
    throw invalid(part, `is ${value.length} bytes, more than ${MAX_TOKEN_BYTES}`);
  }
  if (value === "." || value === ".." || !TOKEN.test(value)) {
    throw invalid(
      part,
      `${quoted(value)} is not allowed: use letters, digits and - . _ ~ ! $ & ' ( ) + , ; = : @`,
    );
  }
  return value;
}

/** Ids that need no encoding and no check of their segments: nearly all ids. */
const PLAIN_ID = /^[A-Za-z0-9\-_~!$&'()+,;=:@]+$/;

function encodeId(id: string): string {
  if (typeof id !== "string") throw invalid("id", `is ${typeof id}, not text`);
  if (id.length === 0) throw invalid("id", "is empty");
  if (id.length > MAX_ID_BYTES) throw tooLong(id.length, "characters");
  if (PLAIN_ID.test(id)) return id;
  if (CONTROL.test(id)) throw invalid("id", `${quoted(id)} holds a control character`);
  if (!id.isWellFormed()) throw invalid("id", `${quoted(id)} is not well-formed Unicode`);
  if (/(?:^|\/)\.{1,2}(?:\/|$)/.test(id)) {
    throw invalid("id", `${quoted(id)} holds a "." or ".." path segment`);
  }
  const encoded = encodeURIComponent(id).replaceAll("*", "%2A").replace(
    NEEDLESS,
    decodeURIComponent,
  );
  if (encoded.length > MAX_ID_BYTES) throw tooLong(encoded.length, "bytes when percent-encoded");
  return encoded;
}

function decodeId(encoded: string): string {
  if (encoded.length > MAX_ID_BYTES) throw tooLong(encoded.length, "bytes");
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw invalid("id", `${quoted(encoded)} is not percent-encoded UTF-8`);
  }
}

function tooLong(length: number, unit: string): AtlasError {
  return invalid("id", `is ${length} ${unit}, more than ${MAX_ID_BYTES}`);
}

function invalid(part: string, why: string): AtlasError {
  return new AtlasError("invalid_rrp", `${part} ${why}`);
}
