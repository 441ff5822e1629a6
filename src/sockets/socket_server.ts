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
  MAX_CLOSED_SOCKET_BYTES,
  MAX_SOCKETS,
  SOCKET_LEAVE_MS,
} from "../limits.ts";
import { checkToken, resourceKey } from "../model/rrp.ts";
import type { Timer } from "../ports/clock.ts";
import type { Socket, SocketHandlers } from "../ports/runtime.ts";
import type { Locator } from "../routing/locator.ts";
import { Signal } from "../time/wait.ts";
import { ClientSession, RESTART } from "./client_session.ts";
import { ResourceSessions, type ResourceSessionsParts, type Target } from "./resource_sessions.ts";

/**
 * How long a draining node waits until all messages of its sockets are delivered, and owners know
 * that the sockets have gone, in ms.
 */
const CLOSING_MS = 2_000;
const DRAINING = "the node is draining: connect to another";

export interface SocketServerParts
  extends Omit<ResourceSessionsParts, "stats" | "closed" | "ended" | "empty"> {
  readonly locator: Pick<Locator, "checkType">;
}

export class SocketServer {
  readonly stats: SocketStats = { sockets: 0, socketEvents: 0, cutSockets: 0, unheardSockets: 0 };
  readonly #parts: SocketServerParts;
  readonly #shared: ResourceSessionsParts;
  readonly #hosts = new Map<string, ResourceSessions>();
  readonly #sessions = new Set<ClientSession>();
  readonly #leaving = new Set<Promise<void>>();
  /** Notified when a socket has closed, or its session has ended. */
  readonly #closedOne = new Signal();
  /**
   * Closed sockets with messages that wait for delivery; the size of these messages, in bytes, and
   * the timer of the time limit.
   */
  readonly #closings = new Map<
    ClientSession,
    { readonly bytes: number; readonly timer: Timer }
  >();
  #closedBytes = 0;
  #isClosed = false;

  constructor(parts: SocketServerParts) {
    this.#parts = parts;
    this.#shared = {
      ...parts,
      stats: this.stats,
      closed: (session) => this.#closed(session),
      ended: (session, of) => this.#gone(session, of),
      empty: (of) => {
        if (this.#hosts.get(of.target.key) === of) this.#hosts.delete(of.target.key);
      },
    };
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
          return session = this.#openSession(target, options, socket);
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
    const host = this.#hostOf(target);
    const { after = null, former = null, identity, codec, callerRegion } = options;
    const session = new ClientSession(host, {
      id: identity?.id ?? this.#parts.random.uuid(),
      resume: identity?.resume,
      codec,
      after,
      former,
      callerRegion,
    }, socket);
    this.#sessions.add(session);
    this.stats.sockets++;
    host.subscription.add(session);
    return session;
  }

  /**
   * A socket has closed: its messages are delivered if there is room for them, and until a time
   * limit.
   */
  #closed(session: ClientSession): void {
    this.stats.sockets--;
    this.#closedOne.notify();
    const bytes = session.waitingBytes;
    if (bytes === 0) return;
    this.#closedBytes += bytes;
    const giveUp = (): void => {
      this.stats.unheardSockets++;
      session.giveUp();
    };
    const hasRoom = this.#closedBytes <= MAX_CLOSED_SOCKET_BYTES;
    const timer = this.#parts.clock.after(hasRoom ? CLOSED_SOCKET_MS : 0, giveUp);
    this.#closings.set(session, { bytes, timer });
  }

  #gone(session: ClientSession, { subscription }: ResourceSessions): void {
    if (!this.#sessions.delete(session)) return;
    const closing = this.#closings.get(session);
    if (closing) {
      closing.timer.cancel();
      this.#closedBytes -= closing.bytes;
      this.#closings.delete(session);
    }
    const left = subscription.remove(session).finally(() => {
      this.#leaving.delete(left);
      this.#closedOne.notify();
    });
    this.#leaving.add(left);
  }

  #hostOf(target: Target): ResourceSessions {
    const { key } = target;
    let host = this.#hosts.get(key);
    if (!host) {
      host = new ResourceSessions(this.#shared, target);
      this.#hosts.set(key, host);
    }
    return host;
  }
}
