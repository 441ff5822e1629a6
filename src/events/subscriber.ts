/**
 * One subscriber at the owner: a node that holds client sockets of the resource, with its long
 * poll.
 *
 * Takes that node's polls, one at a time. Answers at once where there is something; otherwise
 * when there is, or when the poll's time is over.
 */
import type { AtlasError } from "../errors.ts";
import { DOOR_SILENCE_MS, DOOR_SWEEP_MS, POLL_MS } from "../limits.ts";
import type { Call } from "../model/call.ts";
import type { EventsAnswer, WireEvent } from "../model/internal_methods.ts";
import type { Ownership } from "../model/ownership.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { Expiring } from "../model/expiring.ts";
import type { ReplayBuffer, SentEvent } from "./replay_buffer.ts";

/** Closings that one answer tells of at most. */
const MAX_CLOSINGS = 16;

/** What a door's side needs of the audience it belongs to. */
export interface SubscriberParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
  readonly replay: ReplayBuffer;
  readonly owner: () => Ownership;
  /** Whether a connection is at this door. */
  readonly isHere: (connection: string) => boolean;
}

export class Subscriber extends Expiring {
  /** The node's life that it belongs to. */
  life: string;
  /** When it asked last, or was answered. */
  heardAt: number;
  readonly #parts: SubscriberParts;
  /** The question that waits for an answer. */
  #asked: Call | null = null;
  /** The number up to which it has all that is for it. */
  #at: number;
  /** Closings that it hasn't said it knows of; each after the event of its number. */
  readonly #closings: { id: string; reason: string; after: number }[] = [];
  /** Closings before those. */
  #closed = 0;

  constructor(parts: SubscriberParts, life: string) {
    super();
    this.#parts = parts;
    this.life = life;
    this.heardAt = parts.clock.now();
    this.#at = parts.replay.last;
  }

  /** Whether it holds all that there is, and waits for more. */
  get isSettled(): boolean {
    return this.#asked !== null && !this.#asked.done;
  }

  /**
   * Whether its node has gone: it was silent for too long, or it is dead by the registry's word and
   * asks no more. One that still asks has lost the registry, and not its sockets.
   */
  isGone(now: number, isDead: boolean): boolean {
    const silentMs = now - this.heardAt;
    return silentMs > DOOR_SILENCE_MS || (isDead && !this.isSettled && silentMs > DOOR_SWEEP_MS);
  }

  /** A question: what is there after event `at`, and after so many closings? */
  ask(call: Call, life: string, at: number, closed: number): void {
    const { clock, deadlines } = this.#parts;
    this.life = life;
    this.heardAt = clock.now();
    this.#at = at;
    while (this.#closed < closed && this.#closings.length > 0) {
      this.#closings.shift();
      this.#closed++;
    }
    // Who asks again doesn't wait for the answer to what it asked before.
    this.#answer([at, false, [], [], this.#closed]);
    this.#asked = call;
    if (!this.tell()) deadlines.add(this, this.heardAt + POLL_MS);
  }

  /** Answers a question that waits, if there is anything to say. */
  tell(): boolean {
    if (!this.#asked) return false;
    const { replay, isHere } = this.#parts;
    const gap = !replay.covers(this.#at);
    const { events, upto } = gap
      ? { events: [], upto: replay.last }
      : replay.since(this.#at, (to) => to === null || isHere(to));
    const closings = this.#closings.filter(({ after }) => after <= upto).slice(0, MAX_CLOSINGS);
    // What is for others needs no trip, however much of it there is.
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

  /** A connection at this door ends once its client has all that was sent so far. */
  close(id: string, reason: string): void {
    this.#closings.push({ id, reason, after: this.#parts.replay.last });
  }

  /** Its question has waited long enough. */
  override expire(): void {
    this.#answer([this.#at, false, [], [], this.#closed]);
  }

  /** It isn't known here any more. */
  dismiss(): void {
    this.#answer(null);
  }

  /** There is nobody here any more who could answer. */
  end(error: AtlasError, next: Ownership | null): void {
    this.#parts.deadlines.remove(this);
    this.#asked?.fail(error, next);
    this.#asked = null;
  }

  #answer(answer: EventsAnswer): void {
    const { deadlines, clock, owner } = this.#parts;
    deadlines.remove(this);
    const call = this.#asked;
    this.#asked = null;
    if (!call || call.done) return;
    this.heardAt = clock.now();
    call.succeed(call.encode(answer), owner(), null);
  }
}

/** An event as it travels. */
export function wireEvent({ seq, epoch, to, data }: SentEvent): WireEvent {
  return [seq, epoch, to, data];
}

/** What an usher looks after. */
export interface Reaped {
  /** Lets go of connections whose door has gone. Answers whether any are left. */
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

  /** From now on there are connections; forgotten when a sweep finds none. */
  watch(audience: Reaped): void {
    this.#watched.add(audience);
    this.#timer ??= this.#clock.after(DOOR_SWEEP_MS, () => this.#sweep());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#watched.clear();
  }

  #sweep(): void {
    this.#timer = null;
    const now = this.#clock.now();
    for (const audience of this.#watched) {
      if (!audience.sweep(now, this.isDead)) this.#watched.delete(audience);
    }
    if (this.#watched.size === 0) return;
    this.#timer = this.#clock.after(DOOR_SWEEP_MS, () => this.#sweep());
  }
}
