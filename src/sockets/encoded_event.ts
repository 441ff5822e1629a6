/**
 * Events as client sockets receive them: encoded once for each codec, and sent together where
 * several follow each other.
 */
import type { WireEvent } from "../model/internal_methods.ts";
import type { Codec } from "../model/socket_frames.ts";
import type { FrameBatch } from "../ports/runtime.ts";

/**
 * The size of the events that are sent to a socket before it is checked how much waits there, in
 * bytes; a single larger event is sent alone.
 */
const RUN_BYTES = 65_536;

/** An event for several sockets. */
export class EncodedEvent {
  readonly seq: number;
  readonly to: string | null;
  readonly epoch: number;
  readonly #data: Uint8Array;
  readonly #encoded = new Map<string, string | Uint8Array>();

  constructor([seq, epoch, to, data]: WireEvent) {
    this.seq = seq;
    this.to = to;
    this.epoch = epoch;
    this.#data = data;
  }

  get bytes(): number {
    return this.#data.length;
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

/** Events for all connections, or one event for one of them; their numbers have no gap. */
export class EventRun {
  readonly events: readonly EncodedEvent[];
  /** The only connection that they are meant for; null: all. */
  readonly to: string | null;
  readonly first: number;
  readonly last: number;
  /** The latest epoch. */
  readonly epoch: number;
  readonly #batches = new Map<string, FrameBatch>();

  /** @param events at least one. */
  constructor(events: readonly EncodedEvent[]) {
    const [first] = events as [EncodedEvent];
    this.events = events;
    this.to = first.to;
    this.first = first.seq;
    this.last = first.seq + events.length - 1;
    this.epoch = events.reduce((latest, { epoch }) => Math.max(latest, epoch), 0);
  }

  as(codec: Codec): FrameBatch {
    let batch = this.#batches.get(codec.name);
    if (batch === undefined) {
      batch = { frames: this.events.map((event) => event.as(codec)) };
      this.#batches.set(codec.name, batch);
    }
    return batch;
  }
}

/** Divides events, in the order of their numbers, into runs. */
export function runsOf(wireEvents: readonly WireEvent[]): EventRun[] {
  const runs: EventRun[] = [];
  let events: EncodedEvent[] = [];
  let bytes = 0;
  for (const wireEvent of wireEvents) {
    const event = new EncodedEvent(wireEvent);
    const last = events.at(-1);
    bytes += event.bytes;
    const isNext = last !== undefined && last.to === null && event.to === null &&
      event.seq === last.seq + 1 && bytes <= RUN_BYTES;
    if (last !== undefined && !isNext) {
      runs.push(new EventRun(events));
      events = [];
      bytes = event.bytes;
    }
    events.push(event);
  }
  if (events.length > 0) runs.push(new EventRun(events));
  return runs;
}
