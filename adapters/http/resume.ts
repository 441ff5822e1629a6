/**
 * Ids of client connections, and the secrets that prove who may resume one.
 *
 * An id is a digest of its secret, so that any node can check a secret without shared state.
 * Source: RFC 9562 §5.8 (UUIDv8).
 */
import { createHash, randomBytes } from "node:crypto";
import type { ConnectionIdentity } from "../../src/sockets/socket_server.ts";
import { AtlasError } from "../../src/errors.ts";
import { quoted } from "../../src/model/options.ts";
import { offeredWith, RESUME_PROTOCOL } from "./protocols.ts";

const SECRET_BYTES = 32;
/** Keeps digests for ids apart from any other use of SHA-256. */
const PURPOSE = "atlas connection 1 ";

/** The id of a new connection, and its secret: 256 random bits. */
export function newIdentity(): ConnectionIdentity {
  const resume = randomBytes(SECRET_BYTES).toString("base64url");
  return { id: idOf(resume), resume };
}

/**
 * The id of the former connection that a client resumes, proven to be its own.
 *
 * @throws AtlasError `bad_request` where it can't be an id, `forbidden` without its secret
 */
export function provenFormer(id: string, offered: readonly string[]): string {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) {
    const message = `query connection is ${quoted(id)}: it must be the id that a hello named`;
    throw new AtlasError("bad_request", message);
  }
  const given = offeredWith(RESUME_PROTOCOL, offered)?.slice(RESUME_PROTOCOL.length);
  if (given !== undefined && idOf(given) === id) return id;
  throw new AtlasError(
    "forbidden",
    given === undefined
      ? `resuming a connection needs the secret that its hello told as resume, as the subprotocol ` +
        `${RESUME_PROTOCOL}<secret>; ?after= alone needs none`
      : `the secret in the subprotocol ${RESUME_PROTOCOL}… is not that of this connection`,
  );
}

/** The id that belongs to a secret: 122 bits of its SHA-256, as a UUID of version 8. */
function idOf(resume: string): string {
  const hex = createHash("sha256").update(PURPOSE + resume).digest("hex");
  const variant = "89ab".charAt(parseInt(hex.charAt(16), 16) & 3);
  const [version, rest] = [`8${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`];
  return [hex.slice(0, 8), hex.slice(8, 12), version, rest, hex.slice(20, 32)].join("-");
}
