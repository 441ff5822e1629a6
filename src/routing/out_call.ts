/**
 * A call of a caller here, from its first step out of the door to its answer: it
 * carries its own arguments, deadline and promise, and knows whether it may have been
 * executed somewhere.
 */
import type { CallOptions, CallResult } from "../api.ts";
import { AtlasError } from "../errors.ts";
import {
  DEFAULT_TIMEOUT_MS,
  MAX_BODY_BYTES,
  MAX_CHAIN,
  MAX_IDEMPOTENCY_KEY_BYTES,
  MAX_TIMEOUT_MS,
} from "../limits.ts";
import { Call, encodeBody } from "../model/call.ts";
import type { Ownership } from "../model/ownership.ts";
import { fitsBytes, isPrimitive, unpack } from "../model/value.ts";
import type { Session } from "./links.ts";

/** What a resource's own call inherits from the turn that makes it. */
export interface CallContext {
  readonly chain: readonly string[];
  /** The turn's own deadline, monotonic ms. */
  readonly deadline: number;
}

/** What happens to a call that failed, or found nobody. */
export interface CallKeeper {
  /** Whether the node has been closed: nothing is answered any more. */
  readonly isClosed: boolean;
  /** It failed; the keeper sends it out again or settles it. */
  failed(call: OutCall, error: AtlasError, owner: Ownership | null): void;
  /** It was settled. */
  settled(call: OutCall): void;
}

const NO_CHAIN: readonly string[] = [];

export class OutCall extends Call {
  readonly key: string;
  readonly type: string;
  readonly method: string;
  readonly idempotencyKey: string | null;
  readonly chain: readonly string[];
  readonly deadline: number;
  /** Where it stands among all calls made here: retries keep their turn. */
  readonly number: number;
  /** Times it was sent to somebody who wasn't the owner, or got lost. */
  bounces = 0;
  /** What the session that carries it knows it by; null while it is here. */
  carrier: { readonly session: Session; readonly id: number } | null = null;
  readonly #keeper: CallKeeper;
  readonly #args: readonly unknown[];
  #body: Uint8Array | null = null;
  #resolve!: (result: CallResult) => void;
  #reject!: (error: AtlasError) => void;
  #signal: AbortSignal | null = null;
  #trouble: AtlasError | null = null;
  #mayHaveRunBefore = false;

  constructor(
    keeper: CallKeeper,
    number: number,
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
    now: number,
  ) {
    super();
    this.#keeper = keeper;
    this.number = number;
    this.key = target.key;
    this.type = target.type;
    this.method = method;
    this.#args = args;
    this.idempotencyKey = checkIdempotencyKey(options.idempotencyKey);
    this.chain = context?.chain ?? NO_CHAIN;
    if (this.chain.length > MAX_CHAIN) {
      throw new AtlasError("bad_request", `a call chain is longer than ${MAX_CHAIN}`);
    }
    this.deadline = Math.min(now + checkTimeout(options.timeoutMs), context?.deadline ?? Infinity);
    this.#signal = options.signal ?? null;
  }

  /** The promise of the answer; called once, before the call goes out. */
  answer(): Promise<CallResult> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    });
  }

  /** Why it had to wait, as far as it is known: told if time runs out meanwhile. */
  get trouble(): AtlasError | null {
    return this.#trouble;
  }

  set trouble(error: AtlasError | null) {
    this.#trouble = error;
    // What one attempt may have done stays done, whatever becomes of the next.
    if (error?.maybeExecuted) this.#mayHaveRunBefore = true;
  }

  /** Whether its caller has given up before it went out. */
  get wasAborted(): boolean {
    return this.#signal?.aborted === true;
  }

  /** The encoded arguments, made once. @throws AtlasError `bad_request`, `payload_too_large` */
  get body(): Uint8Array {
    return (this.#body ??= encodeBody(this.#args, "argument"));
  }

  override arguments(): unknown[] {
    const args = this.#args as unknown[];
    if (args.every(isSmall)) return args;
    return unpack(this.body) as unknown[];
  }

  override encode(result: unknown): unknown {
    return isSmall(result) ? result : unpack(encodeBody(result, "the result"));
  }

  override succeed(result: unknown, owner: Ownership): void {
    if (this.done) return;
    this.#settle();
    this.#resolve({ result, rrp: owner.rrp, epoch: owner.epoch });
  }

  override fail(error: AtlasError, owner: Ownership | null = null): void {
    if (!this.done) this.#keeper.failed(this, error, owner);
  }

  /** Ends it with an error, for good. */
  reject(error: AtlasError): void {
    if (this.done) return;
    const told = this.#mayHaveRunBefore ? asMaybeExecuted(error) : error;
    this.#settle();
    this.giveUp(told);
    this.#reject(told);
  }

  override expire(): void {
    if (!this.#keeper.isClosed) return this.#leave("the deadline passed", undefined);
    this.reject(
      new AtlasError("unavailable", "the node was closed", { maybeExecuted: this.#mayHaveRun }),
    );
  }

  readonly #onAbort = (): void => {
    this.#leave("the caller gave the call up", this.#signal?.reason);
  };

  get #mayHaveRun(): boolean {
    return this.started || this.carrier !== null || this.#mayHaveRunBefore;
  }

  #leave(what: string, cause: unknown): void {
    const { carrier, trouble } = this;
    const maybeExecuted = this.#mayHaveRun;
    carrier?.session.cancel(carrier.id);
    const why = trouble ? `; before that: ${trouble.message}` : "";
    this.reject(
      new AtlasError("timeout", `${this.key} ${this.method}: ${what}${why}`, {
        maybeExecuted,
        cause,
      }),
    );
  }

  #settle(): void {
    this.done = true;
    this.carrier = null;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#keeper.settled(this);
  }
}

/** The same error, of a call that an earlier attempt may have executed. */
function asMaybeExecuted(error: AtlasError): AtlasError {
  if (error.maybeExecuted) return error;
  const { code, message, retryable } = error;
  return new AtlasError(code, message, { retryable, maybeExecuted: true, cause: error });
}

/** Whether a value can go to a resource here as it is. */
function isSmall(value: unknown): boolean {
  return isPrimitive(value) && (typeof value !== "string" || value.length <= MAX_BODY_BYTES / 4);
}

function checkTimeout(timeoutMs: number = DEFAULT_TIMEOUT_MS): number {
  if (typeof timeoutMs === "number" && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS) {
    return timeoutMs;
  }
  throw new AtlasError(
    "bad_request",
    `timeoutMs is ${timeoutMs}, it must be 1 to ${MAX_TIMEOUT_MS}`,
  );
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
