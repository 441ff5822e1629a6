/**
 * Serves a node's client sockets: checks each one, adds it to this node's subscription to its
 * resource, and pings it while nothing else is sent.
 *
 * Takes sockets of any kind, opened by an adapter; exchanges the frames of `model/socket_frames.ts`
 * with them. Reaches owners by this node's own calls, so that the router does the routing,
 * deadlines and retries.
 *
 * Source: `docs/design.md`, Client sockets.
 */
import type { ConnectionOptions, SocketStats } from "../api/sockets.ts";
import { AtlasError } from "../errors.ts";
import {
  CLOSED_SOCKET_MS,
  DEFAULT_TIMEOUT_MS,
  MAX_CLOSED_SOCKET_BYTES,
  MAX_METHOD,
  MAX_SOCKETS,
  SOCKET_LEAVE_MS,
  SOCKET_PING_MS,
} from "../limits.ts";
import { Expiring } from "../model/expiring.ts";
import { checkMs, shown } from "../model/options.ts";
import { checkToken, resourceKey } from "../model/rrp.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Socket, SocketHandlers } from "../ports/runtime.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Locator } from "../routing/locator.ts";
import type { Router } from "../routing/router.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { Signal } from "../time/wait.ts";
import { ClientSession, RESTART } from "./client_session.ts";
import { Subscription } from "./subscription.ts";

/**
 * How long a draining node waits until all messages of its sockets are delivered, and owners know
 * that the sockets have gone, in ms.
 */
const CLOSING_MS = 2_000;
const DRAINING = "the node is draining: connect to another";

/** A resource. */
type Target = { readonly type: string; readonly key: string };

export interface SocketServerParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
  readonly random: Random;
  /** The node's current life. */
  readonly life: () => NodeLife;
  /** For calls of this node itself. */
  readonly router: Pick<Router, "call">;
  /** For calls of clients: refuses internal methods. */
  readonly callForClient: Router["call"];
  readonly locator: Pick<Locator, "checkType">;
}

export class SocketServer {
  readonly stats: SocketStats = { sockets: 0, socketEvents: 0, cutSockets: 0, unheardSockets: 0 };
  readonly #parts: SocketServerParts;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #sessions = new Set<ClientSession>();
  readonly #leaving = new Set<Promise<void>>();
  /** Notified when a socket has closed, or its session has ended. */
  readonly #closedOne = new Signal();
  /**
   * Closed sockets with messages that wait for delivery, and the size of these messages, in bytes.
   */
  readonly #closings = new Map<ClientSession, number>();
  #closedBytes = 0;
  #isClosed = false;

  constructor(parts: SocketServerParts) {
    this.#parts = parts;
  }

  /**
   * Returns the function that takes a client's socket.
   *
   * @throws AtlasError `invalid_rrp` or `bad_request` if the name or an option isn't allowed,
   * `not_found` if no node runs the type, `overloaded`, `unavailable` if the node is draining or
   * closed.
   */
  accept(type: string, id: string, options: ConnectionOptions): SocketHandlers {
    checkToken("type", type);
    const target = { type, key: resourceKey(type, id) };
    const { after, former, identity, callerRegion } = options;
    if (after !== undefined && !(Number.isSafeInteger(after) && after >= 0)) {
      throw new AtlasError("bad_request", `after is ${after}: it must be an event's number`);
    }
    if (callerRegion !== undefined) checkToken("callerRegion", callerRegion);
    for (const id of [former, identity?.id]) {
      if (id === undefined || /^[0-9a-f-]{36}$/.test(id)) continue;
      throw new AtlasError("bad_request", "connection must be the id that a hello named");
    }
    this.#parts.locator.checkType(type);
    this.#checkRoom();
    let session: ClientSession | null = null;
    return {
      open: (socket) => {
        try {
          this.#checkRoom();
          session = this.#openSession(target, options, socket);
        } catch {
          socket.close(RESTART, "the node has too many sockets");
        }
      },
      message: (_socket, data) => session?.received(data),
      close: () => session?.close(),
    };
  }

  /**
   * Refuses new sockets, and asks all clients to connect to another node; continues to read until
   * they have closed or the time limit has passed, then closes the rest. Resolves once all their
   * messages are delivered and owners know that the sockets have closed, or after a time limit.
   */
  async drain(): Promise<void> {
    this.#isClosed = true;
    for (const session of [...this.#sessions]) session.leave();
    await this.#until(SOCKET_LEAVE_MS, () => this.stats.sockets === 0);
    for (const session of [...this.#sessions]) session.closeAfterDelivery(RESTART, DRAINING);
    await this.#until(CLOSING_MS, () => this.#sessions.size + this.#leaving.size === 0);
  }

  /** Closes all sockets at once, and drops their waiting frames. */
  close(): void {
    this.#isClosed = true;
    for (const session of [...this.#sessions]) session.end(RESTART, DRAINING);
  }

  /**
   * Resolves once a condition holds, or after `ms`. The condition is checked whenever a socket has
   * ended.
   */
  async #until(ms: number, condition: () => boolean): Promise<void> {
    let isLate = false;
    const timer = this.#parts.clock.after(ms, () => {
      isLate = true;
      this.#closedOne.notify();
    });
    while (!condition() && !isLate) await this.#closedOne.wait();
    timer.cancel();
  }

  #checkRoom(): void {
    if (this.#isClosed) throw new AtlasError("unavailable", DRAINING);
    if (this.#sessions.size < MAX_SOCKETS) return;
    throw new AtlasError("overloaded", `${MAX_SOCKETS} sockets are open at this node already`);
  }

  #openSession(target: Target, options: ConnectionOptions, socket: Socket): ClientSession {
    const subscription = this.#subscriptionOf(target);
    const { clock, callForClient, random } = this.#parts;
    const { callerRegion, identity } = options;
    let deliveryTimer: Timer | null = null;
    const session = new ClientSession({
      id: identity?.id ?? random.uuid(),
      resume: identity?.resume,
      codec: options.codec,
      after: options.after ?? null,
      former: options.former ?? null,
      stats: this.stats,
      deliverMessages: (session, messages, from) =>
        subscription.deliverMessages(session, messages, from),
      closed: (session) => {
        ping.stop();
        deliveryTimer = this.#closed(session);
      },
      ended: (session) => {
        deliveryTimer?.cancel();
        this.#gone(session, subscription);
      },
      now: () => clock.now(),
      call: async ({ method, args, timeoutMs, idempotencyKey }, waitedMs, signal) => {
        const given = {
          signal,
          timeoutMs: leftOf(timeoutMs, waitedMs, target.key, method),
          ...idempotencyKey !== undefined && { idempotencyKey },
          ...callerRegion !== undefined && { callerRegion },
        };
        return await callForClient(target, method, args, given, null);
      },
    }, socket);
    const ping = new Ping(this.#parts, session);
    this.#sessions.add(session);
    this.stats.sockets++;
    subscription.add(session);
    return session;
  }

  /**
   * A socket has closed: its messages are delivered if there is room for them, and until a time
   * limit.
   */
  #closed(session: ClientSession): Timer | null {
    this.stats.sockets--;
    this.#closedOne.notify();
    const bytes = session.waitingBytes;
    if (bytes === 0) return null;
    this.#closedBytes += bytes;
    this.#closings.set(session, bytes);
    const giveUp = (): void => {
      this.stats.unheardSockets++;
      session.giveUp();
    };
    const hasRoom = this.#closedBytes <= MAX_CLOSED_SOCKET_BYTES;
    return this.#parts.clock.after(hasRoom ? CLOSED_SOCKET_MS : 0, giveUp);
  }

  #gone(session: ClientSession, subscription: Subscription): void {
    if (!this.#sessions.delete(session)) return;
    this.#closedBytes -= this.#closings.get(session) ?? 0;
    this.#closings.delete(session);
    const left = subscription.remove(session).finally(() => {
      this.#leaving.delete(left);
      this.#closedOne.notify();
    });
    this.#leaving.add(left);
  }

  #subscriptionOf(target: Target): Subscription {
    const { key } = target;
    let subscription = this.#subscriptions.get(key);
    if (!subscription) {
      const { clock, random, life, router } = this.#parts;
      const empty = (): void => {
        if (this.#subscriptions.get(key) === subscription) this.#subscriptions.delete(key);
      };
      subscription = new Subscription({
        clock,
        random,
        incarnation: () => life().incarnation,
        stats: this.stats,
        ask: (method, args, options) => router.call(target, method, args, options, null),
        empty,
      });
      this.#subscriptions.set(key, subscription);
    }
    return subscription;
  }
}

/**
 * The remaining time of a call, in ms. @throws AtlasError `bad_request`; `timeout` if no time is
 * left
 */
function leftOf(
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
  waitedMs: number,
  key: string,
  method: string,
): number {
  const leftMs = checkMs("timeoutMs", timeoutMs) - waitedMs;
  if (leftMs > 0) return Math.max(1, leftMs);
  throw new AtlasError(
    "timeout",
    `${key} ${shown(method, MAX_METHOD)}: the deadline passed before it could be sent to the owner`,
  );
}

/** A socket that is pinged. */
export interface Pinged {
  readonly isClosed: boolean;
  /** When a frame was last sent to it, monotonic ms. */
  readonly sentAt: number;
  /** Sends `ping`, if hello was sent. */
  ping(): void;
}

export interface PingParts {
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
}

/** Sends the pings of one socket, until it is closed. */
export class Ping extends Expiring {
  readonly #parts: PingParts;
  readonly #session: Pinged;

  constructor(parts: PingParts, session: Pinged) {
    super();
    this.#parts = parts;
    this.#session = session;
    parts.deadlines.add(this, parts.clock.now() + SOCKET_PING_MS);
  }

  stop(): void {
    this.#parts.deadlines.remove(this);
  }

  override expire(): void {
    const { clock, deadlines } = this.#parts;
    if (this.#session.isClosed) return;
    const now = clock.now();
    if (now - this.#session.sentAt >= SOCKET_PING_MS) this.#session.ping();
    const due = this.#session.sentAt + SOCKET_PING_MS;
    // Before hello nothing is sent.
    deadlines.add(this, due > now ? due : now + SOCKET_PING_MS / 3);
  }

  override onWheelClosed(): void {}
}
