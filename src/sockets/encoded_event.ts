/** Events as client sockets receive them, encoded once for each codec. */
import type { Codec } from "../model/socket_frames.ts";

/** An event for several sockets, encoded once for each codec. */
export class EncodedEvent {
  readonly seq: number;
  readonly to: string | null;
  readonly epoch: number;
  readonly #data: Uint8Array;
  readonly #encoded = new Map<string, string | Uint8Array>();

  constructor(seq: number, epoch: number, to: string | null, data: Uint8Array) {
    this.seq = seq;
    this.to = to;
    this.epoch = epoch;
    this.#data = data;
  }

  as(codec: Codec): string | Uint8Array {
    let encoded = this.#encoded.get(codec.name);
    if (encoded === undefined) {
      encoded = codec.event(this.seq, this.epoch, this.#data);
      this.#encoded.set(codec.name, encoded);
    }
    return encoded;
  }
}
