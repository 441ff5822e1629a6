/**
 * The pending calls of one client socket, each with its own time limit, connected or not.
 * Browser-safe.
 */
import { AtlasError, MAX_MESSAGE } from "../../src/errors.ts";
import {
  checkArguments,
  checkMs,
  checkOptions,
  type OptionNames,
  quoted,
} from "../../src/model/options.ts";
import { encodeFrame, type Frame } from "./frames.ts";
import { checkIdempotencyKey } from "./options.ts";
import type { SocketCallOptions } from "./socket_api.ts";

const OPTIONS: OptionNames<SocketCallOptions> = {
  timeoutMs: true,
  idempotencyKey: true,
  onVerdict: true,
};
/** How much longer than its time limit a call waits for its answer, in ms. */
const GRACE_MS = 500;

/** A pending call. */
export class PendingCall {
  readonly id: number;
  readonly idempotencyKey: string | undefined;
  /** Whether it was sent over the present connection. */
  isSent = false;
  /** Whether it was ever sent: it may have been executed. */
  mayHaveRun = false;
  timer: ReturnType<typeof setTimeout> | undefined;
  readonly #method: string;
  readonly #args: readonly unknown[];
  readonly #until: number;

  constructor(
    id: number,
    method: string,
    args: readonly unknown[],
    timeoutMs: number,
    idempotencyKey: string | undefined,
  ) {
    this.id = id;
    this.idempotencyKey = idempotencyKey;
    this.#method = method;
    this.#args = args;
    this.#until = performance.now() + timeoutMs;
  }

  /** The remaining time, in ms. */
  get leftMs(): number {
    return this.#until - performance.now();
  }

  /** The call's frame, with its remaining time. @throws AtlasError `bad_request` */
  frame(): Uint8Array<ArrayBuffer> {
    return encodeFrame({
      t: "call",
      id: this.id,
      method: this.#method,
      args: this.#args,
      timeoutMs: Math.max(1, Math.ceil(this.leftMs)),
      ...this.idempotencyKey !== undefined && { idempotencyKey: this.idempotencyKey },
    });
  }

  /** The error of a call whose time is over. */
  timedOut(lastError: string | null): AtlasError {
    const why = this.isSent || lastError === null
      ? ""
      : `; the socket isn't connected: ${lastError}`;
    const message = `${quoted(this.#method)}: no answer in time${why}`;
    return new AtlasError("timeout", message, { maybeExecuted: this.mayHaveRun });
  }
}

interface Waiting {
  readonly call: PendingCall;
  readonly options: SocketCallOptions;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AtlasError) => void;
}

export class SocketCalls {
  readonly #waiting = new Map<number, Waiting>();
  readonly #timeoutMs: number;
  #ids = 0;

  /** @param timeoutMs the limit of calls that name none. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Whether any call that was sent waits for its answer. */
  get areSent(): boolean {
    for (const { call } of this.#waiting.values()) if (call.isSent) return true;
    return false;
  }

  /**
   * Makes a call, and resolves to its answer once `send` has accepted it.
   *
   * @param late runs when the call's time is over; gives the reason why the socket isn't connected,
   * if it isn't.
   * @throws AtlasError `bad_request` if the method, an argument or option isn't allowed; what
   * `send` throws.
   */
  async call(
    method: string,
    args: readonly unknown[],
    given: SocketCallOptions,
    send: (call: PendingCall) => void,
    late: (call: PendingCall) => string | null,
  ): Promise<unknown> {
    if (typeof method !== "string") {
      throw new AtlasError("bad_request", `method is ${quoted(method)}, it must be text`);
    }
    const options = checkOptions(given, OPTIONS);
    const timeoutMs = checkMs("timeoutMs", options.timeoutMs ?? this.#timeoutMs);
    const key = checkIdempotencyKey(options.idempotencyKey);
    const call = new PendingCall(++this.#ids, method, checkArguments(args), timeoutMs, key);
    return await new Promise((resolve, reject) => {
      this.#waiting.set(call.id, { call, options, resolve, reject });
      const end = (): void => this.#end(call, call.timedOut(late(call)));
      call.timer = setTimeout(() => {
        // The node ends the call at the same time, and knows whether it has begun.
        if (call.isSent) call.timer = setTimeout(end, GRACE_MS);
        else end();
      }, timeoutMs);
      try {
        send(call);
      } catch (error) {
        this.#end(call, error as AtlasError);
      }
    });
  }

  /** An answer came. */
  replied(frame: Extract<Frame, { t: "reply" }>): void {
    const waiting = this.#waiting.get(frame.id as number);
    if (!waiting) return;
    const { call, options, resolve } = waiting;
    if ("error" in frame) {
      const { code, message, retryable, maybeExecuted } = frame.error;
      const error = new AtlasError(code as AtlasError["code"], message.slice(0, MAX_MESSAGE), {
        retryable: retryable === true,
        maybeExecuted: maybeExecuted === true,
      });
      return this.#end(call, error);
    }
    this.#forget(call);
    const { verdict } = frame;
    if (verdict !== undefined) options.onVerdict?.(verdict);
    resolve(frame.result);
  }

  /**
   * The connection broke: its calls fail, except those that have to be sent again, which are
   * returned.
   */
  lost(why: string): PendingCall[] {
    const again: PendingCall[] = [];
    for (const { call } of [...this.#waiting.values()]) {
      if (!call.isSent) continue;
      call.isSent = false;
      if (call.idempotencyKey !== undefined) again.push(call);
      else this.#end(call, new AtlasError("unavailable", why, { maybeExecuted: true }));
    }
    return again;
  }

  /** The socket has ended: all calls fail. */
  close(why: string): void {
    for (const { call } of [...this.#waiting.values()]) {
      const { mayHaveRun: maybeExecuted } = call;
      this.#end(call, new AtlasError("unavailable", why, { maybeExecuted }));
    }
  }

  #end(call: PendingCall, error: AtlasError): void {
    const waiting = this.#waiting.get(call.id);
    this.#forget(call);
    waiting?.reject(error);
  }

  #forget(call: PendingCall): void {
    clearTimeout(call.timer);
    this.#waiting.delete(call.id);
  }
}
