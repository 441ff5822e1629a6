/**
 * A call by a caller on this node. It holds the call's arguments, deadline and promise until the
 * answer.
 */
import type { CallOptions, CallResult } from "../api/calls.ts";
import { AtlasError, withPath } from "../errors.ts";
import {
  DEFAULT_TIMEOUT_MS,
  MAX_BODY_BYTES,
  MAX_CHAIN,
  MAX_IDEMPOTENCY_KEY_BYTES,
} from "../limits.ts";
import { type Body, decodeBody, encodeBody } from "../model/body.ts";
import { type Caller, checkTraceparent } from "../model/call_path.ts";
import { checkArgumentCount, checkMs } from "../model/options.ts";
import type { DegradedVerdict, Ownership } from "../model/ownership.ts";
import { checkToken } from "../model/rrp.ts";
import { fitsBytes, isPrimitive } from "../model/value.ts";
import { type CallRouter, Outgoing } from "./outgoing.ts";

/** What a call of a resource inherits from its turn. */
export interface CallContext {
  readonly chain: readonly string[];
  /** The turn's own deadline, monotonic ms. */
  readonly deadline: number;
  /** The `traceparent` of the call that the turn runs. */
  readonly trace: string | null;
}

const NONE: readonly string[] = [];

export class LocalCall extends Outgoing {
  readonly key: string;
  readonly type: string;
  readonly method: string;
  readonly idempotencyKey: string | null;
  readonly chain: readonly string[];
  readonly deadline: number;
  readonly number: number;
  readonly region: string | null;
  readonly trace: string | null;
  readonly via: readonly string[] = NONE;
  readonly epoch = 0;
  maxRedirects: number = Infinity;
  readonly #args: readonly unknown[];
  #body: Body | null = null;
  #resolve!: (result: CallResult) => void;
  #reject!: (error: AtlasError) => void;
  #signal: AbortSignal | null = null;

  constructor(
    router: CallRouter,
    number: number,
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
    now: number,
  ) {
    super(router);
    this.number = number;
    this.key = target.key;
    this.type = target.type;
    this.method = method;
    this.#args = checkArgumentCount(args);
    this.idempotencyKey = checkIdempotencyKey(options.idempotencyKey);
    this.chain = context?.chain ?? NONE;
    if (this.chain.length > MAX_CHAIN) {
      throw new AtlasError("bad_request", `a call chain is longer than ${MAX_CHAIN}`);
    }
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    this.deadline = Math.min(now + checkMs("timeoutMs", timeoutMs), context?.deadline ?? Infinity);
    const { callerRegion } = options;
    this.region = callerRegion === undefined ? null : checkToken("callerRegion", callerRegion);
    this.trace = checkTraceparent(options.traceparent) ?? context?.trace ?? null;
    this.#signal = options.signal ?? null;
  }

  /** The promise of the answer; called once, before the call is sent. */
  answer(): Promise<CallResult> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    });
  }

  override get caller(): Caller {
    const { region, node } = this.router.place;
    return { region: this.region ?? region, node };
  }

  /** Whether its caller cancelled it before it was sent. */
  get wasAborted(): boolean {
    return this.#signal?.aborted === true;
  }

  override get body(): Body {
    return (this.#body ??= encodeBody(this.#args, "argument"));
  }

  override arguments(): unknown[] {
    const args = this.#args as unknown[];
    if (args.every(isSmall)) return args;
    return decodeBody(this.body) as unknown[];
  }

  override encode(result: unknown): unknown {
    return isSmall(result) ? result : decodeBody(encodeBody(result, "the result"));
  }

  override succeed(result: unknown, owner: Ownership, verdict: DegradedVerdict | null): void {
    if (!this.done) this.#succeed(result, owner, this.router.ownPath, verdict);
  }

  override answered(
    body: Body,
    owner: Ownership,
    path: readonly string[],
    verdict: DegradedVerdict | null,
  ): void {
    if (!this.done) this.#succeed(decodeBody(body), owner, path, verdict);
  }

  #succeed(
    result: unknown,
    { rrp, epoch }: Ownership,
    path: readonly string[],
    verdict: DegradedVerdict | null,
  ): void {
    this.settle(null);
    this.#resolve(
      verdict === null ? { result, rrp, epoch, path } : { result, rrp, epoch, path, verdict },
    );
  }

  protected override refuse(
    error: AtlasError,
    _owner: Ownership | null,
    path: readonly string[],
  ): void {
    this.#reject(withPath(error, path));
  }

  readonly #onAbort = (): void => {
    this.leave("the caller cancelled the call", this.#signal?.reason);
  };

  protected override unlisten(): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** Whether a value can be passed to a resource on this node without a copy. */
function isSmall(value: unknown): boolean {
  return isPrimitive(value) && (typeof value !== "string" || value.length <= MAX_BODY_BYTES / 4);
}

function checkIdempotencyKey(key: string | undefined): string | null {
  if (key === undefined) return null;
  if (
    typeof key === "string" && key.length > 0 && key.isWellFormed() &&
    fitsBytes(key, MAX_IDEMPOTENCY_KEY_BYTES)
  ) return key;
  throw new AtlasError(
    "bad_request",
    `an idempotency key must be text of 1 to ${MAX_IDEMPOTENCY_KEY_BYTES} bytes`,
  );
}
