/**
 * A call as the host sees it: what to run, and where the answer goes. The router makes one for
 * each local caller, `routing/inbound.ts` for calls of other nodes.
 */
import { AtlasError, messageOf } from "../errors.ts";
import { MAX_BODY_BYTES } from "../limits.ts";
import { Expiring } from "./expiring.ts";
import { checkArgumentCount } from "./options.ts";
import type { DegradedVerdict, Ownership } from "./ownership.ts";
import type { Caller } from "./call_path.ts";
import { encodeValue, unpack } from "./value.ts";

export abstract class Call extends Expiring {
  abstract readonly key: string;
  abstract readonly method: string;
  abstract readonly idempotencyKey: string | null;
  /** The turns that wait for this call, outermost first: `<key> <epoch>.<turn>`. */
  abstract readonly chain: readonly string[];
  /** Monotonic time after which nobody waits for the answer. */
  abstract readonly deadline: number;
  /** Who made it. */
  abstract readonly caller: Caller;
  /** Its caller's W3C `traceparent`; null where there is none. */
  abstract readonly trace: string | null;
  /** Whether it was settled or given up: nobody waits for an answer any more. */
  done = false;
  /** Whether its method was begun: it may have done something. */
  started = false;
  /** The next in the same mailbox. */
  next: Call | null = null;
  #abort: AbortController | null = null;

  /** Whether it waits even in a full mailbox: who sent it can't send it again. */
  get isOwed(): boolean {
    return false;
  }

  /** The arguments, shared with nobody. @throws AtlasError `bad_request` */
  abstract arguments(): unknown[];
  /** The result in the form that {@link succeed} takes. @throws AtlasError `bad_request` */
  abstract encode(result: unknown): unknown;
  /** Answers with what {@link encode} made; `mark` where the owner couldn't reach the store. */
  abstract succeed(encoded: unknown, owner: Ownership, mark: DegradedVerdict | null): void;
  /** Answers with an error; with `not_owner`, who owns the key if that is known. */
  abstract fail(error: AtlasError, owner?: Ownership | null): void;

  /** Aborted once nobody waits for the answer any more. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.done) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** Nobody waits any more: it never starts, or its turn's signal aborts. */
  giveUp(reason?: AtlasError): void {
    this.done = true;
    this.#abort?.abort(reason);
  }

  /** The turn that runs it is over before its end: its signal aborts; the call may go elsewhere. */
  interrupt(reason: AtlasError): void {
    this.#abort?.abort(reason);
    this.#abort = null;
  }
}

/**
 * Encodes arguments or a result as a body.
 *
 * @throws AtlasError `bad_request` where it can't be encoded, `payload_too_large`
 * where it is over `MAX_BODY_BYTES`.
 */
export function encodeBody(value: unknown, what: string): Uint8Array {
  return encodeValue(value, what, MAX_BODY_BYTES);
}

/**
 * The arguments in a body that a peer sent.
 *
 * @throws AtlasError `bad_request` where it is no array of values, or one of over
 * `MAX_ARGUMENTS`.
 */
export function argumentsOf(body: Uint8Array): unknown[] {
  const what = "the arguments are not a MessagePack array of values";
  let args: unknown;
  try {
    args = unpack(body);
  } catch (cause) {
    throw new AtlasError("bad_request", `${what}: ${messageOf(cause)}`, { cause });
  }
  if (Array.isArray(args)) return checkArgumentCount(args);
  throw new AtlasError("bad_request", what);
}

/** Shared by all that have none, and never written to. */
export const NO_CALLS: Call[] = [];
