/**
 * The bodies of messages: encoded arguments, or an encoded result.
 *
 * A body is encoded once, by its sender, and decoded once, by its reader; nodes between them pass
 * it on. It is JSON text if that is short and gives back exactly the value, else MessagePack.
 */
import { AtlasError, messageOf } from "../errors.ts";
import { MAX_BODY_BYTES } from "../limits.ts";
import { checkArgumentCount, shown } from "./options.ts";
import { encodeFast, jsonToValue, unpack } from "./value.ts";

/** The longest part of a parser's message, which quotes its input, in an error. */
const MAX_WHY = 120;

/** JSON text, or MessagePack bytes. Empty text is `undefined`, or that there is no body. */
export type Body = Uint8Array | string;

/**
 * Encodes arguments or a result as a body.
 *
 * @throws AtlasError `bad_request` if it can't be encoded, `payload_too_large` if it is over
 * `MAX_BODY_BYTES`.
 */
export function encodeBody(value: unknown, what: string): Body {
  return value === undefined ? "" : encodeFast(value, what, MAX_BODY_BYTES);
}

/** The value of a body. @throws AtlasError `bad_request` if it is invalid */
export function decodeBody(body: Body): unknown {
  if (typeof body !== "string") return unpack(body);
  if (body === "") return undefined;
  try {
    return jsonToValue(body);
  } catch (cause) {
    const why = shown(messageOf(cause), MAX_WHY);
    throw new AtlasError("bad_request", `the body is not valid: ${why}`, { cause });
  }
}

/**
 * Decodes the arguments in a body of a peer.
 *
 * @throws AtlasError `bad_request` if it is not an array of values, or has more than
 * `MAX_ARGUMENTS`.
 */
export function argumentsOf(body: Body): unknown[] {
  const what = "the arguments are not an array of values";
  let args: unknown;
  try {
    args = decodeBody(body);
  } catch (cause) {
    throw new AtlasError("bad_request", `${what}: ${messageOf(cause)}`, { cause });
  }
  if (Array.isArray(args)) return checkArgumentCount(args);
  throw new AtlasError("bad_request", what);
}
