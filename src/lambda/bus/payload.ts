/**
 * The body of a message: encoded arguments or an encoded result.
 *
 * Within a node the encoded bytes are passed on, and each reader decodes its own copy. A body that
 * came over a link is decoded on arrival, because its bytes are valid only during the delivery and
 * copying them would cost as much.
 */
import { AtlasError } from "../../errors.ts";
import { pack, unpack } from "../../model/value.ts";

/** Encoded, or decoded already. */
export type Payload = Uint8Array | Decoded;

/** A decoded body; the error of an invalid one is thrown when it is read. */
class Decoded {
  readonly value: unknown;
  readonly error: AtlasError | null;

  constructor(value: unknown, error: AtlasError | null) {
    this.value = value;
    this.error = error;
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** The body of a message that arrived over a link; keeps none of the bytes. */
export function payloadOf(bytes: Uint8Array): Payload {
  if (bytes.length === 0) return NOTHING;
  try {
    return new Decoded(unpack(bytes), null);
  } catch (error) {
    return new Decoded(null, error as AtlasError);
  }
}

/** The value of a body, which belongs to the caller; call once. @throws AtlasError `bad_request` */
export function decodePayload(body: Payload): unknown {
  if (body instanceof Uint8Array) return unpack(body);
  if (body.error) throw body.error;
  return body.value;
}

/** The bytes of a body that leaves the node. */
export function bytesOf(body: Payload): Uint8Array {
  return body instanceof Uint8Array ? body : pack(body.value);
}
