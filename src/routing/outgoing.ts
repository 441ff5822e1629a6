/**
 * A call that the router sends, to another node or to a resource here: its deadline, the link that
 * carries it, and whether it may have been executed.
 *
 * A local caller makes it (`local_call.ts`), or it comes over a link and has to be passed on
 * (`relayed_call.ts`). Queues, the router and links treat both alike.
 */
import { asMaybeExecuted, AtlasError, withPreviousError } from "../errors.ts";
import { MAX_METHOD } from "../limits.ts";
import type { Session, Waiter } from "../links/links.ts";
import type { Body } from "../model/body.ts";
import { Call } from "../model/call.ts";
import type { Caller } from "../model/call_path.ts";
import type { Failure, Reply } from "../model/envelope.ts";
import { shown } from "../model/options.ts";
import type { DegradedVerdict, Ownership } from "../model/ownership.ts";

/** What an outgoing call needs of the router. */
export interface CallRouter {
  /** This node. */
  readonly place: Caller;
  /** The path of a call whose last node is this one. */
  readonly ownPath: readonly string[];
  /** The other region that is a key's home; null if this region is its home, or it has no home. */
  remoteHomeOf(key: string): string | null;
  /** It failed; the router sends it again or settles it. */
  failed(call: Outgoing, error: AtlasError, owner: Ownership | null): void;
  /** It expired, but stays pending until {@link Outgoing.expiresAt}. */
  extended(call: Outgoing): void;
  /** It was settled, with an error if one is given; `outcome` is for its trace. */
  settled(call: Outgoing, error: AtlasError | null, outcome: string): void;
}

const NOWHERE: readonly string[] = [];

export abstract class Outgoing extends Call {
  abstract override readonly key: string;
  abstract readonly type: string;
  /**
   * Its number among all calls sent from here. A retry keeps its number, and so its place in the
   * order.
   */
  abstract readonly number: number;
  /** The nodes that it went through before this one; none for a call that was made here. */
  abstract readonly via: readonly string[];
  /** The region that it is made for; null: that of the node where it started. */
  abstract readonly region: string | null;
  /** The highest epoch of an owner that its caller has reported. */
  abstract readonly epoch: number;
  /** How often it may be sent again. */
  abstract readonly maxRedirects: number;
  /** How often it was sent to a node that wasn't the owner, or was lost with a link. */
  redirects = 0;
  /** Whether it was dispatched to a resource here. */
  isDispatched = false;
  /** The request by which it was sent over a link; null while this node holds it. */
  carrier: PendingRequest | null = null;
  /** Whether later calls of its key must not overtake it. */
  isOrdered = false;
  /** The nodes that it last reached beyond this one, if known. */
  remotePath: readonly string[] = NOWHERE;
  protected readonly router: CallRouter;
  #lastError: AtlasError | null = null;
  #mayHaveRunBefore = false;

  constructor(router: CallRouter) {
    super();
    this.router = router;
  }

  /** The encoded arguments. @throws AtlasError `bad_request`, `payload_too_large` */
  abstract get body(): Body;

  /**
   * Takes the answer that came over a link; `body` is valid only during the call. @throws if it
   * can't be decoded
   */
  abstract answered(
    body: Body,
    owner: Ownership,
    path: readonly string[],
    verdict: DegradedVerdict | null,
  ): void;

  /** Settles it with an error; `path` lists the nodes that it reached, from this node on. */
  protected abstract refuse(
    error: AtlasError,
    owner: Ownership | null,
    path: readonly string[],
  ): void;

  /** When it expires, monotonic ms. */
  get expiresAt(): number {
    return this.deadline;
  }

  /** Stops listening for its caller. */
  protected unlisten(): void {}

  /** The nodes that it has reached, this one first. */
  get path(): readonly string[] {
    const beyond = this.carrier ? [this.carrier.session.name] : this.remotePath;
    const { ownPath } = this.router;
    return beyond.length === 0 ? ownPath : [...ownPath, ...beyond];
  }

  /** It was dispatched to its resource here. */
  arrived(): void {
    this.remotePath = NOWHERE;
    this.isDispatched = true;
  }

  /** Records why it had to wait: part of the error if its time runs out. */
  get lastError(): AtlasError | null {
    return this.#lastError;
  }

  set lastError(error: AtlasError | null) {
    this.#lastError = error;
    // Effects of one attempt may remain, whatever the result of the next attempt.
    if (error?.maybeExecuted) this.#mayHaveRunBefore = true;
  }

  override fail(error: AtlasError, owner: Ownership | null = null): void {
    if (!this.done) this.router.failed(this, error, owner);
  }

  /** Ends it with an error. It is not sent again. */
  reject(error: AtlasError, owner: Ownership | null = null): void {
    if (this.done) return;
    const { path } = this;
    const last = this.#lastError;
    const whole = error.code === "timeout" && last ? withPreviousError(error, last) : error;
    const reported = this.#mayHaveRunBefore ? asMaybeExecuted(whole) : whole;
    this.settle(reported);
    super.cancel(reported);
    this.refuse(reported, owner, path);
  }

  override expire(): void {
    this.leave("the deadline passed", undefined);
  }

  override onWheelClosed(): void {
    const maybeExecuted = this.#mayHaveRun;
    this.reject(new AtlasError("unavailable", "the node was closed", { maybeExecuted }));
  }

  /** Its caller no longer waits: cancels it at the node that has it, and ends it. */
  protected leave(what: string, cause: unknown): void {
    const { carrier } = this;
    const maybeExecuted = this.#mayHaveRun;
    carrier?.session.cancel(carrier.id);
    const message = `${this.key} ${shown(this.method, MAX_METHOD)}: ${what}${this.#whereabouts}`;
    this.reject(new AtlasError("timeout", message, { maybeExecuted, cause }));
  }

  protected settle(error: AtlasError | null, outcome: string = error?.code ?? "ok"): void {
    this.done = true;
    this.unlisten();
    this.router.settled(this, error, outcome);
    this.carrier = null;
  }

  /** The node or region that did not answer, if that isn't this node. */
  get #whereabouts(): string {
    if (this.carrier) return `, and ${this.carrier.session.name} did not answer`;
    const home = this.router.remoteHomeOf(this.key);
    return home === null ? "" : `, and its home, region ${home}, did not answer`;
  }

  get #mayHaveRun(): boolean {
    return this.started || this.carrier !== null || this.#mayHaveRunBefore;
  }
}

/** Removes calls that nobody waits for, in place. */
export function sweep(calls: Outgoing[]): void {
  let kept = 0;
  for (const call of calls) if (!call.done) calls[kept++] = call;
  calls.length = kept;
}

/** Receives the results of pending requests. */
export interface PendingRequestHandler {
  /** A link brought a call's answer. */
  replied(call: Outgoing, reply: Reply, session: Session, request: PendingRequest): void;
  /** A link brought a call's failure. */
  refused(call: Outgoing, failure: Failure, session: Session, asked: Ownership | null): void;
  /** The link that carried a call broke; `isUnread`: the peer has certainly not read it. */
  lost(call: Outgoing, reason: string, isUnread: boolean): void;
}

/** A call that was sent over a link, and is not answered yet. */
export class PendingRequest implements Waiter {
  readonly call: Outgoing;
  readonly session: Session;
  /** Its number in the session, once it was sent. */
  id = 0;
  /** Whether the other end has to pass it on. */
  readonly relay: boolean;
  /** The presumed owner of the key; null if the receiver may claim it. */
  readonly asked: Ownership | null;
  /** The highest epoch of the key that this node or its caller knew of when it was sent. */
  readonly epoch: number;
  /** The span of this link; null if the call is not traced. */
  readonly span: LinkSpan | null;
  readonly #handler: PendingRequestHandler;

  constructor(
    handler: PendingRequestHandler,
    call: Outgoing,
    session: Session,
    relay: boolean,
    asked: Ownership | null,
    epoch: number,
    span: LinkSpan | null,
  ) {
    this.#handler = handler;
    this.call = call;
    this.session = session;
    this.relay = relay;
    this.asked = asked;
    this.epoch = epoch;
    this.span = span;
  }

  replied(reply: Reply, session: Session): void {
    this.#handler.replied(this.call, reply, session, this);
  }

  failed(failure: Failure, session: Session): void {
    this.#handler.refused(this.call, failure, session, this.asked);
  }

  lost(reason: string, isUnread: boolean): void {
    this.#handler.lost(this.call, reason, isUnread);
  }
}

/** The span of one link that a call goes over. */
export interface LinkSpan {
  /** The `traceparent` that is passed on: its parent is this span. */
  readonly trace: string;
  /** When it was sent, on the monotonic clock. */
  readonly since: number;
}
