/**
 * The last events of a resource: a tape that is wiped from its beginning.
 *
 * Takes events in the order of their numbers, none left out; gives those after a number, as
 * long as it still has them. Bounded in count and in bytes.
 */
import { MAX_EVENT_BYTES, MAX_REPLAY_BYTES, MAX_REPLAY_EVENTS } from "../limits.ts";

/** What a resource has said to its connections, or to one of them. */
export interface SentEvent {
  readonly seq: number;
  /** Of the owner that said it. */
  readonly epoch: number;
  /** The only connection it is meant for; null: all. */
  readonly to: string | null;
  /** The encoded data. */
  readonly data: Uint8Array;
}

/** What an event takes in an answer besides its data, in bytes; rather too much. */
const EXTRA_BYTES = 128;

/** Events for one door, and the number up to which it then has all that is for it. */
export interface Share {
  readonly events: readonly SentEvent[];
  readonly upto: number;
}

export class Replay {
  /** Those before `#head` are wiped. */
  readonly #events: SentEvent[] = [];
  #head = 0;
  #bytes = 0;
  /** The number of the last event that isn't on the tape any more. */
  #before: number;
  #last: number;

  /** @param start the number of the last event that was ever sent, or might have been. */
  constructor(start: number) {
    this.#before = this.#last = start;
  }

  /** The number of the last event. */
  get last(): number {
    return this.#last;
  }

  /** Whether it has all events after `after`, and there was an event of that number. */
  covers(after: number): boolean {
    return after >= this.#before && after <= this.#last;
  }

  /** Gives an event the next number, and keeps it: a copy, for it may be part of far more. */
  add(epoch: number, to: string | null, data: Uint8Array): void {
    this.#events.push({ seq: ++this.#last, epoch, to, data: new Uint8Array(data) });
    this.#bytes += data.length;
    while (
      this.#bytes > MAX_REPLAY_BYTES || this.#events.length - this.#head > MAX_REPLAY_EVENTS
    ) this.#wipe();
    if (this.#head > MAX_REPLAY_EVENTS) this.#head -= this.#events.splice(0, this.#head).length;
  }

  /**
   * The events after `after` that are `wanted`, as many as one answer holds; those from
   * `until` on are left out. It must cover `after`.
   */
  since(after: number, wanted: (to: string | null) => boolean, until: number = Infinity): Share {
    const events: SentEvent[] = [];
    let bytes = 0;
    let upto = after;
    for (let at = this.#head + after - this.#before; at < this.#events.length; at++) {
      const event = this.#events[at] as SentEvent;
      if (event.seq > until) break;
      if (wanted(event.to)) {
        bytes += event.data.length + EXTRA_BYTES;
        if (events.length > 0 && bytes > MAX_EVENT_BYTES) break;
        events.push(event);
      }
      upto = event.seq;
    }
    return { events, upto };
  }

  #wipe(): void {
    const event = this.#events[this.#head++] as SentEvent;
    this.#bytes -= event.data.length;
    this.#before = event.seq;
  }
}
