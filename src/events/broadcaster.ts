/**
 * Holds a resource's connections and its latest events, at its owner.
 *
 * Events of a turn are buffered until the turn is committed; only then are they numbered and sent.
 * Numbers never repeat: the resource's state has an upper bound, from which the next owner
 * continues. Takes connections from the nodes that hold their sockets, and queues turns of the
 * resource's hooks.
 *
 * Source: `docs/design.md`, Client sockets; State.
 */
import type { Connection } from "../api/resource.ts";
import { AtlasError } from "../errors.ts";
import {
  EVENT_BLOCK,
  MAX_CONNECTIONS,
  MAX_EVENT_BYTES,
  MAX_REPLAY_BYTES,
  MAX_REPLAY_EVENTS,
  SETTLE_EVENTS_MS,
} from "../limits.ts";
import type { Call } from "../model/call.ts";
import type { JoinRequest, JoinResult } from "../model/internal_methods.ts";
import type { Ownership } from "../model/ownership.ts";
import { encodeValue, textToCount } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { pause } from "../time/wait.ts";
import { ConnectionRecords, type EventStorage } from "./connection_records.ts";
import { type Hook, HookCall, NOWHERE } from "./hook_call.ts";
import { type EventBatch, ReplayBuffer, type Unsent } from "./replay_buffer.ts";
import { type Reaped, Subscriber, type SubscriberReaper } from "./subscriber.ts";

/** The field of a resource's state that holds the bound; users' keys have another prefix. */
const BOUND = "q:bound";
/** The field of the latest events, written if a resource with connections stops normally. */
const TAIL = "q:tail";

/**
 * The answer to a join: the last event's number, and the number up to which some events are lost.
 */
interface Joined {
  readonly seq: number;
  readonly lost: number | null;
}

/** What a broadcaster needs of its host. */
export interface BroadcasterParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
  readonly reaper: SubscriberReaper;
  readonly store: Store;
  readonly stats: { events: number };
}

/** What a broadcaster needs of its activation. */
export interface EventOwner {
  readonly key: string;
  readonly owner: Ownership;
  /** Whether it has an `onDisconnect`. */
  readonly hasOnDisconnect: boolean;
  readonly turnCommit: { readonly storage: EventStorage };
  receive(call: Call): void;
  /** Refuses user code that belongs to no turn. @throws AtlasError `bad_request` */
  turn(what: string): unknown;
}

export class EventBroadcaster implements ConnectionOwner, Reaped {
  readonly #parts: BroadcasterParts;
  readonly #activation: EventOwner;
  /** The events sent; null before the bound of their numbers has been read from the state. */
  #replay: ReplayBuffer | null = null;
  /**
   * The numbers up to which events are reserved: in the state, and by the running turn's commit.
   */
  #bound = 0;
  #reserved = 0;
  /**
   * Whether the state has events of a former owner; whether this owner sent any; whether there were
   * receivers.
   */
  #hasTail = false;
  #hasSent = false;
  #hadReceivers = false;
  #pending: PendingEvent[] = [];
  #bytes = 0;
  readonly #connections = new Map<string, ConnectionHandle>();
  readonly #subscribers = new Map<string, Subscriber>();
  /** Null if the resource has no records. */
  readonly #records: ConnectionRecords | null = null;
  readonly #joined = new WeakMap<HookCall, Joined>();
  #isLast = false;
  #isOver = false;

  constructor(parts: BroadcasterParts, activation: EventOwner) {
    this.#parts = parts;
    this.#activation = activation;
    if (!activation.hasOnDisconnect) return;
    this.#records = new ConnectionRecords({
      ...parts,
      key: activation.key,
      storage: () => activation.turnCommit.storage,
      turn: (hook, run) => this.#turn(hook, run),
      watch: () => parts.reaper.watch(this),
      isHere: (id) => this.#connections.has(id),
      end: (id) => {
        const connection = new ConnectionHandle(this, id, "", true);
        connection.isGone = true;
        return (it) => it.onDisconnect(connection);
      },
    });
  }

  /** The number of connections, including those of former owners that may still come back. */
  get size(): number {
    return this.#connections.size + (this.#records?.absent ?? 0);
  }

  get connections(): Iterable<Connection> {
    return [...this.#connections.values()];
  }

  /** The number of the last event. */
  get seq(): number {
    return this.#replay?.last ?? 0;
  }

  /** Whether the running turn has anything to send, or to store for the next owner. */
  get hasPending(): boolean {
    return this.#pending.length > 0 ||
      (this.#isLast && (this.#hasSent || this.seq !== this.#bound));
  }

  /** Sends an event to one connection, or to all, once the running turn is committed. */
  enqueue(data: unknown, to: ConnectionHandle | null): void {
    this.#checkTurn();
    const bytes = encodeValue(data, "the event", MAX_EVENT_BYTES);
    this.#bytes += bytes.length;
    if (this.#bytes > MAX_REPLAY_BYTES || this.#pending.length >= MAX_REPLAY_EVENTS) {
      throw tooMuch();
    }
    if (!to?.isGone) this.#pending.push({ to, data: bytes });
  }

  disconnect(to: ConnectionHandle, reason: string): void {
    this.#checkTurn();
    if (!to.isGone) this.#pending.push({ to, reason });
  }

  /** Reserves the numbers that the running turn's events need. Runs before its commit. */
  async reserveNumbers(): Promise<void> {
    const replay = await this.#open();
    const count = this.#pending.filter((pending) => "data" in pending).length;
    if (!this.#isLast && replay.last + count <= this.#bound) return;
    this.#reserved = replay.last + count + (this.#isLast ? 0 : EVENT_BLOCK);
    const { storage } = this.#activation.turnCommit;
    storage.reserve(BOUND, String(this.#reserved));
    if (this.#isLast && this.#hadReceivers) {
      storage.reserve(TAIL, replay.tail(eventsOf(this.#pending, this.#activation.owner.epoch)));
    } else if (this.#hasTail) storage.reserve(TAIL, null);
  }

  /**
   * Sends the running turn's events. Runs when the turn is committed and the ownership still holds.
   */
  flush(): void {
    this.#bound = Math.max(this.#bound, this.#reserved);
    const { epoch } = this.#activation.owner;
    const closing: ConnectionHandle[] = [];
    for (const pending of this.#pending) {
      if ("reason" in pending) {
        this.#subscribers.get(pending.to.subscriber)?.close(pending.to.id, pending.reason);
        closing.push(pending.to);
      } else if (!pending.to?.isGone) {
        this.#replay?.add(epoch, pending.to?.id ?? null, pending.data);
        this.#parts.stats.events++;
        this.#hasSent = true;
      }
    }
    if (this.#reserved > 0) this.#hasTail = false;
    this.drop();
    for (const subscriber of this.#subscribers.values()) subscriber.answerPoll();
    for (const connection of closing) this.#disconnected(connection);
  }

  /** Drops the running turn's events that were not sent. Runs when the turn is over. */
  drop(): void {
    this.#pending = [];
    this.#bytes = this.#reserved = 0;
  }

  /**
   * This turn is the last one: the next owner continues from its last number, not from the bound.
   */
  markLastTurn(): void {
    this.#isLast = true;
  }

  /** Joins a connection in a turn of its own, in which `onConnect` runs. */
  join(
    subscriber: string,
    [id, after, , resumed, epoch = null]: JoinRequest,
    call: Call,
  ): HookCall {
    let opened: ConnectionHandle | null = null;
    let undo: (() => void) | undefined;
    const hookCall = new HookCall(
      this.#activation.key,
      "onConnect",
      call.deadline,
      call.caller,
      async (it) => {
        const replay = await this.#open();
        const joined = this.#subscribers.get(subscriber);
        if (!joined) {
          throw new AtlasError(
            "unavailable",
            `${this.#activation.key} doesn't know this subscriber any more`,
          );
        }
        const lost = after === null ? null : replay.lostTo(after, epoch);
        const { life } = joined;
        this.#joined.set(hookCall, { seq: replay.last, lost });
        undo = this.#records?.write(id, life);
        const known = this.#connections.get(id);
        if (known) return void (known.subscriber = subscriber);
        if (this.#connections.size >= MAX_CONNECTIONS) {
          const message = `${this.#activation.key} has ${MAX_CONNECTIONS} connections already`;
          throw new AtlasError("overloaded", message);
        }
        opened = new ConnectionHandle(this, id, subscriber, resumed);
        this.#connections.set(id, opened);
        this.#records?.returned(id);
        this.#hadReceivers = true;
        try {
          await it.onConnect(opened);
        } catch (error) {
          // Runs before any turn that reports the connection's end.
          this.#forget(opened);
          throw error;
        }
      },
    );
    hookCall.ended.then((error) => {
      if (error === null) return;
      undo?.();
      if (opened === null) return;
      this.#forget(opened);
      // `onDisconnect` also runs for a connection that an earlier owner had.
      const gone = opened;
      if (this.#records?.has(id)) void this.#records.ended(id, (it) => it.onDisconnect(gone));
    });
    this.#activation.receive(hookCall);
    return hookCall;
  }

  /** The answer to a successful hook call. */
  joinResult(hookCall: HookCall): JoinResult {
    const { seq, lost } = this.#joined.get(hookCall) as Joined;
    if (lost === null) return [seq, false];
    return lost === seq ? [seq, true] : [seq, true, lost];
  }

  /**
   * Starts reading the connections of former owners; returns what to run once turns are possible.
   */
  recall(): (() => Promise<void>) | undefined {
    const recalled = this.#records?.recall(this.#parts.reaper.isDead);
    return recalled && (async () => {
      if (await recalled() > 0) this.#hadReceivers = true;
    });
  }

  /** A current connection. */
  connection(id: string): ConnectionHandle | undefined {
    return this.#connections.get(id);
  }

  /** Delivers a connection's message, in a turn of its own. */
  deliverMessage(connection: ConnectionHandle, data: unknown, call: Call): HookCall {
    const { deadline, caller } = call;
    const hookCall = new HookCall(this.#activation.key, "onMessage", deadline, caller, (it) => {
      if (!connection.isGone) return it.onMessage(connection, data);
    });
    this.#activation.receive(hookCall);
    return hookCall;
  }

  /** Connections have ended at their node. Resolves once `onDisconnect` has run for them. */
  async leave(subscriber: string, ids: readonly string[]): Promise<void> {
    const ended: Promise<unknown>[] = [];
    for (const id of ids) {
      const connection = this.#connections.get(id);
      if (connection?.subscriber === subscriber) ended.push(this.#disconnected(connection));
      else if (!connection && this.#records) ended.push(this.#records.miss(id));
    }
    if (!this.#isUsed(subscriber)) this.#forgetSubscriber(subscriber);
    await Promise.all(ended);
  }

  /**
   * A subscriber polls for events. Returns null if the subscriber isn't known; else the answer
   * comes later.
   */
  poll(call: Call, name: string, life: string, at: number, closed: number): null | undefined {
    const subscriber = this.#subscribers.get(name);
    if (!subscriber) return null;
    const hasNewLife = subscriber.life !== life;
    subscriber.poll(call, life, at, closed);
    if (hasNewLife) this.#records?.rewrite(() => this.#idsOf(name), life);
    return undefined;
  }

  #isUsed(subscriber: string): boolean {
    for (const connection of this.#connections.values()) {
      if (connection.subscriber === subscriber) return true;
    }
    return false;
  }

  /** The connections of a subscriber. */
  #idsOf(subscriber: string): string[] {
    return [...this.#connections.values()].filter((it) => it.subscriber === subscriber).map((
      { id },
    ) => id);
  }

  /** A subscriber, if it is known; with `mayCreate` it is created otherwise. */
  async openSubscriber(
    name: string,
    life: string,
    mayCreate: boolean,
  ): Promise<Subscriber | undefined> {
    const known = this.#subscribers.get(name);
    if (known || !mayCreate) return known;
    const replay = await this.#open();
    if (this.#isOver) return undefined;
    const { clock, deadlines } = this.#parts;
    const subscriber = new Subscriber({
      clock,
      deadlines,
      replay,
      owner: () => this.#activation.owner,
      isHere: (id) => this.#connections.get(id)?.subscriber === name,
    }, life);
    this.#subscribers.set(name, subscriber);
    this.#parts.reaper.watch(this);
    return subscriber;
  }

  /** A subscriber, if it is known. */
  subscriber(name: string): Subscriber | undefined {
    return this.#subscribers.get(name);
  }

  /** Past events for some connections; null if these events were dropped already. */
  replaySince(after: number, until: number, ids: readonly string[]): EventBatch | null {
    if (!this.#replay?.covers(after)) return null;
    return this.#replay.since(after, (to) => to === null || ids.includes(to), until);
  }

  /** Resolves once every subscriber has all events and waits for more, or after a time limit. */
  async settle(): Promise<void> {
    const { clock } = this.#parts;
    const until = clock.now() + SETTLE_EVENTS_MS;
    const isUnsettled = (subscriber: Subscriber): boolean => !subscriber.isSettled;
    while (clock.now() < until && [...this.#subscribers.values()].some(isUnsettled)) {
      await pause(clock, 5);
    }
  }

  sweep(now: number, isDead: (incarnation: string) => boolean): boolean {
    this.#records?.sweep(now, isDead);
    for (const [name, subscriber] of this.#subscribers) {
      if (!subscriber.isGone(now, isDead(subscriber.life))) continue;
      this.#forgetSubscriber(name);
      for (const connection of this.#connections.values()) {
        if (connection.subscriber === name) this.#disconnected(connection);
      }
    }
    return !this.#isOver && this.#subscribers.size + (this.#records?.absent ?? 0) > 0;
  }

  /** Ends this owner's broadcaster: no more events are sent. */
  end(error: AtlasError, next: Ownership | null = null): void {
    this.#isOver = true;
    for (const connection of this.#connections.values()) connection.isGone = true;
    this.#connections.clear();
    this.#records?.stop();
    for (const subscriber of this.#subscribers.values()) subscriber.end(error, next);
    this.#subscribers.clear();
  }

  /** A connection has ended: queues `onDisconnect`. Resolves when the hook has run. */
  async #disconnected(connection: ConnectionHandle): Promise<void> {
    if (connection.isGone) return;
    this.#forget(connection);
    await this.#records?.ended(connection.id, (it) => it.onDisconnect(connection));
  }

  /** Runs a turn that no caller waits for. Resolves to its error; null if it was committed. */
  #turn(hook: string, run: Hook): Promise<AtlasError | null> {
    const hookCall = new HookCall(this.#activation.key, hook, Infinity, NOWHERE, run);
    this.#activation.receive(hookCall);
    return hookCall.ended;
  }

  #forgetSubscriber(name: string): void {
    this.#subscribers.get(name)?.forget();
    this.#subscribers.delete(name);
  }

  #forget(connection: ConnectionHandle): void {
    connection.isGone = true;
    if (this.#connections.get(connection.id) === connection) {
      this.#connections.delete(connection.id);
    }
  }

  async #open(): Promise<ReplayBuffer> {
    if (this.#replay) return this.#replay;
    const { storage } = this.#activation.turnCommit;
    const [text, tail] = await Promise.all([storage.field(BOUND), storage.field(TAIL)]);
    this.#bound = Math.max(this.#bound, textToCount(text, "the number of its last event"));
    this.#hasTail ||= tail !== null;
    return (this.#replay ??= new ReplayBuffer(this.#bound, tail));
  }

  #checkTurn(): void {
    this.#activation.turn("broadcast");
    if (this.#activation.turnCommit.storage.isOpen && !this.#isOver) return;
    const message = "events can only be sent while a call or a hook is running";
    throw new AtlasError("bad_request", message);
  }
}

/** The back end of a connection handle. */
export interface ConnectionOwner {
  enqueue(data: unknown, to: ConnectionHandle): void;
  disconnect(connection: ConnectionHandle, reason: string): void;
}

/** A connection and its subscriber. */
export class ConnectionHandle implements Connection {
  readonly id: string;
  readonly resumed: boolean;
  /** The subscriber's id. */
  subscriber: string;
  isGone = false;
  /** The number of its client's last delivered message; the delivery in progress. */
  lastMessage = 0;
  delivering: Promise<unknown> = Promise.resolve();
  readonly #owner: ConnectionOwner;

  constructor(owner: ConnectionOwner, id: string, subscriber: string, resumed: boolean) {
    this.#owner = owner;
    this.id = id;
    this.subscriber = subscriber;
    this.resumed = resumed;
  }

  send(data: unknown): void {
    this.#owner.enqueue(data, this);
  }

  close(reason: string = ""): void {
    this.#owner.disconnect(this, String(reason).replace(/[^\x20-\x7e]/g, "?").slice(0, 120));
  }
}

/** An event to one connection or to all, or the end of a connection. */
export type PendingEvent =
  | { readonly to: ConnectionHandle | null; readonly data: Uint8Array }
  | { readonly to: ConnectionHandle; readonly reason: string };

/** The events of a turn that are sent once it is committed. */
export function eventsOf(pending: readonly PendingEvent[], epoch: number): Unsent[] {
  return pending.flatMap((it) =>
    "data" in it && !it.to?.isGone ? [{ epoch, to: it.to?.id ?? null, data: it.data }] : []
  );
}

/** The error for a turn that sends too much. */
export function tooMuch(): AtlasError {
  const most = `${MAX_REPLAY_EVENTS} events or ${MAX_REPLAY_BYTES} bytes of them`;
  const message = `a call may send at most ${most}`;
  return new AtlasError("payload_too_large", message);
}
