/**
 * One node's subscription to one resource, shared by all its client sockets of that resource.
 *
 * Takes client sessions; keeps them joined to the resource's current owner, polls that owner for
 * events and delivers the events to the sessions. If the owner changes, all sessions are joined
 * again and get a new `hello`.
 *
 * Source: `docs/design.md`, Client sockets; `model/internal_methods.ts` has the calls.
 */
import type { CallOptions, CallResult } from "../api/calls.ts";
import { AtlasError, type ErrorCode, isAtlasError, toAtlasError } from "../errors.ts";
import { MAX_JOINS, POLL_MS } from "../limits.ts";
import {
  CONNECT,
  EVENTS,
  type EventsAnswer,
  type JoinRequest,
  type JoinResult,
  LEAVE,
  MESSAGE,
  REPLAY,
  type ReplayAnswer,
} from "../model/internal_methods.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import { backoffMs, pause, Signal } from "../time/wait.ts";
import { type ClientSession, CLOSED } from "./client_session.ts";
import { EncodedEvent, runsOf } from "./encoded_event.ts";

const RETRY_MS = 100;
const RETRY_MOST_MS = 2_000;
/** How much longer a poll may take than an owner holds it, in ms. */
const GRACE_MS = 5_000;
/** The longest pause between two deliveries of events, in ms. */
const MAX_PAUSE_MS = 4;
/**
 * How many times the end of the last socket is reported. After that the owner notices it by itself.
 */
const LEAVE_ATTEMPTS = 3;
/** The subscriber id sent to an owner that doesn't know this node. */
const NO_ID = "";

/** A resource, and how to call its owner. */
export interface SubscriptionParts {
  readonly clock: Clock;
  readonly random: Random;
  /** This node's current incarnation. */
  readonly incarnation: () => string;
  /** Calls a method of the resource that only nodes may call. */
  readonly ask: (
    method: string,
    args: readonly unknown[],
    options: CallOptions,
  ) => Promise<CallResult>;
  readonly stats: { socketEvents: number };
  /** The last socket has left. */
  readonly empty: () => void;
}

/**
 * A joined session: the last event's number, and the number up to which some events are lost for
 * it.
 */
interface Joined {
  readonly session: ClientSession;
  readonly seq: number;
  readonly lost: number | null;
}

export class Subscription {
  readonly #parts: SubscriptionParts;
  readonly #sessions = new Map<string, ClientSession>();
  /** Sessions that have to be joined. */
  readonly #pending = new Set<ClientSession>();
  readonly #ended = new AbortController();
  /** Its subscriber id at the current owner. It gets a new one each time it has to register. */
  #subscriberId: string | null = null;
  #epoch = 0;
  /** The number up to which this node has all events. */
  #at = 0;
  /** The number of closings received. */
  #closed = 0;
  #isJoining = false;
  /** Notified when some sessions have been joined. */
  readonly #joinedSome = new Signal();

  constructor(parts: SubscriptionParts) {
    this.#parts = parts;
  }

  /** Joins a socket. */
  add(session: ClientSession): void {
    this.#sessions.set(session.id, session);
    this.#pending.add(session);
    void this.#join();
  }

  /**
   * A session has ended: reports that to the owner. Resolves when the owner has got the report, or
   * can't get it.
   */
  async remove(session: ClientSession): Promise<void> {
    this.#sessions.delete(session.id);
    this.#pending.delete(session);
    // Also reported between two owners: the next owner may know the session from the former owner's
    // state.
    const subscriberId = this.#subscriberId ?? NO_ID;
    if (this.#sessions.size === 0) this.#end();
    // A session that is being joined for the first time is reported once it has been joined.
    if (session.isKnown) await this.#notifyClosed(subscriberId, session);
  }

  async #notifyClosed(subscriberId: string, session: ClientSession): Promise<void> {
    // While this node has other sessions, the owner can't notice the end by itself.
    for (let attempt = 0; attempt < LEAVE_ATTEMPTS || this.#sessions.size > 0; attempt++) {
      try {
        await this.#parts.ask(LEAVE, [subscriberId, [session.id]], {});
        return;
      } catch {
        await this.#pause(attempt);
      }
    }
  }

  /**
   * Delivers messages; resolves to how many were delivered or dropped. Messages are dropped if a
   * former owner may have got them and the current owner can't know whether it did.
   *
   * @param from the number of the first of these messages among all messages of the socket.
   */
  async deliverMessages(
    session: ClientSession,
    messages: readonly unknown[],
    from: number,
  ): Promise<number> {
    let asked: string | null = null;
    for (let attempt = 0; !session.isOver;) {
      const subscriberId = this.#subscriberId;
      if (subscriberId === null || this.#pending.has(session)) {
        await this.#joinedSome.wait();
        continue;
      }
      if (asked !== null && asked !== subscriberId) return messages.length;
      try {
        const { result } = await this.#parts.ask(MESSAGE, [
          subscriberId,
          session.id,
          messages,
          from,
        ], {});
        // The connection no longer exists at the owner: this node will learn of its closing soon.
        if (result === 0) return messages.length;
        if (result !== null) return result as number;
        this.#ownerChanged(subscriberId);
      } catch (thrown) {
        const error = toAtlasError(thrown);
        // If they are sent to the same owner again, it knows which of them it has already received.
        if (error.maybeExecuted) asked = subscriberId;
        else if (!error.retryable) {
          session.reject(error);
          return messages.length;
        }
        await this.#pause(attempt++);
      }
    }
    return messages.length;
  }

  /**
   * Joins all sessions that have to be joined, some at a time. The first join registers this node.
   */
  async #join(): Promise<void> {
    if (this.#isJoining) return;
    this.#isJoining = true;
    for (let attempt = 0; this.#pending.size > 0; attempt++) {
      const sessions = [...this.#pending].slice(0, MAX_JOINS);
      const registers = this.#subscriberId === null;
      const subscriberId = this.#subscriberId ?? this.#parts.random.uuid();
      // The owner may know these sessions from now on, including those that have ended meanwhile.
      const known = (): void => {
        for (const session of sessions) {
          session.isKnown = true;
          if (session.isOver) void this.#notifyClosed(subscriberId, session);
        }
      };
      try {
        const { result, epoch } = await this.#parts.ask(
          CONNECT,
          [subscriberId, this.#parts.incarnation(), registers, sessions.map(joinRequestOf)],
          {},
        );
        known();
        if (!registers && this.#subscriberId !== subscriberId) continue;
        if (result === null) this.#ownerChanged(subscriberId);
        else if (await this.#takeResults(subscriberId, sessions, result as JoinResult[], epoch)) {
          attempt = -1;
          continue;
        }
        await this.#pause(attempt);
      } catch (error) {
        if (toAtlasError(error).maybeExecuted) known();
        this.#refuse(error, sessions);
        await this.#pause(attempt);
      }
    }
    this.#isJoining = false;
  }

  /** Takes the owner's answer for each session. Resolves to whether any session could be joined. */
  async #takeResults(
    subscriberId: string,
    sessions: readonly ClientSession[],
    results: readonly JoinResult[],
    epoch: number,
  ): Promise<boolean> {
    const joined: Joined[] = [];
    sessions.forEach((session, i) => {
      const result = results[i] as JoinResult;
      if (typeof result[0] === "number") {
        const [seq, gap, lost = seq] = result as readonly [number, boolean, number?];
        joined.push({ session, seq, lost: gap ? lost : null });
        return;
      }
      const [code, message, retryable] = result as readonly [string, string, boolean];
      if (!retryable) session.reject(new AtlasError(code as ErrorCode, message));
    });
    if (joined.length === 0 || this.#ended.signal.aborted) return false;
    const least = Math.min(...joined.map(({ seq }) => seq));
    this.#epoch = Math.max(this.#epoch, epoch);
    if (this.#subscriberId === null) {
      [this.#subscriberId, this.#at, this.#closed] = [subscriberId, least, 0];
      void this.#poll(subscriberId);
    }
    const past = await this.#past(joined);
    // Another owner may have taken over meanwhile. Then all sessions are joined to that owner.
    if (this.#subscriberId !== subscriberId) return true;
    for (const one of joined) {
      const { session, seq, lost } = one;
      if (!this.#pending.delete(session)) continue;
      const isLost = past === null && lacks(one);
      session.joined(epoch, seq, isLost ? seq : lost, isLost ? [] : past ?? []);
    }
    this.#joinedSome.notify();
    return true;
  }

  /** The events that sessions have missed; null if some of these events are lost. */
  async #past(joined: readonly Joined[]): Promise<EncodedEvent[] | null> {
    const back = joined.filter(lacks);
    if (back.length === 0) return [];
    const ids = back.flatMap((
      { session },
    ) => [session.id, ...session.former === null ? [] : [session.former]]);
    const until = Math.max(...back.map(({ seq }) => seq));
    let after = Math.min(...back.map(startOf));
    const past: EncodedEvent[] = [];
    try {
      while (after < until) {
        const options = { signal: this.#ended.signal };
        const { result } = await this.#parts.ask(REPLAY, [after, until, ids], options);
        const answer = result as ReplayAnswer;
        if (answer === null || answer[0] <= after) return null;
        for (const event of answer[1]) past.push(new EncodedEvent(event));
        after = answer[0];
      }
    } catch {
      return null;
    }
    return past;
  }

  /** Polls for events while the owner knows this node by this subscriber id. */
  async #poll(subscriberId: string): Promise<void> {
    for (let attempt = 0; this.#subscriberId === subscriberId;) {
      try {
        const { result, epoch } = await this.#parts.ask(
          EVENTS,
          [subscriberId, this.#parts.incarnation(), this.#at, this.#closed],
          { timeoutMs: POLL_MS + GRACE_MS, signal: this.#ended.signal },
        );
        if (this.#subscriberId !== subscriberId) return;
        attempt = 0;
        if (result === null) this.#ownerChanged(subscriberId);
        else await this.#deliverAndPause(result as NonNullable<EventsAnswer>, epoch);
      } catch (error) {
        if (this.#subscriberId !== subscriberId) return;
        this.#refuse(error, [...this.#sessions.values()]);
        await this.#pause(attempt++);
      }
    }
  }

  /**
   * Delivers events. If that took a while, because there are many sockets, waits for as long: then
   * the events that come meanwhile are sent together, at the cost of a single one, and others get
   * their turn.
   */
  async #deliverAndPause(answer: NonNullable<EventsAnswer>, epoch: number): Promise<void> {
    const { clock } = this.#parts;
    const since = clock.now();
    this.#deliver(answer, epoch);
    const tookMs = clock.now() - since;
    if (tookMs >= 1) await pause(clock, Math.min(tookMs, MAX_PAUSE_MS));
  }

  #deliver(
    [upto, gap, events, closings, closed]: NonNullable<EventsAnswer>,
    epoch: number,
  ): void {
    this.#epoch = Math.max(this.#epoch, epoch);
    const all = [...this.#sessions.values()];
    if (gap) all.forEach((session) => session.missed(this.#epoch, upto));
    for (const run of runsOf(events)) {
      this.#parts.stats.socketEvents += run.to === null ? all.length * run.events.length : 1;
      if (run.to !== null) this.#sessions.get(run.to)?.sendRun(run);
      else for (const session of all) session.sendRun(run);
    }
    this.#at = upto;
    this.#closed = closed;
    for (const [id, reason] of closings) this.#sessions.get(id)?.end(CLOSED, reason);
  }

  /**
   * The owner doesn't know this subscriber id: it is another owner than before, or the same one
   * after this node was silent for too long. All sessions are joined again.
   */
  #ownerChanged(subscriberId: string): void {
    if (this.#subscriberId === subscriberId) this.#subscriberId = null;
    if (this.#subscriberId !== null) return;
    for (const session of this.#sessions.values()) {
      session.rejoin();
      this.#pending.add(session);
    }
    void this.#join();
  }

  /** Closes sessions for an error that a retry can't fix. */
  #refuse(error: unknown, sessions: readonly ClientSession[]): void {
    if (this.#ended.signal.aborted || (isAtlasError(error) && error.retryable)) return;
    for (const session of sessions) session.reject(error);
  }

  #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#parts;
    return pause(clock, backoffMs(random, attempt, RETRY_MS, RETRY_MOST_MS));
  }

  #end(): void {
    this.#subscriberId = null;
    this.#ended.abort();
    this.#joinedSome.notify();
    this.#parts.empty();
  }
}

function joinRequestOf({ id, position, former, resumed, epoch }: ClientSession): JoinRequest {
  return [id, position, former, resumed, epoch];
}

/** The number after which missing events can still be fetched; `seq` if none is missing. */
function startOf({ session: { position }, seq, lost }: Joined): number {
  return lost ?? position ?? seq;
}

function lacks(joined: Joined): boolean {
  return startOf(joined) < joined.seq;
}
