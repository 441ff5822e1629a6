/**
 * A call as the host sees it: the method to run, and the receiver of the answer. The router makes
 * one for each local caller and for each call that it passes on, `routing/inbound.ts` makes one for
 * other calls of nodes, and `events/hook_call.ts` for hooks.
 */
import type { AtlasError } from "../errors.ts";
import type { Caller } from "./call_path.ts";
import { Expiring } from "./expiring.ts";
import type { DegradedVerdict, Ownership } from "./ownership.ts";

export abstract class Call extends Expiring {
  abstract readonly key: string;
  abstract readonly method: string;
  abstract readonly idempotencyKey: string | null;
  /** The turns that wait for this call, the outermost first: `<key> <epoch>.<turn>`. */
  abstract readonly chain: readonly string[];
  /** Monotonic time after which nobody waits for the answer. */
  abstract readonly deadline: number;
  /** Who made it. */
  abstract readonly caller: Caller;
  /** Its caller's W3C `traceparent`; null if the caller gave none. */
  abstract readonly trace: string | null;
  /** Whether it was settled or cancelled: nobody waits for an answer any more. */
  done = false;
  /** Whether its method has begun: it may have had effects. */
  started = false;
  /** The next in the same mailbox. */
  next: Call | null = null;
  #abort: AbortController | null = null;

  /**
   * Its {@link deadline}; `now` is the time at which its turn begins, which is just after it was
   * made if it has not waited.
   */
  deadlineFrom(_now: number): number {
    return this.deadline;
  }

  /** Whether it is queued even in a full mailbox, because its sender can't repeat it. */
  get alwaysQueued(): boolean {
    return false;
  }

  /** The arguments, as a copy of the call's own. @throws AtlasError `bad_request` */
  abstract arguments(): unknown[];
  /** The result in the form that {@link succeed} takes. @throws AtlasError `bad_request` */
  abstract encode(result: unknown): unknown;
  /** Answers with an encoded result; `verdict` if the owner couldn't reach the store. */
  abstract succeed(encoded: unknown, owner: Ownership, verdict: DegradedVerdict | null): void;
  /** Answers with an error; `owner`, with `not_owner`: who owns the key, if known. */
  abstract fail(error: AtlasError, owner?: Ownership | null): void;

  /** Aborted once nobody waits for the answer any more. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.done) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** Cancels it: it never starts, or its turn's signal is aborted. */
  cancel(reason?: AtlasError): void {
    this.done = true;
    this.#abort?.abort(reason);
  }

  /**
   * Its turn ended before the method did: its signal is aborted, and the call may be sent to
   * another node.
   */
  interrupt(reason: AtlasError): void {
    this.#abort?.abort(reason);
    this.#abort = null;
  }
}

/** An empty list that all activations share and never change. */
export const NO_CALLS: Call[] = [];
