/**
 * One subscriber at the owner: a node that holds client sockets of the resource, with its long
 * poll.
 *
 * Takes that node's polls, one at a time. Answers a poll at once if there is anything to send;
 * otherwise when there is, or when the poll's time limit has passed.
 */
import type { AtlasError } from "../errors.ts";
import { POLL_MS, SUBSCRIBER_SWEEP_MS, SUBSCRIBER_TIMEOUT_MS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import { Expiring } from "../model/expiring.ts";
import type { EventsAnswer, WireEvent } from "../model/internal_methods.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import type { ReplayBuffer, SentEvent } from "./replay_buffer.ts";

/** The largest number of closings in one answer. */
const MAX_CLOSINGS = 16;

/** What a subscriber needs of its broadcaster. */
export interface SubscriberParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
  readonly replay: ReplayBuffer;
  readonly owner: () => Ownership;
  /** Whether a connection belongs to this subscriber. */
  readonly isHere: (connection: string) => boolean;
}

export class Subscriber extends Expiring {
  /** The node's incarnation. */
  life: string;
  /** The time when it last polled or was answered. */
  polledAt: number;
  readonly #parts: SubscriberParts;
  /** The poll that waits for an answer. */
  #poll: Call | null = null;
  /** The number up to which it has all of its events. */
  #at: number;
  /** Closings that it has not confirmed; each belongs after the event of its number. */
  readonly #closings: { id: string; reason: string; after: number }[] = [];
  /** The number of closings before those. */
  #closed = 0;

  constructor(parts: SubscriberParts, life: string) {
    super();
    this.#parts = parts;
    this.life = life;
    this.polledAt = parts.clock.now();
    this.#at = parts.replay.last;
  }

  /** Whether it has all events, and waits for more. */
  get isSettled(): boolean {
    return this.#poll !== null && !this.#poll.done;
  }

  /**
   * Whether its node has gone: it has not polled for too long, or it is dead in the registry and
   * doesn't poll any more. A node that still polls has lost the registry, but not its sockets.
   */
  isGone(now: number, isDead: boolean): boolean {
    const silentMs = now - this.polledAt;
    return silentMs > SUBSCRIBER_TIMEOUT_MS ||
      (isDead && !this.isSettled && silentMs > SUBSCRIBER_SWEEP_MS);
  }

  /** A poll for the events after event `at`, and for the closings after this many. */
  poll(call: Call, life: string, at: number, closed: number): void {
    const { clock, deadlines } = this.#parts;
    this.life = life;
    this.polledAt = clock.now();
    this.#at = at;
    while (this.#closed < closed && this.#closings.length > 0) {
      this.#closings.shift();
      this.#closed++;
    }
    // A node that polls again doesn't wait for the answer to its earlier poll.
    this.#answer([at, false, [], [], this.#closed]);
    this.#poll = call;
    if (!this.answerPoll()) deadlines.add(this, this.polledAt + POLL_MS);
  }

  /** Answers the waiting poll, if there is anything to send. */
  answerPoll(): boolean {
    if (!this.#poll) return false;
    const { replay, isHere } = this.#parts;
    const gap = !replay.covers(this.#at);
    const { events, upto } = gap
      ? { events: [], upto: replay.last }
      : replay.since(this.#at, (to) => to === null || isHere(to));
    const closings = this.#closings.filter(({ after }) => after <= upto).slice(0, MAX_CLOSINGS);
    // Events for others alone don't end the poll, however many they are.
    this.#at = upto;
    if (!gap && events.length + closings.length === 0) return false;
    this.#answer([
      upto,
      gap,
      events.map(wireEvent),
      closings.map(({ id, reason }) => [id, reason] as const),
      this.#closed + closings.length,
    ]);
    return true;
  }

  /** Closes a connection of this subscriber once its client has all events so far. */
  close(id: string, reason: string): void {
    this.#closings.push({ id, reason, after: this.#parts.replay.last });
  }

  /** The time limit of its poll has passed. */
  override expire(): void {
    this.#answer([this.#at, false, [], [], this.#closed]);
  }

  /** The owner no longer knows it. */
  forget(): void {
    this.#answer(null);
  }

  /** The owner has ended: this node can no longer answer. */
  end(error: AtlasError, next: Ownership | null): void {
    this.#parts.deadlines.remove(this);
    this.#poll?.fail(error, next);
    this.#poll = null;
  }

  #answer(answer: EventsAnswer): void {
    const { deadlines, clock, owner } = this.#parts;
    deadlines.remove(this);
    const call = this.#poll;
    this.#poll = null;
    if (!call || call.done) return;
    this.polledAt = clock.now();
    call.succeed(call.encode(answer), owner(), null);
  }
}

/** An event on the wire. */
export function wireEvent({ seq, epoch, to, data }: SentEvent): WireEvent {
  return [seq, epoch, to, data];
}

/** What the reaper checks. */
export interface Reaped {
  /** Drops connections whose subscriber has gone. Answers whether any are left. */
  sweep(now: number, isDead: (incarnation: string) => boolean): boolean;
}

export class SubscriberReaper {
  readonly #clock: Clock;
  /** Whether an incarnation is known to be dead. */
  readonly isDead: (incarnation: string) => boolean;
  readonly #watched = new Set<Reaped>();
  #timer: Timer | null = null;

  constructor(clock: Clock, isDead: (incarnation: string) => boolean) {
    this.#clock = clock;
    this.isDead = isDead;
  }

  /** Registers a broadcaster with connections; removed when a sweep finds none. */
  watch(broadcaster: Reaped): void {
    this.#watched.add(broadcaster);
    this.#timer ??= this.#clock.after(SUBSCRIBER_SWEEP_MS, () => this.#sweep());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#watched.clear();
  }

  #sweep(): void {
    this.#timer = null;
    const now = this.#clock.now();
    for (const broadcaster of this.#watched) {
      if (!broadcaster.sweep(now, this.isDead)) this.#watched.delete(broadcaster);
    }
    if (this.#watched.size === 0) return;
    this.#timer = this.#clock.after(SUBSCRIBER_SWEEP_MS, () => this.#sweep());
  }
}
