/**
 * Handles the requests of other nodes: delivers calls to the resources here, passes on calls that
 * may go further, and answers all others with `not_owner` and the owner's location.
 *
 * Source: `docs/design.md`, Calls.
 */
import { AtlasError, toAtlasError, toWireError } from "../errors.ts";
import {
  MAX_CHAIN,
  MAX_HOPS,
  MAX_IDEMPOTENCY_KEY_BYTES,
  MAX_LINK_CALLS,
  MAX_METHOD,
  MAX_TIMEOUT_MS,
} from "../limits.ts";
import type { Session } from "../links/links.ts";
import { argumentsOf, type Body, encodeBody } from "../model/body.ts";
import { Call } from "../model/call.ts";
import { type Caller, callerOf, type CallPath, isTraceparent } from "../model/call_path.ts";
import type { Request } from "../model/envelope.ts";
import { noMethod } from "../model/internal_methods.ts";
import { shown } from "../model/options.ts";
import type { DegradedVerdict, Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import { fitsBytes } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import type { TimerWheel } from "../time/timer_wheel.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { Locator } from "./locator.ts";
import type { Router } from "./router.ts";

/** A call that came over a link. */
class InboundCall extends Call {
  readonly key: string;
  readonly method: string;
  readonly idempotencyKey: string | null;
  readonly chain: readonly string[];
  readonly epoch: number;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** 0 before it is known. Most calls end without asking for it. */
  #deadline = 0;
  readonly #id: number;
  readonly #arguments: unknown[] | AtlasError;
  readonly #callPath: CallPath | null;
  readonly #session: Session;
  readonly #deadlines: TimerWheel;

  constructor(
    request: Request,
    session: Session,
    { clock, deadlines }: Pick<InboundParts, "clock" | "deadlines">,
  ) {
    super();
    this.key = request.key;
    this.method = request.method;
    this.idempotencyKey = request.idempotencyKey;
    this.chain = request.chain;
    this.#clock = clock;
    this.#timeoutMs = Math.min(request.timeoutMs, MAX_TIMEOUT_MS);
    this.epoch = request.epoch;
    this.#id = request.id;
    // Decoded at once, because the bytes are valid only now, and copying them would cost as much.
    this.#arguments = decodeArguments(request.body);
    this.#callPath = request.callPath;
    this.#session = session;
    this.#deadlines = deadlines;
  }

  /** Read after the call arrived and before anything was waited for. */
  override get deadline(): number {
    return this.#deadline || this.deadlineFrom(this.#clock.now());
  }

  override deadlineFrom(now: number): number {
    return this.#deadline ||= now + this.#timeoutMs;
  }

  /**
   * The caller's node cancels the call when nobody waits for it any more, unless that node is
   * stalled. So this node keeps a deadline too, from the first listener on.
   */
  override get signal(): AbortSignal {
    if (!this.done && !this.slot) this.#deadlines.add(this, this.deadline);
    return super.signal;
  }

  override get caller(): Caller {
    return callerOf(this.#callPath, this.#session.peer);
  }

  override get trace(): string | null {
    return this.#callPath?.trace ?? null;
  }

  override arguments(): unknown[] {
    if (Array.isArray(this.#arguments)) return this.#arguments;
    throw this.#arguments;
  }

  override encode(result: unknown): unknown {
    return encodeBody(result, "the result");
  }

  override succeed(encoded: unknown, owner: Ownership, verdict: DegradedVerdict | null): void {
    if (this.done) return;
    this.#settle();
    const { incarnation, epoch } = owner;
    const rrp = this.epoch === epoch && epoch > 0 ? "" : owner.rrp;
    // A resource that has just moved has another owner.
    const isHere = incarnation === this.#session.life.incarnation;
    const passed = isHere ? null : { incarnation, path: [] };
    this.#session.reply(this.#id, epoch, rrp, passed, verdict, encoded as Body);
  }

  override fail(error: AtlasError, owner: Ownership | null = null): void {
    if (this.done) return;
    this.#settle();
    this.#session.send({
      kind: "failure",
      id: this.#id,
      error: toWireError(error),
      owner: owner && [owner.rrp, owner.incarnation, owner.epoch],
    });
  }

  override cancel(reason?: AtlasError): void {
    this.#settle();
    super.cancel(reason);
  }

  override expire(): void {
    const message = `${this.key} ${shown(this.method, MAX_METHOD)}: the deadline passed`;
    this.cancel(new AtlasError("timeout", message, { maybeExecuted: true }));
  }

  #settle(): void {
    this.done = true;
    this.#session.inbound.delete(this.#id);
    this.#deadlines.remove(this);
  }
}

/** The parts of {@link InboundRequests}. */
export interface InboundParts {
  readonly host: Host;
  readonly clock: Clock;
  readonly deadlines: TimerWheel;
  readonly locator: Locator;
  readonly router: Router;
  readonly dispatcher: Dispatcher;
}

export interface InboundStats {
  notOwner: number;
}

export class InboundRequests {
  readonly stats: InboundStats = { notOwner: 0 };
  readonly #parts: InboundParts;

  constructor(parts: InboundParts) {
    this.#parts = parts;
  }

  /** Handles a call of a peer. Always answers it. */
  request(request: Request, session: Session): void {
    const { host } = this.#parts;
    const calls = session.inbound;
    const trouble = calls.size >= MAX_LINK_CALLS
      ? new AtlasError("overloaded", `${MAX_LINK_CALLS} calls wait on the link already`)
      : check(request);
    if (request.relay && !trouble) return this.#relay(request, session);
    const call = new InboundCall(request, session, this.#parts);
    if (trouble) return call.fail(trouble);
    calls.set(request.id, call);
    const present = host.find(request.key);
    // An ownership of this node's current life. Its lease is checked when the call's turn runs.
    if (present?.life === session.life) this.#serveHere(call, present);
    else if (session.life.lease.holds()) this.#acquire(call);
    else this.#notOwner(call, null);
    // If it has to wait, its time runs from now on.
    if (!call.done) void call.deadline;
  }

  #relay(request: Request, session: Session): void {
    const calls = session.inbound;
    const call = this.#parts.router.relay(request, session, () => calls.delete(request.id));
    if (!call.done) calls.set(request.id, call);
  }

  /** The caller no longer waits: the call never starts, or its signal is aborted. */
  cancel(id: number, session: Session): void {
    session.inbound.get(id)?.cancel();
    session.inbound.delete(id);
  }

  /** A link broke: cancels all its calls. */
  closed(session: Session): void {
    const calls = [...session.inbound.values()];
    session.inbound.clear();
    for (const call of calls) call.cancel();
  }

  /** Delivers a call to the resource here, unless its caller expects another ownership. */
  #serveHere(call: InboundCall, activation: Activation): void {
    const isMeant = call.epoch === activation.epoch || call.epoch === 0;
    if (isMeant) this.#parts.dispatcher.deliver(call, activation);
    else this.#notOwner(call, activation.owner);
  }

  /** The resource isn't active here: finds or claims its owner, and answers with it. */
  async #acquire(call: InboundCall): Promise<void> {
    try {
      const { host, locator } = this.#parts;
      const { type } = parseKey(call.key);
      if (locator.remoteHomeOf(call.key) !== null) return this.#notOwner(call, null);
      if (!host.knows(type)) {
        return call.fail(
          new AtlasError("not_found", `this node runs no resources of type ${type}`),
        );
      }
      // A caller that expected this node to be the owner looks the owner up again. A caller that
      // asked this node to claim the key asks another node.
      if (call.epoch > 0 && !host.canHost(type, call.key)) return this.#notOwner(call, null);
      const acquired = await host.acquire(call.key, type);
      if (acquired instanceof Activation) this.#serveHere(call, acquired);
      else this.#notOwner(call, acquired);
    } catch (error) {
      call.fail(toAtlasError(error));
    }
  }

  #notOwner(call: InboundCall, owner: Ownership | null): void {
    this.stats.notOwner++;
    const why = this.#parts.host.leaseTrouble;
    call.fail(new AtlasError("not_owner", `this node does not own ${call.key}${why}`), owner);
  }
}

/** The arguments of a request, or the error in them. */
function decodeArguments(body: Body): unknown[] | AtlasError {
  try {
    return argumentsOf(body);
  } catch (error) {
    return toAtlasError(error);
  }
}

/** Checks the sizes of a request's fields. */
function check(request: Request): AtlasError | null {
  const { method, chain, idempotencyKey, callPath } = request;
  if (method.length > MAX_METHOD) {
    return new AtlasError("not_found", noMethod(method));
  }
  if (chain.length > MAX_CHAIN) {
    return new AtlasError("bad_request", `a call chain is longer than ${MAX_CHAIN}`);
  }
  if (
    idempotencyKey !== null &&
    (idempotencyKey === "" || !fitsBytes(idempotencyKey, MAX_IDEMPOTENCY_KEY_BYTES))
  ) {
    return new AtlasError(
      "bad_request",
      `an idempotency key must be 1 to ${MAX_IDEMPOTENCY_KEY_BYTES} bytes`,
    );
  }
  const { via = [], trace = null } = callPath ?? {};
  if (via.length > MAX_HOPS) {
    return new AtlasError("bad_request", `a call came over more than ${MAX_HOPS} links`);
  }
  if (trace === null || isTraceparent(trace)) return null;
  return new AtlasError("bad_request", "traceparent is not a valid W3C traceparent");
}
