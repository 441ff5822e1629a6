/**
 * What a letter carries besides its fields: a parcel with arguments or a result in it.
 *
 * Within a node it is handed on as it was packed, and whoever opens it gets a copy of its
 * own. What came over a link is unpacked where it arrives: its bytes are only lent, and a copy
 * of them would cost as much.
 */
import { AtlasError } from "../../errors.ts";
import { pack, unpack } from "../../model/value.ts";

/** Packed, or unpacked already. */
export type Payload = Uint8Array | Unpacked;

/** What came over a link; a body that can't be read is told when it is opened. */
class Unpacked {
  readonly value: unknown;
  readonly trouble: AtlasError | null;

  constructor(value: unknown, trouble: AtlasError | null) {
    this.value = value;
    this.trouble = trouble;
  }
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** The body of a letter that came, which holds on to none of the bytes. */
export function payloadOf(bytes: Uint8Array): Payload {
  if (bytes.length === 0) return NOTHING;
  try {
    return new Unpacked(unpack(bytes), null);
  } catch (error) {
    return new Unpacked(null, error as AtlasError);
  }
}

/** What is in a body, for who opens it alone; once. @throws AtlasError `bad_request` */
export function open(body: Payload): unknown {
  if (body instanceof Uint8Array) return unpack(body);
  if (body.trouble) throw body.trouble;
  return body.value;
}

/** A body as it leaves the node. */
export function bytesOf(body: Payload): Uint8Array {
  return body instanceof Uint8Array ? body : pack(body.value);
}
