/**
 * A call of another node that this node passes on.
 *
 * Takes a request of a link that may be passed on; gives its answer back over the same link, with
 * the owner's location and the path. Its arguments are decoded only if the owner turns out to be
 * here.
 *
 * Source: `docs/design.md`, Regions and moves; Links and messages.
 */
import { type AtlasError, toWireError } from "../errors.ts";
import { MAX_HOPS, MAX_TIMEOUT_MS } from "../limits.ts";
import type { Session } from "../links/links.ts";
import { argumentsOf, type Body, encodeBody } from "../model/body.ts";
import { type Caller, callerOf, type CallPath } from "../model/call_path.ts";
import type { Request } from "../model/envelope.ts";
import type { DegradedVerdict, Ownership } from "../model/ownership.ts";
import { type CallRouter, Outgoing } from "./outgoing.ts";

/**
 * How much earlier than its deadline a call that no node has accepted is answered, in ms and as a
 * share of its time, so that the answer arrives in time.
 */
const ANSWER_MS = 250;
const ANSWER_SHARE = 1 / 4;

export class RelayedCall extends Outgoing {
  readonly key: string;
  readonly type: string;
  readonly method: string;
  readonly idempotencyKey: string | null;
  readonly chain: readonly string[];
  readonly deadline: number;
  readonly number: number;
  readonly epoch: number;
  readonly maxRedirects: number = MAX_HOPS;
  override readonly body: Body;
  readonly #id: number;
  readonly #callPath: CallPath;
  readonly #session: Session;
  readonly #onEnd: () => void;
  #expiresAt: number;

  /**
   * @param number its number among all calls sent from here.
   * @param onEnd runs once it was answered or given up.
   */
  constructor(
    router: CallRouter,
    number: number,
    request: Request,
    session: Session,
    now: number,
    onEnd: () => void,
  ) {
    super(router);
    this.number = number;
    this.key = request.key;
    this.type = request.key.slice(0, Math.max(0, request.key.indexOf("/")));
    this.method = request.method;
    this.idempotencyKey = request.idempotencyKey;
    this.chain = request.chain;
    const timeMs = Math.min(request.timeoutMs, MAX_TIMEOUT_MS);
    this.deadline = now + timeMs;
    this.#expiresAt = this.deadline - Math.min(ANSWER_MS, timeMs * ANSWER_SHARE);
    this.epoch = request.epoch;
    // Copied, because the bytes are valid only now and the call may have to wait here.
    this.body = request.body.slice() as Body;
    this.#id = request.id;
    this.#callPath = request.callPath as CallPath;
    this.#session = session;
    this.#onEnd = onEnd;
  }

  override get expiresAt(): number {
    return this.#expiresAt;
  }

  /**
   * If a node has accepted the call, that node may still answer in time. Otherwise the caller
   * learns that the call didn't run.
   */
  override expire(): void {
    const isTaken = this.isDispatched || this.carrier !== null;
    if (!isTaken || this.#expiresAt === this.deadline) return super.expire();
    this.#expiresAt = this.deadline;
    this.router.extended(this);
  }

  override get via(): readonly string[] {
    return this.#callPath.via;
  }

  override get region(): string | null {
    return this.#callPath.region;
  }

  override get trace(): string | null {
    return this.#callPath.trace;
  }

  override get caller(): Caller {
    return callerOf(this.#callPath, this.#session.peer);
  }

  override arguments(): unknown[] {
    return argumentsOf(this.body);
  }

  override encode(result: unknown): unknown {
    return encodeBody(result, "the result");
  }

  override succeed(encoded: unknown, owner: Ownership, verdict: DegradedVerdict | null): void {
    this.answered(encoded as Body, owner, this.router.ownPath, verdict);
  }

  override answered(
    body: Body,
    owner: Ownership,
    path: readonly string[],
    verdict: DegradedVerdict | null,
  ): void {
    if (this.done) return;
    const { rrp, incarnation, epoch } = owner;
    const passed = { incarnation, path };
    this.settle(null);
    const mark = verdict;
    this.#session.send({ kind: "reply", id: this.#id, epoch, rrp, passed, mark, body });
  }

  protected override refuse(
    error: AtlasError,
    owner: Ownership | null,
    path: readonly string[],
  ): void {
    this.#session.send({
      kind: "failure",
      id: this.#id,
      error: toWireError(error),
      owner: owner && [owner.rrp, owner.incarnation, owner.epoch],
      ...path.length > 1 && { path },
    });
  }

  /** Its caller no longer waits: cancels it at the node that has it. */
  override cancel(): void {
    if (this.done) return;
    this.carrier?.session.cancel(this.carrier.id);
    this.settle(null, "cancelled");
    super.cancel();
  }

  protected override unlisten(): void {
    this.#onEnd();
  }
}
