/**
 * Holds a call of a module's function until its answer, the queue of such calls, and their errors.
 */
import type { ModuleCallOptions, ModuleCallResult } from "../../api/modules.ts";
import { AtlasError } from "../../errors.ts";
import type { Waiters } from "../../model/waiters.ts";
import { type Body, encodeBody } from "../../model/body.ts";
import { Expiring } from "../../model/expiring.ts";
import {
  checkArguments,
  checkMs,
  checkOptions,
  checkWord,
  type OptionNames,
  quoted,
} from "../../model/options.ts";
import type { Peer } from "../../ports/transport.ts";
import type { Address } from "../bus/address.ts";
import type { CodeLabel } from "../bus/messages.ts";
import { decodePayload, type Payload } from "../bus/payload.ts";

const CALL: OptionNames<ModuleCallOptions> = { timeoutMs: true, noWait: true, signal: true };

/** The options of a call that has none: they aren't checked. */
export const NO_OPTIONS: ModuleCallOptions = Object.freeze({});

/** Checks option names, the signal and `noWait`. @throws AtlasError `bad_request` */
export function checkCall(options: ModuleCallOptions): ModuleCallOptions {
  if (options === NO_OPTIONS) return options;
  const { noWait } = checkOptions(options, CALL);
  if (noWait !== undefined) checkWord("noWait", noWait, [true, false]);
  return options;
}

/** Gets notified when a call ends. */
export interface ModuleCallKeeper {
  /** The call passed its deadline or was aborted by its caller. */
  abandoned(call: ModuleCall, what: string, cause: unknown): void;
  settled(call: ModuleCall): void;
}

/** Message for a name that can never be an exported function (reserved or not a string). */
const NO_NAMES = "names of hooks (onStart), of Object's own and names that begin with _ or $ are " +
  "not allowed";

/** Defaults for options that a call does not set. */
export interface ModuleCallDefaults {
  readonly callTimeoutMs: number;
  readonly noWait: boolean;
}

export class ModuleCall extends Expiring {
  readonly name: string;
  /** The encoded array of arguments. */
  readonly body: Body;
  readonly deadline: number;
  readonly noWait: boolean;
  isDone = false;
  /** The channel that it was sent on, and its number there; null while it waits. */
  view: ChannelView | null = null;
  id = 0;
  /** The code that it runs on, if its channel was upgraded since. */
  label: CodeLabel | null = null;
  /** When it was queued, monotonic ms; 0: it does not wait. */
  waitsSince = 0;
  readonly #keeper: ModuleCallKeeper;
  readonly #signal: AbortSignal | null;
  /** Made only if there is a signal. */
  #onAbort: (() => void) | null = null;
  #isResultOnly = false;
  #resolve!: (result: unknown) => void;
  #reject!: (error: AtlasError) => void;

  /** @throws AtlasError `bad_request`, `payload_too_large` */
  constructor(
    keeper: ModuleCallKeeper,
    name: string,
    args: readonly unknown[],
    options: ModuleCallOptions,
    defaults: ModuleCallDefaults,
    now: number,
  ) {
    super();
    this.#keeper = keeper;
    this.name = name;
    checkCall(options);
    this.body = encodeBody(checkArguments(args), "argument");
    const { timeoutMs = defaults.callTimeoutMs, noWait = defaults.noWait, signal } = options;
    this.deadline = now + checkMs("timeoutMs", timeoutMs);
    this.noWait = noWait;
    this.#signal = signal ?? null;
  }

  get wasAborted(): boolean {
    return this.#signal?.aborted === true;
  }

  /** The promise of the answer; call one of these two, once. */
  answer(): Promise<ModuleCallResult> {
    return this.#promise();
  }

  /** The promise of the function's result alone. */
  result(): Promise<unknown> {
    this.#isResultOnly = true;
    return this.#promise();
  }

  /** Its channel sent the result. */
  answered(body: Payload, { contact, label: present }: ChannelView): void {
    const { version } = this.label ?? present;
    let result: unknown;
    try {
      result = decodePayload(body);
    } catch {
      const message = `${contact.node} sent an invalid result`;
      return this.reject(new AtlasError("unavailable", message, { maybeExecuted: true }));
    }
    if (!this.#settle()) return;
    this.#resolve(this.#isResultOnly ? result : { result, node: contact.node, version });
  }

  reject(error: AtlasError): void {
    if (this.#settle()) this.#reject(error);
  }

  override expire(): void {
    if (!this.isDone) this.#keeper.abandoned(this, "the deadline passed", undefined);
  }

  #promise<T>(): Promise<T> {
    const signal = this.#signal;
    if (signal) {
      this.#onAbort = () =>
        this.#keeper.abandoned(this, "the caller cancelled the call", signal.reason);
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    return new Promise<T>((resolve, reject) => {
      this.#resolve = resolve as (result: unknown) => void;
      this.#reject = reject;
    });
  }

  #settle(): boolean {
    if (this.isDone) return false;
    this.isDone = true;
    if (this.#onAbort) this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#keeper.settled(this);
    return true;
  }
}

/** The error of a call to a function that no code in use has. */
export function noFunctionError(
  module: string,
  label: { readonly version: string | null; readonly exports: readonly string[] } | null,
  name: unknown,
): AtlasError {
  const code = label?.version ? `${module} ${label.version}` : module;
  const known = label ? `it has: ${label.exports.slice(0, 20).join(", ")}` : NO_NAMES;
  return new AtlasError("not_found", `${code} has no function ${quoted(name)}; ${known}`);
}

/** The error of a call on a closed proxy; a retry can't succeed. */
export function closedError(module: string): AtlasError {
  return new AtlasError("unavailable", `the proxy of ${module} was closed`, { retryable: false });
}

/** The error of a call that was abandoned; if it was sent, it may have run. */
export function abandonedError(
  module: string,
  call: ModuleCall,
  what: string,
  cause: unknown,
  { granted, wanted }: { readonly granted: number; readonly wanted: number },
): AtlasError {
  const maybeExecuted = call.view !== null;
  const state = maybeExecuted ? "" : `; ${granted} of ${wanted} capacity is bought`;
  const message = `${module}.${call.name}: ${what}${state}`;
  return new AtlasError("timeout", message, { maybeExecuted, cause });
}

/** Calls in order of arrival; calls put back go to the head. */
export class PendingCalls {
  #returned = new Set<ModuleCall>();
  readonly #calls = new Set<ModuleCall>();

  get size(): number {
    return this.#returned.size + this.#calls.size;
  }

  add(call: ModuleCall): void {
    this.#calls.add(call);
  }

  /** Puts calls that a channel did not accept at the head, in order. */
  putBack(calls: readonly ModuleCall[]): void {
    this.#returned = new Set([...calls, ...this.#returned]);
  }

  remove(call: ModuleCall): void {
    if (!this.#returned.delete(call)) this.#calls.delete(call);
  }

  *[Symbol.iterator](): Iterator<ModuleCall> {
    yield* this.#returned;
    yield* this.#calls;
  }
}

/** A channel, as its buyer sees it. */
export interface ChannelView {
  readonly address: Address;
  readonly listener: Address;
  readonly contact: Peer;
  /** The code that requests sent from now on run on, as last announced. */
  label: CodeLabel;
  exports: ReadonlySet<string>;
  grant: number;
  /** The order that bought it. */
  readonly owner: object;
  /** How long opening it took, ms. */
  readonly rttMs: number;
  readonly slot: number;
  /** Totals since it was opened: credit received, requests sent, credit returned. */
  allowed: number;
  used: number;
  returned: number;
  /** Unanswered requests, by number. */
  readonly calls: Waiters<ModuleCall>;
  isDraining: boolean;
}
