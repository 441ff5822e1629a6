/**
 * The handshake of a link: both nodes prove that they know the cluster's secret, by signing the
 * same exchange.
 *
 *     dialler → HELLO      nonce, who I am, whom I want, the address that I dial
 *     acceptor → CHALLENGE nonce, who I am
 *     dialler → PROOF      a signature for each of my secrets
 *     acceptor → WELCOME   a signature with the secret that we share
 *
 * A signature is HMAC-SHA-256 (RFC 2104) over the signer's role and both opening frames, each with
 * its length before it: the nonces make it fresh, the identities bind it to both ends, the role
 * keeps one end's signature from being used as the other's. An acceptor signs nothing for a dialler
 * that has not proven itself. The signed address keeps a third node from relaying the handshake
 * between two others: a dialler of the third node has signed the third node's address, which is not
 * one of the acceptor's. Two secrets may be valid at once, for rotation; any that both ends hold is
 * accepted.
 *
 * Links are not encrypted by themselves: use `wss:` if others can reach the wire. Source:
 * `docs/design.md`, Links and messages.
 */
import { MAX_ADDRESS } from "../../src/limits.ts";
import { ANYONE, type LinkIdentity } from "../../src/ports/transport.ts";

/** Largest frame of a handshake, in bytes: two identities, an address, a nonce and lengths. */
export const MAX_HANDSHAKE_BYTES = 2_048;
/** A secret's least length if a link leaves loopback, in bytes. */
export const MIN_SECRET_BYTES = 32;

const NONCE_BYTES = 32;
const MAC_BYTES = 32;
/** Version 3: text frames, too. */
const VERSION = "atlas-link/3";
/** The key of nodes without a secret: they use loopback only, and this key protects nothing. */
const OPEN_KEY = `${VERSION} without a secret`;
const IDENTITY_PART = /^[\x21-\x7e]{1,64}$/;
const ADDRESS = /^[\x21-\x7e]+$/;
/** The largest number of bytes that are read of another version's tag. */
const MAX_TAG_BYTES = 32;

const encoder: TextEncoder = new TextEncoder();
const decoder: TextDecoder = new TextDecoder("utf-8", { fatal: true });

/** The signing keys of these secrets, in their order. */
export function importKeys(secrets: readonly string[]): Promise<CryptoKey[]> {
  const texts = secrets.length > 0 ? secrets : [OPEN_KEY];
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return Promise.all(
    texts.map((text) =>
      crypto.subtle.importKey("raw", encoder.encode(text), algorithm, false, ["sign"])
    ),
  );
}

/** The first frame of a dialler. */
export interface Hello {
  /** The node that dials. */
  readonly self: LinkIdentity;
  /** The node that it wants to reach. */
  readonly wanted: LinkIdentity;
  /** The address that it dials, in normal form. */
  readonly address: string;
}

/** @param address what is dialled, in normal form: at most `MAX_ADDRESS` characters */
export function encodeHello(
  self: LinkIdentity,
  wanted: LinkIdentity,
  address: string,
): Uint8Array {
  return join([tag("hello"), nonce(), ...parts(self), ...parts(wanted), encoder.encode(address)]);
}

/** The hello of a frame; null if the frame is malformed. */
export function decodeHello(frame: Uint8Array): Hello | null {
  const fields = split(frame, "hello", 8);
  if (!fields || fields[0]?.length !== NONCE_BYTES) return null;
  const self = identity(fields.slice(1, 4));
  const wanted = identity(fields.slice(4, 7));
  const address = text(fields[7] as Uint8Array);
  if (!self || !wanted || address === null || address.length > MAX_ADDRESS) return null;
  if (!ADDRESS.test(address)) return null;
  return { self, wanted, address };
}

/**
 * The version of the other end's handshake, if a frame that can't be read belongs to a different
 * version than this node's; null if it is no frame of any version.
 */
export function otherVersion(frame: Uint8Array): string | null {
  const length = frame.length < 2 ? 0 : ((frame[0] as number) << 8) | (frame[1] as number);
  if (length > MAX_TAG_BYTES || 2 + length > frame.length) return null;
  const first = text(frame.subarray(2, 2 + length)) ?? "";
  const [, version] = /^(atlas-link\/[0-9]{1,4}) [a-z]{1,16}$/.exec(first) ?? [];
  return version === undefined || version === VERSION ? null : version;
}

/** Why a link of another version is refused; short enough for a close frame. */
export function versionMismatch(other: string): string {
  return `this node speaks ${VERSION}, not ${other}: run one version of Atlas on all nodes`;
}

export function encodeChallenge(self: LinkIdentity): Uint8Array {
  return join([tag("challenge"), nonce(), ...parts(self)]);
}

/** The claimed acceptor; null if the frame is malformed. */
export function decodeChallenge(frame: Uint8Array): LinkIdentity | null {
  const fields = split(frame, "challenge", 4);
  return fields?.[0]?.length === NONCE_BYTES ? identity(fields.slice(1)) : null;
}

/** The signatures for one conversation, one for each key. */
export interface Signatures {
  readonly dialler: readonly Uint8Array[];
  readonly acceptor: readonly Uint8Array[];
}

/** Signs for both roles: one to send, one to compare with. */
export async function sign(
  keys: readonly CryptoKey[],
  hello: Uint8Array,
  challenge: Uint8Array,
): Promise<Signatures> {
  const all = (role: string): Promise<Uint8Array[]> => {
    const transcript = join([tag(role), hello, challenge]);
    return Promise.all(
      keys.map(async (key) => new Uint8Array(await crypto.subtle.sign("HMAC", key, transcript))),
    );
  };
  const [dialler, acceptor] = await Promise.all([all("dialler"), all("acceptor")]);
  return { dialler, acceptor };
}

export function encodeProof({ dialler }: Signatures): Uint8Array {
  return join([tag("proof"), ...dialler]);
}

/** The acceptor's answer to a proof; null if it proves nothing. */
export function answerProof(frame: Uint8Array, signatures: Signatures): Uint8Array | null {
  const given = split(frame, "proof", 1) ?? split(frame, "proof", 2);
  if (!given) return null;
  const shared = signatures.dialler.findIndex((mine) => hasEqual(given, mine));
  const answer = signatures.acceptor[shared];
  return answer ? join([tag("welcome"), answer]) : null;
}

/** Whether a welcome proves the acceptor. */
export function checkWelcome(frame: Uint8Array, { acceptor }: Signatures): boolean {
  const given = split(frame, "welcome", 1);
  return given !== null && acceptor.some((mine) => hasEqual(given, mine));
}

function hasEqual(given: readonly Uint8Array[], mine: Uint8Array): boolean {
  let found = false;
  for (const theirs of given) if (equal(theirs, mine)) found = true;
  return found;
}

/** Compares in constant time. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== MAC_BYTES || b.length !== MAC_BYTES) return false;
  let difference = 0;
  for (let i = 0; i < MAC_BYTES; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}

function nonce(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
}

function tag(name: string): Uint8Array {
  return encoder.encode(`${VERSION} ${name}`);
}

function parts({ region, node, incarnation }: LinkIdentity): Uint8Array[] {
  return [region, node, incarnation].map((part) => encoder.encode(part));
}

function identity(fields: readonly Uint8Array[]): LinkIdentity | null {
  const texts = fields.map(text);
  if (!texts.every((part) => part !== null && IDENTITY_PART.test(part))) return null;
  const [region, node, incarnation] = texts as [string, string, string];
  return { region, node, incarnation };
}

/** A field as text; null if it isn't UTF-8. */
function text(field: Uint8Array): string | null {
  try {
    return decoder.decode(field);
  } catch {
    return null;
  }
}

/** Whether `self` is the node that is wanted, by name or as any node. */
export function isWanted(wanted: LinkIdentity, self: LinkIdentity): boolean {
  return wanted.incarnation === ANYONE || sameIdentity(wanted, self);
}

function sameIdentity(a: LinkIdentity, b: LinkIdentity): boolean {
  return a.region === b.region && a.node === b.node && a.incarnation === b.incarnation;
}

/** Fields one after another, each behind its length in two bytes. */
function join(fields: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(fields.reduce((sum, field) => sum + 2 + field.length, 0));
  let at = 0;
  for (const field of fields) {
    bytes[at] = field.length >> 8;
    bytes[at + 1] = field.length & 255;
    bytes.set(field, at + 2);
    at += 2 + field.length;
  }
  return bytes;
}

/** The `count` fields behind the tag `name`, copied; null if that isn't what the frame is. */
function split(frame: Uint8Array, name: string, count: number): Uint8Array[] | null {
  const fields: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= frame.length && fields.length <= count) {
    const end = at + 2 + (((frame[at] as number) << 8) | (frame[at + 1] as number));
    if (end > frame.length) return null;
    fields.push(frame.slice(at + 2, end));
    at = end;
  }
  if (at !== frame.length || fields.length !== count + 1) return null;
  const [first, ...rest] = fields;
  const wanted = tag(name);
  const matches = first?.length === wanted.length && wanted.every((byte, i) => byte === first[i]);
  return matches ? rest : null;
}
