/**
 * What a request in its plain form has besides its text: the deadline of its body, the signal of a
 * client that disconnects, and the errors of a body that can't be read.
 *
 * Most requests are answered before the event loop's next turn. Timers and listeners are only made
 * for the others, because they cost about as much as reading a small body.
 */
import { AtlasError } from "../../src/errors.ts";

/** What is done in the event loop's next turn. */
export interface Due {
  due(): void;
}

let waiting: Due[] = [];

/** Runs `it.due` in the event loop's next turn. */
export function inNextTurn(it: Due): void {
  if (waiting.push(it) === 1) setImmediate(runDue);
}

function runDue(): void {
  const all = waiting;
  waiting = [];
  for (const it of all) it.due();
}

/** The time that a request's body may take. */
export class BodyDeadline implements Due {
  readonly #ms: number;
  /** Null once it is over. */
  #onLate: ((error: AtlasError) => void) | null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `onLate` gets the error of a body that isn't whole after `ms`, unless it is stopped before. */
  constructor(ms: number, onLate: (error: AtlasError) => void) {
    this.#ms = ms;
    this.#onLate = onLate;
    inNextTurn(this);
  }

  stop(): void {
    this.#onLate = null;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }

  due(): void {
    if (this.#onLate !== null) this.#timer = setTimeout(this.#end, this.#ms);
  }

  readonly #end = (): void => {
    this.#onLate?.(
      new AtlasError("timeout", `the body did not come whole within ${this.#ms} ms`),
    );
  };
}

type Listener = () => void;

/**
 * Aborts when the client disconnects. Has the part of an AbortSignal that calls use; a real one, an
 * event target, costs several times as much.
 */
export class ClientSignal {
  aborted = false;
  reason: unknown = undefined;
  /** Nearly all signals have one listener at most. */
  #first: Listener | null = null;
  #others: Listener[] | null = null;

  get hasListeners(): boolean {
    return this.#first !== null || this.#others !== null;
  }

  addEventListener(_type: "abort", listener: Listener): void {
    if (this.#first === null) this.#first = listener;
    else (this.#others ??= []).push(listener);
  }

  removeEventListener(_type: "abort", listener: Listener): void {
    if (this.#first === listener) this.#first = null;
    else this.#others = this.#others?.filter((other) => other !== listener) ?? null;
  }

  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const all = [this.#first, ...this.#others ?? []];
    this.#first = this.#others = null;
    for (const listener of all) listener?.();
  }
}

/**
 * Aborts when the signal of a `Request` does. Reads that signal only if there is a listener in the
 * event loop's next turn. Bun makes the object then, and it is aborted if the client has gone
 * meanwhile.
 */
export class LateSignal extends ClientSignal implements Due {
  readonly #request: Pick<Request, "signal">;

  constructor(request: Pick<Request, "signal">) {
    super();
    this.#request = request;
    inNextTurn(this);
  }

  due(): void {
    if (!this.hasListeners) return;
    const { signal } = this.#request;
    const abort = () => this.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }
}

/** The error of a body over `maxBytes`. */
export function tooLarge(maxBytes: number): AtlasError {
  return new AtlasError("payload_too_large", `the body is over ${maxBytes} bytes`);
}

/** The error of a body that ended too early. */
export function brokenOff(cause?: unknown): AtlasError {
  return new AtlasError("bad_request", "the body broke off", { cause });
}
