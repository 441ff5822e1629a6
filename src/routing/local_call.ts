/**
 * A call by a caller on this node. It holds the call's arguments, deadline and promise until the
 * answer.
 */
import { type CallOptions, type CallResult, NO_OPTIONS } from "../api/calls.ts";
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
import type { Clock } from "../ports/clock.ts";
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

/** The options of a call, checked and filled in. */
interface CheckedOptions {
  readonly timeoutMs: number;
  readonly idempotencyKey: string | null;
  readonly signal: AbortSignal | null;
  readonly trace: string | null;
  readonly region: string | null;
}

/** The options of all calls that give none. */
const DEFAULTS: CheckedOptions = checked(NO_OPTIONS);

export class LocalCall extends Outgoing {
  readonly key: string;
  readonly type: string;
  readonly method: string;
  readonly number: number;
  maxRedirects: number = Infinity;
  readonly #args: readonly unknown[];
  readonly #options: CheckedOptions;
  readonly #context: CallContext | null;
  readonly #clock: Clock;
  /** 0 before it is known. Most calls to a resource here end without asking for it. */
  #deadline = 0;
  #body: Body | null = null;
  #isPlain = false;
  #resolve!: (result: unknown) => void;
  #reject!: (error: AtlasError) => void;
  #onAbort: (() => void) | null = null;

  constructor(
    router: CallRouter,
    number: number,
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
    clock: Clock,
  ) {
    super(router);
    this.number = number;
    this.key = target.key;
    this.type = target.type;
    this.method = method;
    this.#args = checkArgumentCount(args);
    this.#options = options === NO_OPTIONS ? DEFAULTS : checked(options);
    this.#context = context;
    this.#clock = clock;
    if (context !== null && context.chain.length > MAX_CHAIN) {
      throw new AtlasError("bad_request", `a call chain is longer than ${MAX_CHAIN}`);
    }
  }

  override get idempotencyKey(): string | null {
    return this.#options.idempotencyKey;
  }

  override get chain(): readonly string[] {
    return this.#context === null ? NONE : this.#context.chain;
  }

  override get trace(): string | null {
    return this.#options.trace ?? this.#context?.trace ?? null;
  }

  override get region(): string | null {
    return this.#options.region;
  }

  override get via(): readonly string[] {
    return NONE;
  }

  override get epoch(): number {
    return 0;
  }

  /** Read after the call was made and before anything was waited for. */
  override get deadline(): number {
    return this.#deadline || this.deadlineFrom(this.#clock.now());
  }

  override deadlineFrom(now: number): number {
    const { timeoutMs } = this.#options;
    return this.#deadline ||= Math.min(now + timeoutMs, this.#context?.deadline ?? Infinity);
  }

  /**
   * The promise of the answer; called once, before the call is sent.
   *
   * @param isPlain whether it resolves to the method's result alone.
   */
  answer(isPlain: true): Promise<unknown>;
  answer(isPlain?: false): Promise<CallResult>;
  answer(isPlain: boolean = false): Promise<unknown> {
    this.#isPlain = isPlain;
    this.#listen();
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  #listen(): void {
    const { signal } = this.#options;
    if (signal === null) return;
    this.#onAbort = () => this.leave("the caller cancelled the call", signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  override get caller(): Caller {
    const { region, node } = this.router.place;
    return { region: this.region ?? region, node };
  }

  /** Whether its caller cancelled it before it was sent. */
  get wasAborted(): boolean {
    return this.#options.signal?.aborted === true;
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
    owner: Ownership,
    path: readonly string[],
    verdict: DegradedVerdict | null,
  ): void {
    this.settle(null);
    if (this.#isPlain) return this.#resolve(result);
    const { rrp, epoch } = owner;
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

  protected override unlisten(): void {
    if (this.#onAbort) this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** Whether a value can be passed to a resource on this node without a copy. */
function isSmall(value: unknown): boolean {
  return isPrimitive(value) && (typeof value !== "string" || value.length <= MAX_BODY_BYTES / 4);
}

function checked(options: CallOptions): CheckedOptions {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, idempotencyKey, signal, callerRegion } = options;
  return {
    timeoutMs: checkMs("timeoutMs", timeoutMs),
    idempotencyKey: checkIdempotencyKey(idempotencyKey),
    signal: signal ?? null,
    trace: checkTraceparent(options.traceparent),
    region: callerRegion === undefined ? null : checkToken("callerRegion", callerRegion),
  };
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
