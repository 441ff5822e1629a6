/**
 * The body of a message: encoded arguments or an encoded result.
 *
 * Within a node the encoded body is passed on, and each reader decodes its own copy. Bytes
 * that came over a link are decoded on arrival, because they are valid only during the delivery and
 * copying them would cost as much.
 */
import { AtlasError } from "../../errors.ts";
import { type Body, decodeBody } from "../../model/body.ts";
import { pack } from "../../model/value.ts";

/** Encoded, or decoded already. */
export type Payload = Body | Decoded;

/** A decoded body; the error of an invalid one is thrown when it is read. */
class Decoded {
  readonly value: unknown;
  readonly error: AtlasError | null;

  constructor(value: unknown, error: AtlasError | null) {
    this.value = value;
    this.error = error;
  }
}

/** The body of a message that arrived over a link; keeps none of its bytes. */
export function payloadOf(body: Body): Payload {
  if (typeof body === "string") return body;
  try {
    return new Decoded(decodeBody(body), null);
  } catch (error) {
    return new Decoded(null, error as AtlasError);
  }
}

/** The value of a body, which belongs to the caller; call once. @throws AtlasError `bad_request` */
export function decodePayload(body: Payload): unknown {
  if (!(body instanceof Decoded)) return decodeBody(body);
  if (body.error) throw body.error;
  return body.value;
}

/** A body that leaves the node. */
export function bodyOf(body: Payload): Body {
  return body instanceof Decoded ? pack(body.value) : body;
}
