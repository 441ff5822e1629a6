/**
 * A call that this node sends to another: its deadline, who carries it, and whether it may have
 * been executed.
 *
 * Local callers make some (`local_call.ts`); others come over a link, to be passed on
 * (`relayed_call.ts`). Queues, the router and links treat both alike.
 */
import { asMaybeExecuted, AtlasError, withTrouble } from "../errors.ts";
import { MAX_METHOD } from "../limits.ts";
import type { Session, Waiter } from "../links/links.ts";
import { Call } from "../model/call.ts";
import type { Caller } from "../model/call_path.ts";
import type { Failure, Reply } from "../model/envelope.ts";
import { shown } from "../model/options.ts";
import type { DegradedVerdict, Ownership } from "../model/ownership.ts";

/** What happens to a call that failed, or found nobody. */
export interface CallKeeper {
  /** This node. */
  readonly place: Caller;
  /** The path of a call that ends at this node. */
  readonly ownPath: readonly string[];
  /** The other region that is a key's home; null where it is this one, or it has none. */
  homeAbroad(key: string): string | null;
  /** It failed; the keeper sends it out again or settles it. */
  failed(call: Outgoing, error: AtlasError, owner: Ownership | null): void;
  /** It expired, but goes on until {@link Outgoing.expiresAt}. */
  extended(call: Outgoing): void;
  /** It was settled, with an error where one is given; `outcome` is what is told of its way. */
  settled(call: Outgoing, error: AtlasError | null, outcome: string): void;
}

/** Who carries a call at present. */
export interface Carrier {
  readonly session: Session;
  /** What the session knows it by. */
  readonly id: number;
  /** Whether it is to be passed on at the other end. */
  readonly relay: boolean;
  /** What is noted of this part of its way; null where nobody follows it. */
  readonly hop: LinkSpan | null;
}

const NOWHERE: readonly string[] = [];

export abstract class Outgoing extends Call {
  abstract override readonly key: string;
  abstract readonly type: string;
  /** Where it stands among all calls sent from here: retries keep their turn. */
  abstract readonly number: number;
  /** The nodes it came through before this one; none for a call that was made here. */
  abstract readonly via: readonly string[];
  /** The region that it says it is made for; null: that of the node where it started. */
  abstract readonly region: string | null;
  /** The highest epoch of an owner that its caller has seen, as far as it said so. */
  abstract readonly epoch: number;
  /** Times that it may be sent out again. */
  abstract readonly maxRedirects: number;
  /** Times it was sent to somebody who wasn't the owner, or got lost. */
  redirects = 0;
  /** Whether the resource here has it. */
  isHanded = false;
  /** Who carries it; null while it is here. */
  carrier: Carrier | null = null;
  /** Whether it is one of those that the next calls of its key must not overtake. */
  isOrdered = false;
  /** The nodes that it last came to beyond this one, as far as they told. */
  remotePath: readonly string[] = NOWHERE;
  protected readonly keeper: CallKeeper;
  #lastError: AtlasError | null = null;
  #mayHaveRunBefore = false;

  constructor(keeper: CallKeeper) {
    super();
    this.keeper = keeper;
  }

  /** The encoded arguments. @throws AtlasError `bad_request`, `payload_too_large` */
  abstract get body(): Uint8Array;

  /** Takes the answer that came over a link; `body` is only lent. @throws where it can't be read */
  abstract answered(
    body: Uint8Array,
    owner: Ownership,
    path: readonly string[],
    mark: DegradedVerdict | null,
  ): void;

  /** Tells its caller that it failed, for good; `path` is how far it came, from this node on. */
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

  /** The nodes that it is at or last came to, this one first. */
  get path(): readonly string[] {
    const beyond = this.carrier ? [this.carrier.session.name] : this.remotePath;
    const { ownPath } = this.keeper;
    return beyond.length === 0 ? ownPath : [...ownPath, ...beyond];
  }

  /** It is at its resource here. */
  arrived(): void {
    this.remotePath = NOWHERE;
    this.isHanded = true;
  }

  /** Why it had to wait, as far as it is known: told if time runs out, here or elsewhere. */
  get trouble(): AtlasError | null {
    return this.#lastError;
  }

  set trouble(error: AtlasError | null) {
    this.#lastError = error;
    // What one attempt may have done stays done, whatever becomes of the next.
    if (error?.maybeExecuted) this.#mayHaveRunBefore = true;
  }

  override fail(error: AtlasError, owner: Ownership | null = null): void {
    if (!this.done) this.keeper.failed(this, error, owner);
  }

  /** Ends it with an error, for good. */
  reject(error: AtlasError, owner: Ownership | null = null): void {
    if (this.done) return;
    const { path: way, trouble } = this;
    const whole = error.code === "timeout" && trouble ? withTrouble(error, trouble) : error;
    const told = this.#mayHaveRunBefore ? asMaybeExecuted(whole) : whole;
    this.settle(told);
    super.giveUp(told);
    this.refuse(told, owner, way);
  }

  override expire(): void {
    this.leave("the deadline passed", undefined);
  }

  override cut(): void {
    const maybeExecuted = this.#mayHaveRun;
    this.reject(new AtlasError("unavailable", "the node was closed", { maybeExecuted }));
  }

  /** Nobody waits for it any more: whoever carries it is told, and it ends. */
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
    this.keeper.settled(this, error, outcome);
    this.carrier = null;
  }

  /** Whom its caller has waited for, where that is somebody else. */
  get #whereabouts(): string {
    if (this.carrier) return `, and ${this.carrier.session.name} did not answer`;
    const home = this.keeper.homeAbroad(this.key);
    return home === null ? "" : `, and its home, region ${home}, did not answer`;
  }

  get #mayHaveRun(): boolean {
    return this.started || this.carrier !== null || this.#mayHaveRunBefore;
  }
}

/** Lets go of calls that nobody waits for, in place. */
export function sweep(calls: Outgoing[]): void {
  let kept = 0;
  for (const call of calls) if (!call.done) calls[kept++] = call;
  calls.length = kept;
}

/** Who hears how errands end. */
export interface PendingRequestHandler {
  /** A link brought a call's answer. */
  replied(call: Outgoing, reply: Reply, session: Session, asked: Ownership | null): void;
  /** A link brought a call's failure. */
  refused(call: Outgoing, failure: Failure, session: Session, asked: Ownership | null): void;
  /** The link that carried a call broke; `isUnread`: the peer has surely not read it. */
  lost(call: Outgoing, reason: string, isUnread: boolean): void;
}

export class PendingRequest implements Waiter {
  readonly relay: boolean;
  readonly call: Outgoing;
  readonly #handler: PendingRequestHandler;
  readonly #asked: Ownership | null;

  /** @param asked who was believed to own the key; null where whoever is asked may take it. */
  constructor(
    errands: PendingRequestHandler,
    call: Outgoing,
    asked: Ownership | null,
    relay: boolean,
  ) {
    this.#handler = errands;
    this.call = call;
    this.#asked = asked;
    this.relay = relay;
  }

  replied(reply: Reply, session: Session): void {
    this.#handler.replied(this.call, reply, session, this.#asked);
  }

  failed(failure: Failure, session: Session): void {
    this.#handler.refused(this.call, failure, session, this.#asked);
  }

  lost(reason: string, isUnread: boolean): void {
    this.#handler.lost(this.call, reason, isUnread);
  }
}

/** One link that a call goes over. */
export interface LinkSpan {
  /** The `traceparent` that goes on: its parent is this hop. */
  readonly trace: string;
  /** When it set out, on the monotonic clock. */
  readonly since: number;
}
