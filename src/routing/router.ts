/**
 * Routes calls that start here or are passed on here.
 *
 * A call whose resource's location is known is sent at once. Other calls wait in a queue for each
 * key, in the order in which they were made, while one search runs for all of them. So a burst of
 * calls makes one claim, and a caller's calls stay in order.
 *
 * Source: `docs/design.md`, Claims; Calls.
 */
import type { CallOptions, CallResult } from "../api/calls.ts";
import { AtlasError, fromWireError, toAtlasError } from "../errors.ts";
import { MAX_CALLS, MAX_HOPS, MAX_MAILBOX, STORE_WAIT_MS } from "../limits.ts";
import type { Links, Session } from "../links/links.ts";
import { nodeName } from "../model/call_path.ts";
import { type Failure, type Reply, type Request, requestTuple } from "../model/envelope.ts";
import { ACTIVATE, isPoll } from "../model/internal_methods.ts";
import type { NodeEvent } from "../model/node_event.ts";
import type { Ownership } from "../model/ownership.ts";
import { isLasting } from "../model/refusal.ts";
import { parseKey } from "../model/rrp.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Directory } from "../registry/directory.ts";
import type { Membership } from "../registry/membership.ts";
import { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import { EventLoopYield } from "../time/event_loop_yield.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import { backoffMs, pause } from "../time/wait.ts";
import { CallOrder, PendingCallQueue } from "./call_order.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { type CallContext, LocalCall } from "./local_call.ts";
import type { Locator, Route, Target } from "./locator.ts";
import {
  type CallRouter,
  type Outgoing,
  PendingRequest,
  type PendingRequestHandler,
} from "./outgoing.ts";
import { RelayedCall } from "./relayed_call.ts";
import { CallTracer, outgoingPathOf, pathError } from "./tracing.ts";

const RETRY_MS = 10;
const RETRY_MOST_MS = 500;

/** The parts of a router. */
export interface RouterParts {
  readonly host: Host;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly links: Links;
  readonly locator: Locator;
  readonly clock: Clock;
  readonly random: Random;
  readonly deadlines: TimerWheel;
  readonly place: { readonly region: string; readonly node: string };
  readonly dispatcher: Dispatcher;
  readonly onEvent: (event: NodeEvent) => void;
}

export interface RouterStats {
  calls: number;
  forwards: number;
  relays: number;
}

export class Router implements CallRouter, PendingRequestHandler {
  readonly stats: RouterStats = { calls: 0, forwards: 0, relays: 0 };
  readonly place: { readonly region: string; readonly node: string };
  /** Shared by all answers, so it must not be changed. */
  readonly ownPath: readonly string[];
  /** Keeps the order of calls that later calls must not overtake. */
  readonly callOrder: CallOrder = new CallOrder();
  readonly #parts: RouterParts;
  readonly #name: string;
  readonly #yield: EventLoopYield<Outgoing>;
  readonly #pendingCalls = new Map<string, PendingCallQueue>();
  readonly #tracer: CallTracer;
  #numbers = 0;
  #inFlight = 0;
  #closed = false;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.place = parts.place;
    this.#name = nodeName(parts.place);
    this.ownPath = Object.freeze([this.#name]);
    this.#tracer = new CallTracer(parts);
    this.#yield = new EventLoopYield(parts.clock, (call) => this.#dispatch(call));
  }

  /** Calls made or passed on here that are not settled; polls for events are not counted. */
  get inFlight(): number {
    return this.#inFlight;
  }

  remoteHomeOf(key: string): string | null {
    try {
      return this.#parts.locator.remoteHomeOf(key);
    } catch {
      // A user's rule failed. The call's own search reports that.
      return null;
    }
  }

  /** Takes no more calls. Calls in flight are aborted with the timer wheel. */
  close(): void {
    this.#closed = true;
  }

  /** Calls a method; `isPlain`: resolves to its result alone. Rejects only with an AtlasError. */
  call(
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
    isPlain: boolean = false,
  ): Promise<CallResult> {
    let call: LocalCall;
    try {
      this.#checkRoom();
      const { clock } = this.#parts;
      call = new LocalCall(this, this.#numbers++, target, method, args, options, context, clock);
    } catch (error) {
      return Promise.reject(toAtlasError(error));
    }
    this.stats.calls++;
    const answer = isPlain ? call.answer(true) : call.answer();
    this.#begin(call);
    if (call.wasAborted) call.reject(new AtlasError("timeout", "the caller cancelled the call"));
    else if (!this.#yield.holds(call)) this.#dispatch(call);
    if (!call.done) this.extended(call);
    return answer as Promise<CallResult>;
  }

  /** Sends a call of the node itself over this route, and no other. */
  async ask(key: string, method: string, route: Route): Promise<void> {
    const target = { key, type: parseKey(key).type };
    const { clock } = this.#parts;
    const call = new LocalCall(this, this.#numbers++, target, method, [], {}, null, clock);
    call.maxRedirects = 0;
    const answer = call.answer();
    this.#begin(call);
    this.extended(call);
    this.#send(call, route.session, route.relay, route.owner);
    await answer;
  }

  #begin(call: Outgoing): void {
    if (!isPoll(call.method)) this.#inFlight++;
  }

  /**
   * Passes on a call of a peer, or serves it if the owner is here.
   *
   * @param onEnd runs once it was answered or given up.
   */
  relay(request: Request, session: Session, onEnd: () => void): RelayedCall {
    const now = this.#parts.clock.now();
    const call = new RelayedCall(this, this.#numbers++, request, session, now, onEnd);
    this.stats.relays++;
    this.#begin(call);
    this.extended(call);
    try {
      this.#checkRoom();
      parseKey(request.key);
    } catch (error) {
      call.reject(toAtlasError(error));
    }
    const trouble = call.via.includes(this.#name) && pathError(call.via, this.#name, this.#name);
    if (trouble) call.reject(trouble);
    // The caller is the cached owner and has just released the key. So this call isn't queued
    // behind calls that are being sent to that owner.
    const isActivation = call.method === ACTIVATE;
    if (isActivation) this.#parts.directory.forget(call.key);
    if (call.done || this.#parts.dispatcher.answerForNode(call)) return call;
    if (isActivation) this.#enqueue(call);
    else this.#dispatch(call);
    return call;
  }

  #checkRoom(): void {
    if (this.#closed) throw new AtlasError("unavailable", "the node was closed");
    if (this.#inFlight < MAX_CALLS) return;
    throw new AtlasError("overloaded", `${MAX_CALLS} calls of this node are in flight already`);
  }

  extended(call: Outgoing): void {
    this.#parts.deadlines.add(call, call.expiresAt);
  }

  /** A call was answered, or given up. */
  settled(call: Outgoing, error: AtlasError | null, outcome: string): void {
    this.#tracer.ended(call, outcome);
    this.resume(this.callOrder.arrived(call));
    if (!isPoll(call.method)) this.#inFlight--;
    this.#parts.deadlines.remove(call);
    if (error !== null) this.#tracer.failed(call, error);
  }

  /** Sends held calls, in order. */
  resume(calls: readonly Outgoing[]): void {
    for (const call of calls) this.#dispatch(call);
  }

  /**
   * A call failed. Sends it again if it certainly was not executed, or has an idempotency key, and
   * another owner may succeed.
   *
   * @param path the nodes that it reached beyond this one, if known.
   */
  failed(
    call: Outgoing,
    error: AtlasError,
    owner: Ownership | null,
    path?: readonly string[],
  ): void {
    this.#tracer.ended(call, error.code);
    this.resume(this.callOrder.arrived(call));
    if (call.carrier) call.remotePath = path ?? [call.carrier.session.name];
    call.carrier = null;
    call.isDispatched = false;
    const elsewhere = error.code === "not_owner" || error.code === "unavailable";
    const safe = (!error.maybeExecuted || call.idempotencyKey !== null) && !isLasting(error);
    // This needs the store, and the call doesn't wait for the store.
    const { directory, host } = this.#parts;
    const isOffline = error.code === "unavailable" && host.find(call.key)?.offline;
    if (
      isOffline || !elsewhere || !error.retryable || !safe || call.redirects >= call.maxRedirects
    ) {
      return call.reject(error, owner);
    }
    if (owner) directory.note(call.key, owner);
    call.redirects++;
    call.lastError = error;
    this.#enqueue(call);
  }

  #dispatch(call: Outgoing): void {
    const { host, directory, links, locator } = this.#parts;
    if (call.done) return;
    if (this.#pendingCalls.size > 0 && this.#pendingCalls.has(call.key)) {
      return this.#enqueue(call);
    }
    const here = host.find(call.key);
    if (here) return this.#serveHere(call, here);
    const owner = directory.cached(call.key);
    const present = owner && links.present(owner.incarnation);
    const straight = present?.isUnresponsive === false ? present : null;
    if (!this.callOrder.leaves(call)) {
      if (this.callOrder.holds(call, straight !== null)) return;
      const session = this.callOrder.over(call.key);
      if (session) return this.#send(call, session, true, owner);
    }
    if (straight) return this.#send(call, straight, false, owner);
    const route = owner && locator.ready(owner);
    if (route) this.#send(call, route.session, route.relay, owner);
    else this.#enqueue(call);
  }

  /** Delivers a call to the resource here, unless its caller has seen a later owner. */
  #serveHere(call: Outgoing, activation: Activation): void {
    call.arrived();
    if (activation.epoch >= call.epoch) return this.#parts.dispatcher.deliver(call, activation);
    call.fail(new AtlasError("not_owner", `this node's ownership of ${call.key} has ended`));
  }

  #send(call: Outgoing, session: Session, relay: boolean, owner: Ownership | null): void {
    this.stats.forwards++;
    const trouble = pathError(call.via, this.#name, session.name);
    if (trouble) {
      // This node's cache may name the caller as the owner, so this node looks the owner up again,
      // too.
      this.#parts.directory.forget(call.key);
      return call.reject(trouble, owner);
    }
    const span = this.#tracer.begin(call.trace);
    try {
      const now = this.#parts.clock.now();
      const left = Math.max(1, call.deadlineFrom(now) - now);
      const seen = owner?.epoch ?? 0;
      const known = owner ?? this.#parts.directory.cached(call.key);
      const highest = Math.max(known?.epoch ?? 0, call.epoch);
      const tuple = requestTuple(
        0,
        call.key,
        call.method,
        left,
        relay ? Math.max(seen, call.epoch) : seen,
        call.idempotencyKey,
        call.chain,
        outgoingPathOf(call, this.#name, relay, span?.trace ?? null),
        relay,
      );
      const request = new PendingRequest(this, call, session, relay, owner, highest, span);
      request.id = session.request(tuple, call.body, request);
      call.carrier = request;
      if (relay || session.isUnresponsive) this.callOrder.departed(call, session, relay);
    } catch (error) {
      this.failed(call, toAtlasError(error), null);
    }
  }

  /**
   * A link brought a call's answer. Refuses it if a later owner was known when the call was sent.
   * One that became known since then changes nothing: the call ran while its owner had the key.
   */
  replied(call: Outgoing, reply: Reply, session: Session, request: PendingRequest): void {
    const { epoch, passed } = reply;
    const { asked } = request;
    if (request.epoch > epoch) {
      const message = `an owner of epoch ${epoch} answered, but there is one of ${request.epoch}`;
      return call.fail(new AtlasError("not_owner", message, { maybeExecuted: true }));
    }
    let owner = asked;
    let path = session.path ??= Object.freeze([this.#name, session.name]);
    if (passed !== null || asked?.epoch !== epoch) {
      const incarnation = passed?.incarnation ?? session.peer.incarnation;
      owner = { rrp: reply.rrp || asked?.rrp || "", incarnation, epoch };
      this.#parts.directory.note(call.key, owner);
      if (passed) path = [this.#name, ...passed.path];
    }
    try {
      call.answered(reply.body, owner as Ownership, path, reply.mark);
    } catch (error) {
      call.reject(toAtlasError(error, { maybeExecuted: true }));
    }
  }

  /** A link brought a call's failure. */
  refused(call: Outgoing, failure: Failure, session: Session, asked: Ownership | null): void {
    const error = fromWireError(failure.error);
    if (asked && error.code === "not_owner") this.#parts.directory.forget(call.key, asked.epoch);
    // It could not claim the key or pass the call on: another node is asked next.
    const wasAsked = !asked || call.carrier?.relay === true;
    if (wasAsked && error.code === "unavailable") this.#parts.locator.exclude(session);
    const [rrp, incarnation, epoch] = failure.owner ?? [];
    const owner = rrp === undefined ? null : { rrp, incarnation, epoch } as Ownership;
    if (!call.done) this.failed(call, error, owner, failure.path);
  }

  /** The link that carried a call broke. */
  lost(call: Outgoing, reason: string, isUnread: boolean): void {
    const message = `the link to ${call.carrier?.session.name ?? "its owner"} broke: ${reason}`;
    call.fail(new AtlasError("unavailable", message, { maybeExecuted: !isUnread }));
  }

  /** Appends a call to its key's queue, and starts a search if none is running. */
  #enqueue(call: Outgoing): void {
    const present = this.#pendingCalls.get(call.key);
    const queue = present ?? new PendingCallQueue();
    if (!queue.takes(call)) {
      const message = `${MAX_MAILBOX} calls are waiting for the owner of ${call.key} already`;
      return call.reject(new AtlasError("overloaded", message));
    }
    if (present) return;
    this.#pendingCalls.set(call.key, queue);
    this.#search(call, queue);
  }

  /** Finds or claims the owner of a queue's key, then sends its calls, in order. */
  async #search(
    { key, type, redirects }: Outgoing,
    queue: PendingCallQueue,
  ): Promise<void> {
    const { clock, random, membership } = this.#parts;
    /** The time since when the store can't be reached; null if it can be reached. */
    let outSince: number | null = null;
    // Calls that were redirected repeatedly wait between attempts. Calls that were redirected once
    // don't.
    let attempt = redirects - MAX_HOPS;
    for (;; attempt++) {
      if (attempt > 0) {
        await pause(clock, backoffMs(random, attempt, RETRY_MS, RETRY_MOST_MS));
      }
      if (queue.waiting().length === 0) break;
      const tried = clock.now();
      let target: Target;
      try {
        target = await this.#parts.locator.find(key, type);
      } catch (thrown) {
        attempt = Math.max(attempt, 0);
        const error = toAtlasError(thrown);
        outSince = membership.isReachable() ? null : outSince ?? tried;
        if (!this.#isWorthWaiting(error, outSince)) {
          this.#pendingCalls.delete(key);
          for (const call of queue.waiting()) call.reject(error);
          return;
        }
        queue.fail(error);
        continue;
      }
      this.#pendingCalls.delete(key);
      for (const call of queue.waiting()) {
        if (call.done) continue;
        if (target instanceof Activation) this.#serveHere(call, target);
        else if (this.callOrder.leaves(call) || !this.callOrder.holds(call, false)) {
          this.#send(call, target.session, target.relay, target.owner);
        }
      }
      return;
    }
    this.#pendingCalls.delete(key);
  }

  /** A call waits for an owner until its deadline, and for the store only for a short time. */
  #isWorthWaiting(error: AtlasError, outSince: number | null): boolean {
    if (!error.retryable || error.code === "overloaded" || isLasting(error)) return false;
    return outSince === null || this.#parts.clock.now() - outSince < STORE_WAIT_MS;
  }
}
