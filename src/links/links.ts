/**
 * Keeps one link to each peer, and the requests that are waiting for an answer on it.
 *
 * Takes requests to a member, as tuples with encoded bodies; gives each one's answer, or its loss.
 * Passes requests of peers to `routing/inbound.ts`.
 *
 * Source: `docs/design.md`, Calls; Links and messages.
 */
import { AtlasError, messageOf } from "../errors.ts";
import { MAX_LINK_CALLS } from "../limits.ts";
import type { Body } from "../model/body.ts";
import type { Call } from "../model/call.ts";
import { nodeName } from "../model/call_path.ts";
import {
  bodyOf,
  decodeMessage,
  type Failure,
  type Message,
  type Passed,
  type ProcessMessage,
  processTuple,
  type Reply,
  replyTuple,
  type Request,
  tupleOf,
} from "../model/envelope.ts";
import type { DegradedVerdict } from "../model/ownership.ts";
import {
  ANYONE,
  type Link,
  type LinkIdentity,
  type Peer,
  type Transport,
} from "../ports/transport.ts";
import type { NodeLife } from "../registry/lease.ts";
import { Waiters } from "../model/waiters.ts";

const GOODBYE: Message = { kind: "goodbye", id: 0 };
const PONG: Omit<Reply, "id"> = {
  kind: "reply",
  epoch: 0,
  rrp: "",
  passed: null,
  mark: null,
  body: "",
};

/** A request that waits for an answer over a link. Exactly one of these methods runs, once. */
export interface Waiter {
  /** Whether the peer may have passed it on: then the peer's goodbye doesn't settle it. */
  readonly relay: boolean;
  replied(reply: Reply, session: Session): void;
  failed(failure: Failure, session: Session): void;
  /** The link broke: the request may have been executed, unless it was certainly not read. */
  lost(reason: string, isUnread: boolean): void;
}

/** What links report to the rest of the node. */
export interface LinkListener {
  request(request: Request, session: Session): void;
  cancel(id: number, session: Session): void;
  toProcess(message: ProcessMessage, session: Session): void;
  closed(session: Session): void;
  /** A link to a member was opened. */
  reachable(incarnation: string): void;
  /** A member could not be dialled, or its link broke. */
  unreachable(incarnation: string): void;
}

/** Monitors links that owe answers; see `link_monitor.ts`. */
export interface LinkWatch {
  /** An answer is awaited over a session that isn't monitored yet. */
  owes(session: Session): void;
  /** The peer sent something, for the first time since the last round. */
  received(session: Session): void;
  closed(session: Session): void;
}

const NOBODY: LinkWatch = { owes() {}, received() {}, closed() {} };

/** One link and its unanswered requests. */
export class Session {
  /** This node's life when the link was made; the peer addresses this life. */
  readonly life: NodeLife;
  /** Whether calls should take another route: the peer owes answers, and sends nothing. */
  isUnresponsive = false;
  /** Whether it is monitored. */
  isWatched = false;
  /** Rounds since the peer last sent something. */
  missedProbes = 0;
  readonly #link: Link;
  readonly #watch: LinkWatch;
  readonly #waiters = new Waiters<Waiter>();
  /** The peer's requests that are not answered yet, by number; belongs to `routing/inbound.ts`. */
  readonly inbound: Waiters<Call> = new Waiters();
  /**
   * About the number of calls of modules that are not answered yet, in both directions; belongs to
   * `lambda/bus/message_bus.ts`.
   */
  moduleCalls = 0;
  #nextId = 1;
  #open = true;
  /** The peer said goodbye: it takes no more requests. */
  #isDrained = false;
  #name: string | null = null;
  /** The path of calls that the peer answers; belongs to `routing/router.ts`. */
  path: readonly string[] | null = null;

  constructor(link: Link, life: NodeLife, watch: LinkWatch) {
    this.#link = link;
    this.life = life;
    this.#watch = watch;
  }

  get peer(): LinkIdentity {
    return this.#link.peer;
  }

  /** The peer's name in paths. */
  get name(): string {
    return (this.#name ??= nodeName(this.peer));
  }

  /** Whether requests can be sent over it. */
  get acceptsRequests(): boolean {
    return this.#open && !this.#isDrained;
  }

  /** Whether an answer is awaited over it, or was given up and the peer has sent nothing since. */
  get isOwing(): boolean {
    return this.#waiters.size > 0 || this.missedProbes > 0;
  }

  /** About the number of requests that are not answered yet, in both directions. */
  get inFlight(): number {
    return this.#waiters.size + this.inbound.size + this.moduleCalls;
  }

  /** The requests that wait for answers over it. */
  get waiters(): Iterable<Waiter> {
    return this.#waiters.all().map(([, waiter]) => waiter);
  }

  /** Sends a ping. Returns false, and sends nothing, if the link is closed or backed up. */
  ping(waiter: Waiter): boolean {
    return this.acceptsRequests && this.#ping(waiter);
  }

  #ping(waiter: Waiter): boolean {
    const id = this.#nextId++;
    if (!this.#open || !this.#link.send(tupleOf({ kind: "ping", id }), "")) return false;
    this.#await(id, waiter);
    return true;
  }

  /**
   * Sends the goodbye: this node owns nothing any more. Resolves once the peer has read it, or has
   * gone.
   */
  goodbye(): Promise<void> {
    this.send(GOODBYE);
    return new Promise((resolve) => {
      const heard = (): void => resolve();
      // As for calls that are passed on: a goodbye of the peer doesn't settle it.
      const waiter: Waiter = { relay: true, replied: heard, failed: heard, lost: heard };
      if (!this.#ping(waiter)) resolve();
    });
  }

  /**
   * Sends a request, given as its tuple, and returns the number that it gets, for {@link cancel}.
   *
   * @throws AtlasError `overloaded` if too many are unanswered or too much waits to be sent;
   * `unavailable` if the link is closed. Nothing was sent then.
   */
  request(tuple: unknown[], body: Body, waiter: Waiter): number {
    if (!this.#open) throw new AtlasError("unavailable", "the link is closed");
    if (this.#isDrained) {
      throw new AtlasError("unavailable", `${this.peer.node} owns nothing any more`);
    }
    if (this.#waiters.size >= MAX_LINK_CALLS) {
      throw new AtlasError("overloaded", `${MAX_LINK_CALLS} calls wait on the link already`);
    }
    const id = this.#nextId++;
    tuple[1] = id;
    if (!this.#link.send(tuple, body)) {
      throw new AtlasError("overloaded", `the link to ${this.peer.node} is backed up`);
    }
    this.#await(id, waiter);
    return id;
  }

  #await(id: number, waiter: Waiter): void {
    this.#waiters.add(id, waiter);
    if (!this.isWatched) this.#watch.owes(this);
  }

  /**
   * The caller no longer waits for this answer: notifies the peer, so that the call need not start.
   */
  cancel(id: number): void {
    if (!this.#waiters.take(id)) return;
    // A timeout is a reason to ping the peer.
    this.missedProbes ||= 1;
    this.send({ kind: "cancel", id });
  }

  /** Sends a {@link Reply}, given as its parts; if it can't be sent, the caller times out. */
  reply(
    id: number,
    epoch: number,
    rrp: string,
    passed: Passed | null,
    mark: DegradedVerdict | null,
    body: Body,
  ): void {
    if (this.#open) this.#link.send(replyTuple(id, epoch, rrp, passed, mark), body);
  }

  /** Sends an answer; if it can't be sent, the caller times out. */
  send(message: Message): void {
    if (this.#open) this.#link.send(tupleOf(message), bodyOf(message));
  }

  /**
   * Sends a {@link ProcessMessage}, given as its parts. Returns false, and sends nothing, if the
   * link is closed or backed up.
   */
  sendToProcess(to: string, from: string, content: readonly unknown[], body: Body): boolean {
    return this.#open && this.#link.send(processTuple(to, from, content), body);
  }

  close(reason: string): void {
    this.#link.close(reason);
  }

  /** Passes an answer of the peer to the request that waits for it. */
  settle(message: Reply | Failure): void {
    const waiter = this.#waiters.take(message.id);
    if (!waiter) return;
    if (message.kind === "reply") waiter.replied(message, this);
    else waiter.failed(message, this);
  }

  /**
   * The peer owns nothing any more: requests that it has not answered can safely be sent elsewhere.
   */
  drained(): void {
    this.#isDrained = true;
    const why = `${this.peer.node} owns nothing any more`;
    for (const [id, { relay }] of this.#waiters.all()) {
      if (relay) continue;
      this.settle({ kind: "failure", id, error: ["not_owner", why, true, false], owner: null });
    }
  }

  /** The link is closed: nothing more will be answered. */
  closed(reason: string, isUnread: boolean): void {
    this.#open = false;
    this.abandonRequests(reason, isUnread);
  }

  /** This node no longer waits for the peer's answers; the peer's own requests are still served. */
  abandonRequests(reason: string, isUnread: boolean): void {
    for (const waiter of this.#waiters.takeAll()) waiter.lost(reason, isUnread);
  }
}

export class Links {
  /** Set once, before links are opened. */
  watch: LinkWatch = NOBODY;
  readonly #transport: Transport;
  readonly #listener: LinkListener;
  /** All open sessions; two to a peer if both dialled at once. */
  readonly #sessions = new Set<Session>();
  /** The session over which this node sends requests to each peer. */
  readonly #byPeer = new Map<string, Session>();
  /** Dials to members, each with its address and the life that dials. */
  readonly #dialling = new Map<string, readonly [place: string, session: Promise<Session>]>();
  /** Addresses that are being dialled without a known peer, with the life that dials. */
  readonly #addressDials = new Map<string, Promise<Session | null>>();
  #goodbye = false;

  constructor(transport: Transport, listener: LinkListener) {
    this.#transport = transport;
    this.#listener = listener;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** All open sessions. */
  get sessions(): Iterable<Session> {
    return [...this.#sessions];
  }

  /** Takes the identity of `life` from now on; closes links of a former life. */
  async open(self: LinkIdentity, life: NodeLife): Promise<void> {
    await this.#transport.open(self, (link) => this.#start(link, life));
  }

  /** The open session to a peer, if there is one. */
  present(incarnation: string): Session | undefined {
    return this.#byPeer.get(incarnation);
  }

  /** A session to a member, dialled if none is open. @throws AtlasError `unavailable` … */
  to(member: Peer, life: NodeLife): Promise<Session> {
    const { incarnation } = member;
    const present = this.#byPeer.get(incarnation);
    if (present) return Promise.resolve(present);
    const dialling = this.#dialling.get(incarnation)?.[1];
    if (dialling) return dialling;
    const session = this.#dial(member, life).finally(() => this.#dialling.delete(incarnation));
    this.#dialling.set(incarnation, [placeOf(member.address, life), session]);
    return session;
  }

  /**
   * Says goodbye to all peers, including later ones: this node owns nothing any more. Resolves
   * once present peers have read it, and so all messages before it.
   */
  async goodbye(): Promise<void> {
    this.#goodbye = true;
    await Promise.all([...this.#sessions].map((session) => session.goodbye()));
  }

  /**
   * A session to the node that answers at `address`; null if that is this node itself. Concurrent
   * callers share one dial.
   *
   * @throws AtlasError `unavailable` …
   */
  dialAddress(address: string, life: NodeLife): Promise<Session | null> {
    const place = placeOf(address, life);
    const meeting = this.#addressDials.get(place) ??
      this.#dialAddress(address, life).finally(() => this.#addressDials.delete(place));
    this.#addressDials.set(place, meeting);
    return meeting;
  }

  async #dialAddress(address: string, life: NodeLife): Promise<Session | null> {
    const place = placeOf(address, life);
    const [, dialling] = [...this.#dialling.values()].find(([at]) => at === place) ?? [];
    if (dialling) {
      // If that fails, another node than the member may answer.
      const dialled = await dialling.catch(() => null);
      if (dialled?.acceptsRequests) return dialled;
    }
    const [region, node, incarnation] = [ANYONE, ANYONE, ANYONE];
    const link = await this.#transport.dial({ region, node, incarnation, address });
    if (link.peer.incarnation === life.incarnation) {
      link.close("a node needs no link to itself");
      return null;
    }
    const session = this.#start(link, life);
    return this.#byPeer.get(link.peer.incarnation) ?? session;
  }

  async #dial(member: Peer, life: NodeLife): Promise<Session> {
    const { region, node, incarnation, address } = member;
    try {
      const meeting = this.#addressDials.get(placeOf(address, life));
      if (meeting) {
        await meeting;
        const met = this.#byPeer.get(incarnation);
        if (met) return met;
      }
      const link = await this.#transport.dial({ region, node, incarnation, address });
      // Started even if the peer's own dial was faster, because the peer may already send requests
      // over it.
      const session = this.#start(link, life);
      return this.#byPeer.get(incarnation) ?? session;
    } catch (error) {
      this.#listener.unreachable(incarnation);
      throw error;
    }
  }

  #start(link: Link, life: NodeLife): Session {
    const session = new Session(link, life, this.watch);
    this.#sessions.add(session);
    const peer = link.peer.incarnation;
    // A new link proves that the peer is alive; an unresponsive one proves nothing.
    if (this.#byPeer.get(peer)?.isUnresponsive !== false) this.#byPeer.set(peer, session);
    this.#listener.reachable(peer);
    link.start({
      message: (tuple, body) => this.#message(session, tuple, body),
      close: (reason, isUnread = false) => this.#closed(session, reason, isUnread),
      inFlight: () => session.inFlight,
    });
    if (this.#goodbye) session.send(GOODBYE);
    return session;
  }

  #message(session: Session, tuple: unknown, body: Body): void {
    if (session.missedProbes > 0) this.watch.received(session);
    let message: Message;
    try {
      message = decodeMessage(tuple, body);
    } catch (error) {
      return session.close(messageOf(error));
    }
    switch (message.kind) {
      case "request":
        return this.#listener.request(message, session);
      case "cancel":
        return this.#listener.cancel(message.id, session);
      case "process":
        return this.#listener.toProcess(message, session);
      case "ping":
        return session.send({ ...PONG, id: message.id });
      case "goodbye":
        session.drained();
        // The membership is checked soon, too.
        return this.#listener.unreachable(session.peer.incarnation);
      default:
        return session.settle(message);
    }
  }

  #closed(session: Session, reason: string, isUnread: boolean): void {
    const { incarnation } = session.peer;
    this.#sessions.delete(session);
    if (this.#byPeer.get(incarnation) === session) this.#replace(incarnation);
    session.closed(reason, isUnread);
    this.watch.closed(session);
    this.#listener.closed(session);
    this.#listener.unreachable(incarnation);
  }

  /**
   * Sends requests to a peer over another open link from now on, so that no open link stays unused.
   */
  #replace(incarnation: string): void {
    this.#byPeer.delete(incarnation);
    for (const session of this.#sessions) {
      if (session.peer.incarnation !== incarnation) continue;
      this.#byPeer.set(incarnation, session);
      return;
    }
  }
}

/** The key of a dial: an address and the life that dials it. */
function placeOf(address: string, life: NodeLife): string {
  return `${life.incarnation} ${address}`;
}
