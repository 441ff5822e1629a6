/**
 * The latest events of a resource, bounded in count and in bytes: the oldest are dropped first.
 *
 * Takes events in the order of their numbers, without gaps; gives the events after a number while
 * it has them, and the latest events as a text for the next owner.
 */
import { MAX_EVENT_BYTES, MAX_REPLAY_BYTES, MAX_REPLAY_EVENTS, MAX_TAIL_BYTES } from "../limits.ts";
import { textToValue, valueToText } from "../model/value.ts";

/** An event that a resource has sent to its connections, or to one of them. */
export interface SentEvent {
  readonly seq: number;
  /** The epoch of the owner that sent it. */
  readonly epoch: number;
  /** The only connection it is meant for; null: all. */
  readonly to: string | null;
  /** The encoded data. */
  readonly data: Uint8Array;
}

/** An event without its number. */
export type Unsent = Omit<SentEvent, "seq">;

/** An upper bound of what an event takes in an answer besides its data, in bytes. */
const EXTRA_BYTES = 128;

const MAX_TAIL = "the last events";

/** Events for one subscriber, and the number up to which it then has all of its events. */
export interface EventBatch {
  readonly events: readonly SentEvent[];
  readonly upto: number;
}

export class ReplayBuffer {
  /** The events; those before index `#head` are dropped. */
  readonly #events: SentEvent[];
  #head = 0;
  #bytes = 0;
  /** The number of the last event that was dropped. */
  #before: number;
  #last: number;
  /** The number of the last event that this owner never had. */
  readonly #start: number;

  /**
   * @param start the number of the last event that was sent or may have been sent.
   * @param tail the events up to that number, as a former owner's {@link tail} gave them; null:
   * none.
   */
  constructor(start: number, tail: string | null = null) {
    this.#events = eventsIn(tail, start);
    this.#bytes = this.#events.reduce((sum, { data }) => sum + data.length, 0);
    this.#last = start;
    this.#start = this.#before = start - this.#events.length;
  }

  /** The number of the last event. */
  get last(): number {
    return this.#last;
  }

  /** Whether it has all events after `after`, and an event of that number was sent. */
  covers(after: number): boolean {
    return after >= this.#before && after <= this.#last;
  }

  /**
   * The number up to which events are lost for a connection that received `after`; null: no event
   * is lost.
   *
   * @param epoch of the owner that gave it that number; null: unknown.
   */
  lostTo(after: number, epoch: number | null): number | null {
    if (this.covers(after) && !this.#isOther(after, epoch)) return null;
    // Another owner's events are lost. This owner's events can still be sent.
    const isOthers = after < this.#start || (after > this.#start && epoch !== null);
    return isOthers && this.covers(this.#start) ? this.#start : this.#last;
  }

  /** Whether the event of this number differs from the one that an owner of that epoch sent. */
  #isOther(seq: number, epoch: number | null): boolean {
    if (epoch === null || seq <= this.#start) return false;
    // An owner that operated without the store may have used numbers that others didn't know of.
    return (this.#events[this.#head + seq - this.#before - 1]?.epoch ?? 0) > epoch;
  }

  /** The latest events and those about to be added, as text; at most the last `MAX_TAIL_BYTES`. */
  tail(pending: readonly Unsent[]): string {
    const all: readonly Unsent[] = [...this.#events.slice(this.#head), ...pending];
    let at = all.length;
    for (let bytes = 0; at > 0; at--) {
      bytes += (all[at - 1] as Unsent).data.length + EXTRA_BYTES;
      if (bytes > MAX_TAIL_BYTES) break;
    }
    const events = all.slice(at).map(({ epoch, to, data }) => [epoch, to, data]);
    return valueToText([this.#last + pending.length, events], MAX_TAIL);
  }

  /**
   * Gives an event the next number, and stores a copy, because its bytes may be part of a larger
   * buffer.
   */
  add(epoch: number, to: string | null, data: Uint8Array): void {
    this.#events.push({ seq: ++this.#last, epoch, to, data: new Uint8Array(data) });
    this.#bytes += data.length;
    while (
      this.#bytes > MAX_REPLAY_BYTES || this.#events.length - this.#head > MAX_REPLAY_EVENTS
    ) this.#dropOldest();
    if (this.#head > MAX_REPLAY_EVENTS) this.#head -= this.#events.splice(0, this.#head).length;
  }

  /**
   * The events after `after` that are `wanted`, as many as one answer holds; those from
   * `until` on are left out. It must cover `after`.
   */
  since(
    after: number,
    wanted: (to: string | null) => boolean,
    until: number = Infinity,
  ): EventBatch {
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

  /** Drops the oldest event. */
  #dropOldest(): void {
    const event = this.#events[this.#head++] as SentEvent;
    this.#bytes -= event.data.length;
    this.#before = event.seq;
  }
}

/**
 * The events in a text that {@link ReplayBuffer.tail} made, if the last of them has number `last`.
 */
function eventsIn(text: string | null, last: number): SentEvent[] {
  if (text === null) return [];
  try {
    const value = textToValue(text, MAX_TAIL, 4 * MAX_TAIL_BYTES);
    const [upto, rows] = value as [number, [number, string | null, Uint8Array][]];
    // A later owner has sent more.
    if (upto !== last || rows.length > last) return [];
    const before = last - rows.length;
    return rows.map(([epoch, to, data], i) => {
      if (!Number.isSafeInteger(epoch) || !(data instanceof Uint8Array)) {
        throw new TypeError(MAX_TAIL);
      }
      return { seq: before + i + 1, epoch, to: to === null ? null : String(to), data };
    });
  } catch {
    // Connections that come back get a gap reported.
    return [];
  }
}
