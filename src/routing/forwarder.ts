/**
 * The forwarder: the porter who takes calls of other nodes to their resource, or says
 * who lives there now.
 *
 * Source: design §4.
 */
import { AtlasError, toAtlasError, toWireError } from "../errors.ts";
import { MAX_CHAIN, MAX_IDEMPOTENCY_KEY_BYTES, MAX_LINK_CALLS, MAX_TIMEOUT_MS } from "../limits.ts";
import { Call, encodeBody } from "../model/call.ts";
import type { Request } from "../model/envelope.ts";
import type { Ownership } from "../model/ownership.ts";
import { parseKey } from "../model/rrp.ts";
import { fitsBytes, unpack } from "../model/value.ts";
import type { Clock } from "../ports/clock.ts";
import { Activation } from "../resource/activation.ts";
import type { Host } from "../resource/host.ts";
import type { Session } from "./links.ts";

/** A call that came over a link. */
class InboundCall extends Call {
  readonly key: string;
  readonly method: string;
  readonly idempotencyKey: string | null;
  readonly chain: readonly string[];
  readonly deadline: number;
  readonly epoch: number;
  readonly #id: number;
  readonly #body: Uint8Array;
  readonly #session: Session;
  readonly #onSettled: (id: number) => void;

  constructor(request: Request, session: Session, now: number, onSettled: (id: number) => void) {
    super();
    this.key = request.key;
    this.method = request.method;
    this.idempotencyKey = request.idempotencyKey;
    this.chain = request.chain;
    this.deadline = now + Math.min(request.timeoutMs, MAX_TIMEOUT_MS);
    this.epoch = request.epoch;
    this.#id = request.id;
    this.#body = request.body;
    this.#session = session;
    this.#onSettled = onSettled;
  }

  override arguments(): unknown[] {
    const args = unpack(this.#body);
    if (!Array.isArray(args)) throw new AtlasError("bad_request", "arguments must be an array");
    return args;
  }

  override encode(result: unknown): unknown {
    return encodeBody(result, "the result");
  }

  override succeed(encoded: unknown, owner: Ownership): void {
    if (this.done) return;
    this.done = true;
    this.#session.send({
      kind: "reply",
      id: this.#id,
      epoch: owner.epoch,
      rrp: this.epoch === owner.epoch ? "" : owner.rrp,
      body: encoded as Uint8Array,
    });
    this.#onSettled(this.#id);
  }

  override fail(error: AtlasError, owner: Ownership | null = null): void {
    if (this.done) return;
    this.done = true;
    this.#session.send({
      kind: "failure",
      id: this.#id,
      error: toWireError(error),
      owner: owner && [owner.rrp, owner.incarnation, owner.epoch],
    });
    this.#onSettled(this.#id);
  }

  override expire(): void {
    this.giveUp();
  }
}

export interface ForwarderStats {
  notOwner: number;
}

export class Forwarder {
  readonly stats: ForwarderStats = { notOwner: 0 };
  readonly #host: Host;
  readonly #clock: Clock;
  /** Unanswered calls, by link and number. */
  readonly #calls = new Map<Session, Map<number, InboundCall>>();

  constructor(host: Host, clock: Clock) {
    this.#host = host;
    this.#clock = clock;
  }

  /** Takes a call of a peer. Answers it whatever happens. */
  request(request: Request, session: Session): void {
    let calls = this.#calls.get(session);
    if (!calls) this.#calls.set(session, calls = new Map());
    const settled = calls.delete.bind(calls);
    const call = new InboundCall(request, session, this.#clock.now(), settled);
    const trouble = calls.size >= MAX_LINK_CALLS
      ? new AtlasError("overloaded", `${MAX_LINK_CALLS} calls wait on the link already`)
      : check(request);
    if (trouble) return call.fail(trouble);
    calls.set(request.id, call);
    if (!session.life.lease.holds()) return this.#notOwner(call, null);
    const present = this.#host.find(request.key);
    if (present) this.#deliver(call, present);
    else this.#acquire(call);
  }

  /** The caller has gone: the call never starts, or its signal aborts. */
  cancel(id: number, session: Session): void {
    const calls = this.#calls.get(session);
    calls?.get(id)?.giveUp();
    calls?.delete(id);
  }

  /** A link broke: all its callers have gone. */
  closed(session: Session): void {
    const calls = this.#calls.get(session);
    this.#calls.delete(session);
    for (const call of calls?.values() ?? []) call.giveUp();
  }

  #deliver(call: InboundCall, activation: Activation): void {
    if (call.epoch === activation.epoch || call.epoch === 0) activation.deliver(call);
    else this.#notOwner(call, activation.owner);
  }

  /** Nothing of the name is here: brings its owner about, and tells who that is. */
  async #acquire(call: InboundCall): Promise<void> {
    try {
      const { type } = parseKey(call.key);
      if (!this.#host.knows(type)) {
        return call.fail(
          new AtlasError("not_found", `this node runs no resources of type ${type}`),
        );
      }
      const acquired = await this.#host.acquire(call.key, type);
      if (acquired instanceof Activation) this.#deliver(call, acquired);
      else this.#notOwner(call, acquired);
    } catch (error) {
      call.fail(toAtlasError(error));
    }
  }

  #notOwner(call: InboundCall, owner: Ownership | null): void {
    this.stats.notOwner++;
    call.fail(new AtlasError("not_owner", `this node does not own ${call.key}`), owner);
  }
}

/** What is wrong with a request, as far as its fields' sizes tell. */
function check(request: Request): AtlasError | null {
  const { chain, idempotencyKey } = request;
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
  return null;
}
