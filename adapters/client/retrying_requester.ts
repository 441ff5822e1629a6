/**
 * Sends a client's request to several nodes, and repeats it only where that is harmless.
 *
 * Takes one request; gives the first final answer within the deadline. If a node is silent and a
 * second delivery is harmless, the next node is asked beside it, and the first answer counts. The
 * next request then begins at another node. Browser-safe: only fetch, AbortSignal and timers.
 */
import { asMaybeExecuted, AtlasError } from "../../src/errors.ts";
import { deliver, type Delivered, type Fetch, type HttpRequest } from "./request.ts";

export type { Fetch, HttpRequest as Outgoing } from "./request.ts";

export interface RequesterOptions {
  /** Base URLs of nodes, without a slash at the end. */
  urls: readonly string[];
  token: string | undefined;
  fetch: Fetch;
}

/** Attempts at one request at most, the first one included. */
const MAX_ATTEMPTS = 24;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;
/** An attempt that has less time than this proves nothing by a door's silence, ms. */
const FAIR_MS = 1_000;

/** Sends a request and gives the value of its answer. Rejects with an AtlasError. */
export type Requester = (request: HttpRequest) => Promise<unknown>;

/** Sends requests to any of the nodes; the one that answered last is asked first. */
export function createRequester(options: RequesterOptions): Requester {
  const doors = new Endpoints(options.urls);
  return async (request) => {
    const over = new AbortController();
    try {
      return await new RetryingRequest(options, doors, request, over.signal).run();
    } finally {
      over.abort();
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

  /** This one gave no answer: the next one's turn, unless somebody went on already. */
  pass(door: number): void {
    if (door === this.current) this.current = (door + 1) % this.urls.length;
  }
}

/** What came of an attempt, at which door, and how much time it had, ms. */
type Attempt = Delivered & { readonly door: number; readonly hadMs: number };

/** One request on its way from door to door. */
class RetryingRequest {
  readonly #options: RequesterOptions;
  readonly #endpoints: Endpoints;
  readonly #request: HttpRequest;
  readonly #over: AbortSignal;
  readonly #deadline: number;
  /** Attempts that were not answered yet, by door. */
  readonly #open = new Map<number, Promise<Attempt>>();
  /** What failed last, by door. */
  readonly #reasons = new Map<number, AtlasError>();
  /** The door that was asked last. */
  #asked = 0;
  #attempts = 0;
  #mayHaveRun = false;

  constructor(
    options: RequesterOptions,
    doors: Endpoints,
    request: HttpRequest,
    over: AbortSignal,
  ) {
    this.#options = options;
    this.#endpoints = doors;
    this.#request = request;
    this.#over = over;
    this.#deadline = performance.now() + request.timeoutMs;
  }

  async run(): Promise<unknown> {
    for (let again = true;;) {
      if (again) this.#try();
      const visit = await this.#soonest(again ? this.#patienceMs() : Infinity);
      if (visit === null) continue;
      if (visit.error === undefined) {
        this.#endpoints.current = visit.door;
        this.#request.heard?.(visit.headers);
        return visit.answer;
      }
      const { error } = visit;
      // What one attempt may have done stays done, whatever becomes of the next.
      this.#mayHaveRun ||= error.maybeExecuted;
      const reason = this.#reasonOf(visit);
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
    let door = current;
    while (this.#open.has(door)) door = (door + 1) % urls.length;
    this.#asked = door;
    this.#attempts++;
    const sending = { token, fetch, deadline: this.#deadline, over: this.#over };
    const hadMs = this.#leftMs();
    const visit = deliver(urls[door] as string, this.#request, sending).then((delivered) => {
      if (delivered.error?.code === "unavailable" || isSilent(delivered)) {
        this.#endpoints.pass(door);
      }
      return { ...delivered, door, hadMs };
    });
    this.#open.set(door, visit);
  }

  /** The attempt that is answered next; null where none is within `ms`. */
  async #soonest(ms: number): Promise<Attempt | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((resolve) => {
      if (ms < Infinity) timer = setTimeout(() => resolve(null), ms);
    });
    const visit = await Promise.race([...this.#open.values(), late]);
    clearTimeout(timer);
    if (visit === null) this.#endpoints.pass(this.#asked);
    else this.#open.delete(visit.door);
    return visit;
  }

  /**
   * How long the door that was just asked is waited for alone: its share of what is left,
   * where others can be asked as well.
   */
  #patienceMs(): number {
    const others = this.#endpoints.urls.length - this.#attempts;
    const { isSingle } = this.#request;
    return others > 0 && !isSingle && isHarmless(this.#request)
      ? this.#leftMs() / (others + 1)
      : Infinity;
  }

  /** Each door is tried once without waiting; then they may all need time. */
  #pauseMs({ code }: AtlasError): number {
    const doors = this.#endpoints.urls.length;
    const isFresh = this.#attempts < doors && code === "unavailable";
    return isFresh ? 0 : pauseMs(Math.floor((this.#attempts - 1) / doors));
  }

  /** Why a door gave nothing: what it said before, where it had hardly any time to say it again. */
  #reasonOf(visit: Attempt & { readonly error: AtlasError }): AtlasError {
    const { door, error, hadMs } = visit;
    const before = this.#reasons.get(door);
    const isLate = isSilent(visit) && error.code === "timeout";
    if (before && isLate && hadMs < FAIR_MS) return before;
    this.#reasons.set(door, error);
    return error;
  }

  #leftMs(): number {
    return this.#deadline - performance.now();
  }

  /** The error that the caller gets: attempts that nobody answered may still run. */
  #final(error: AtlasError): AtlasError {
    const isOut = this.#open.size > 0 && this.#request.method === "POST";
    return this.#mayHaveRun || isOut ? asMaybeExecuted(error) : error;
  }
}

function isSilent(delivered: Delivered): boolean {
  return delivered.error !== undefined && delivered.silent;
}

/** Whether a second delivery changes nothing. */
function isHarmless({ method, idempotencyKey }: HttpRequest): boolean {
  return method !== "POST" || idempotencyKey !== undefined;
}

/** Whether repeating a request that failed so can't run anything twice. */
function mayRepeat(request: HttpRequest, error: AtlasError): boolean {
  if (request.signal?.aborted || request.isSingle || !error.retryable) return false;
  if (request.isImpatient && error.code === "overloaded") return false;
  return !error.maybeExecuted || isHarmless(request);
}

/** Doubling from 20 ms to 1 s, the upper half of it drawn. */
function pauseMs(round: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** round);
  return full * (0.5 + Math.random() / 2);
}

/** Ends early where the caller gives up; the next attempt then says so. */
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
