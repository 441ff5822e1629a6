/**
 * Sends a client's request to several nodes, and repeats it only if that is harmless.
 *
 * Takes one request; gives the first final answer within the deadline. If a node is silent and a
 * second delivery is harmless, the next node is asked at the same time, and the first answer
 * counts. The next request then begins at another node. Browser-safe: only fetch, AbortSignal and
 * timers.
 */
import { asMaybeExecuted, AtlasError } from "../../src/errors.ts";
import { type Fetch, type HttpRequest, type Outcome, sendOnce } from "./request.ts";

export type { Fetch, HttpRequest } from "./request.ts";

export interface RequesterOptions {
  /** Base URLs of nodes, without a slash at the end. */
  urls: readonly string[];
  token: string | undefined;
  fetch: Fetch;
}

/** The largest number of attempts at one request, including the first one. */
const MAX_ATTEMPTS = 24;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;
/** If an attempt had less time than this, its timeout proves nothing about its node, in ms. */
const FAIR_MS = 1_000;

/** Sends a request and gives the value of its answer. Rejects with an AtlasError. */
export type Requester = (request: HttpRequest) => Promise<unknown>;

/** Sends requests to any of the nodes; the one that answered last is asked first. */
export function createRequester(options: RequesterOptions): Requester {
  const endpoints = new Endpoints(options.urls);
  return async (request) => {
    const answered = new AbortController();
    try {
      return await new RetryingRequest(options, endpoints, request, answered.signal).run();
    } finally {
      answered.abort();
    }
  };
}

/** The nodes, and which of them is asked first. */
class Endpoints {
  readonly urls: readonly string[];
  current = 0;

  constructor(urls: readonly string[]) {
    this.urls = urls;
  }

  /**
   * This node gave no answer: the next one is asked first, unless another request has already done
   * that.
   */
  pass(index: number): void {
    if (index === this.current) this.current = (index + 1) % this.urls.length;
  }
}

/** The outcome of an attempt, its node's index, and how much time it had, in ms. */
type Attempt = Outcome & { readonly index: number; readonly hadMs: number };

/** One request, sent to one node after the other. */
class RetryingRequest {
  readonly #options: RequesterOptions;
  readonly #endpoints: Endpoints;
  readonly #request: HttpRequest;
  readonly #answered: AbortSignal;
  readonly #deadline: number;
  /** Attempts without an answer so far, by index of the node. */
  readonly #open = new Map<number, Promise<Attempt>>();
  /** The last error, by index of the node. */
  readonly #reasons = new Map<number, AtlasError>();
  /** The index of the node that was asked last. */
  #asked = 0;
  #attempts = 0;
  #mayHaveRun = false;

  constructor(
    options: RequesterOptions,
    endpoints: Endpoints,
    request: HttpRequest,
    answered: AbortSignal,
  ) {
    this.#options = options;
    this.#endpoints = endpoints;
    this.#request = request;
    this.#answered = answered;
    this.#deadline = performance.now() + request.timeoutMs;
  }

  async run(): Promise<unknown> {
    for (let again = true;;) {
      if (again) this.#try();
      const attempt = await this.#soonest(again ? this.#soloMs() : Infinity);
      if (attempt === null) continue;
      if (attempt.error === undefined) {
        this.#endpoints.current = attempt.index;
        this.#request.onHeaders?.(attempt.headers);
        return attempt.answer;
      }
      const { error } = attempt;
      // If one attempt may have run, the request may have run, whatever the outcome of the next
      // attempt.
      this.#mayHaveRun ||= error.maybeExecuted;
      const reason = this.#reasonOf(attempt);
      if (!mayRepeat(this.#request, error)) throw this.#final(reason);
      const pause = this.#pauseMs(error);
      again = this.#attempts < MAX_ATTEMPTS && pause < this.#leftMs();
      if (again) await sleep(pause, this.#request.signal);
      else if (this.#open.size === 0) throw this.#final(reason);
    }
  }

  #try(): void {
    const { urls, current } = this.#endpoints;
    const { token, fetch } = this.#options;
    let index = current;
    while (this.#open.has(index)) index = (index + 1) % urls.length;
    this.#asked = index;
    this.#attempts++;
    const sending = { token, fetch, deadline: this.#deadline, answered: this.#answered };
    const hadMs = this.#leftMs();
    const attempt = sendOnce(urls[index] as string, this.#request, sending).then((delivered) => {
      if (delivered.error?.code === "unavailable" || isSilent(delivered)) {
        this.#endpoints.pass(index);
      }
      return { ...delivered, index, hadMs };
    });
    this.#open.set(index, attempt);
  }

  /** The attempt that is answered next; null if none is answered within `ms`. */
  async #soonest(ms: number): Promise<Attempt | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => {
      if (ms < Infinity) timer = setTimeout(() => resolve(null), ms);
    });
    const attempt = await Promise.race([...this.#open.values(), late]);
    clearTimeout(timer);
    if (attempt === null) this.#endpoints.pass(this.#asked);
    else this.#open.delete(attempt.index);
    return attempt;
  }

  /**
   * How long the requester waits only for the node that was just asked: its share of the remaining
   * time, if other nodes can be asked as well.
   */
  #soloMs(): number {
    const others = this.#endpoints.urls.length - this.#attempts;
    const { isSingle } = this.#request;
    return others > 0 && !isSingle && isHarmless(this.#request)
      ? this.#leftMs() / (others + 1)
      : Infinity;
  }

  /** Each node is tried once without a pause; after that with backoff. */
  #pauseMs({ code }: AtlasError): number {
    const count = this.#endpoints.urls.length;
    const isFresh = this.#attempts < count && code === "unavailable";
    return isFresh ? 0 : pauseMs(Math.floor((this.#attempts - 1) / count));
  }

  /**
   * The error to report for a node: that of its attempt before, if its last attempt had hardly any
   * time.
   */
  #reasonOf(attempt: Attempt & { readonly error: AtlasError }): AtlasError {
    const { index, error, hadMs } = attempt;
    const before = this.#reasons.get(index);
    const isLate = isSilent(attempt) && error.code === "timeout";
    if (before && isLate && hadMs < FAIR_MS) return before;
    this.#reasons.set(index, error);
    return error;
  }

  #leftMs(): number {
    return this.#deadline - performance.now();
  }

  /** The error that the caller gets. Attempts without an answer may still run. */
  #final(error: AtlasError): AtlasError {
    const isOut = this.#open.size > 0 && this.#request.method === "POST";
    return this.#mayHaveRun || isOut ? asMaybeExecuted(error) : error;
  }
}

function isSilent(delivered: Outcome): boolean {
  return delivered.error !== undefined && delivered.silent;
}

/** Whether a second delivery changes nothing. */
function isHarmless({ method, idempotencyKey }: HttpRequest): boolean {
  return method !== "POST" || idempotencyKey !== undefined;
}

/** Whether a request that failed with this error can be repeated without running anything twice. */
function mayRepeat(request: HttpRequest, error: AtlasError): boolean {
  if (request.signal?.aborted || request.isSingle || !error.retryable) return false;
  if (request.isNoWait && error.code === "overloaded") return false;
  return !error.maybeExecuted || isHarmless(request);
}

/** Exponential backoff from 20 ms to 1 s, with a random half to whole of it. */
function pauseMs(round: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** round);
  return full * (0.5 + Math.random() / 2);
}

/** Ends early if the caller aborts. The next attempt then reports that. */
function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
