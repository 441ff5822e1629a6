/**
 * A connection to a Redis over HTTP, by Upstash's REST API. No connection is kept open. All scripts
 * of a tick are sent in one `/pipeline` request; each is atomic by itself.
 *
 * An attempt without a readable answer (cut off, an HTTP error, a body of another form) is repeated
 * a bounded number of times within the step's time. A script that is to be sent `once` is not
 * repeated; it fails with `unavailable`. A step that Redis itself refuses is not repeated.
 *
 * Needs only `fetch`, `AbortController` and timers. `http_requester.ts` bounds what an endpoint
 * may answer.
 *
 * Source: `docs/design.md`, Claims (a repeated claim gets the same answer).
 */
import { AtlasError, isAtlasError, messageOf } from "../../../src/errors.ts";
import { refusalOf, stepRefused } from "../../../src/model/refusal.ts";
import { Batcher, type Queued } from "../batch.ts";
import { closedError, failedStep, unavailable } from "../check.ts";
import type { EvictionMonitor } from "./eviction.ts";
import { AnswerTooLong, EndpointRefusal } from "./http_requester.ts";
import { requestTimeout } from "./request_timeout.ts";
import type { RedisBackend } from "./store.ts";

/** The part of `@upstash/redis`'s `Redis` that is used. */
export interface UpstashClient {
  pipeline(): UpstashPipeline;
}

/** Commands that travel in one request, each with its own answer. */
export interface UpstashPipeline {
  eval(script: string, keys: string[], args: string[]): unknown;
  evalsha(digest: string, keys: string[], args: string[]): unknown;
  scriptLoad(script: string): unknown;
  exec(options: { keepErrors: true }): Promise<unknown>;
}

export interface UpstashConnectionOptions {
  /** The Redis's name in messages. */
  name: string;
  /** How long one step may take, repeats included, in ms. */
  timeoutMs: number;
  scripts: readonly string[];
  /** Checks, once, whether the server may evict keys. */
  eviction: EvictionMonitor;
  /** Makes the client; each request MUST use the signal that `signal` gives when it starts. */
  client(signal: () => AbortSignal): UpstashClient;
}

/** The largest number of scripts in one request. */
const MAX_REQUEST_SCRIPTS = 32;
/** Code units of arguments after which a request is sent. Upstash refuses some megabytes. */
export const MAX_REQUEST_TEXT = 262_144;
/** The number of requests that may be in flight at once; further requests wait. */
const MAX_REQUESTS = 64;
/** The number of requests that may wait before further requests are refused. */
const MAX_WAITING = 4_096;
/** The largest number of times that one request is sent. */
const MAX_ATTEMPTS = 3;
/**
 * The pause before a repeat is between half and all of this value times the attempt's number, in
 * ms.
 */
const REPEAT_PAUSE_MS = 40;

/** Proves that scripts run, and gives INFO memory, if the server allows that. */
const PROOF =
  `local info = redis.pcall('INFO', 'memory') return { type(info) == 'string' and info or '' }`;

/** Refusals of credentials, by Redis or its gateway, that no repeat will change. */
const REFUSED = /unauthorized|forbidden|WRONGPASS|NOAUTH|NOPERM|auth token|\b40[13]\b/i;
/** Refusals by Redis or its gateway of a request that is too long. */
const TOO_LARGE = /max request size|too large|\b413\b/i;

/** One script to run. */
interface Job {
  readonly script: string;
  readonly keys: readonly string[];
  readonly args: readonly string[];
  readonly once: boolean;
  /** Whether its source must be sent, since Redis didn't know its digest. */
  whole: boolean;
  /** Whether it was sent before without a readable answer: it may have run. */
  isInDoubt: boolean;
}

/** One answer of a pipeline. */
interface Answer {
  readonly result?: unknown;
  readonly error?: string;
}

export class UpstashConnection implements RedisBackend {
  readonly clustered = false;
  readonly #options: UpstashConnectionOptions;
  readonly #client: UpstashClient;
  readonly #jobs: Batcher<Job>;
  readonly #digests = new Map<string, string>();
  readonly #open = new Set<AbortController>();
  readonly #waiting: (() => void)[] = [];
  #signal: AbortSignal = new AbortController().signal;
  #running = 0;
  #answered = false;
  #closed = false;

  constructor(options: UpstashConnectionOptions) {
    this.#options = options;
    this.#client = options.client(() => this.#signal);
    this.#jobs = new Batcher<Job>({
      maxOps: MAX_REQUEST_SCRIPTS,
      maxSize: MAX_REQUEST_TEXT,
      sizeOf: ({ args }) => args.reduce((size, arg) => size + arg.length, 0),
      run: (batch) => {
        this.#deliver(batch);
      },
    });
  }

  /** Whether the last request was answered, after repeats if they were needed. */
  get up(): boolean {
    return this.#answered && !this.#closed;
  }

  /**
   * Loads the scripts, which proves that address and token are right. Tries again until the time
   * limit has passed.
   *
   * @throws AtlasError `unauthorized` if the token is refused or may not write, `unavailable` if
   * nobody answers as a Redis does.
   */
  async open(): Promise<void> {
    const giveUp = performance.now() + this.#options.timeoutMs;
    let why: unknown;
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#loadScripts(giveUp);
      } catch (error) {
        // An earlier answer is more informative than the timeout of the last attempt.
        if (why === undefined || !(error instanceof DeadlinePassed)) why = error;
        if (isAtlasError(error) && error.code === "bad_request") throw error;
        if (REFUSED.test(reasonOf(error))) throw this.#unauthorized(error);
        const wait = pauseOf(attempt);
        if (this.#closed || performance.now() + wait >= giveUp) throw this.#failure(why);
        await sleep(wait);
      }
    }
  }

  script(
    script: string,
    keys: readonly string[],
    args: readonly string[],
    once = false,
  ): Promise<unknown> {
    if (this.#closed) return Promise.reject(closedError());
    return this.#jobs.push({ script, keys, args, once, whole: false, isInDoubt: false });
  }

  /** Closes it finally; requests in flight reject. */
  close(): void {
    this.#closed = true;
    for (const controller of this.#open) controller.abort(closedError());
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async #loadScripts(giveUp: number): Promise<void> {
    const pipeline = this.#client.pipeline();
    for (const script of this.#options.scripts) pipeline.scriptLoad(script);
    // A token that may only read may be able to load scripts, but can't run them.
    pipeline.eval(PROOF, [], []);
    const answers = await this.#send(pipeline, this.#options.scripts.length + 1, giveUp);
    const refusal = answers.find(({ error }) => error !== undefined);
    if (refusal) throw new Error(refusal.error);
    this.#options.scripts.forEach((script, i) => {
      const digest = answers[i]?.result;
      if (typeof digest !== "string" || !/^[0-9a-f]{40}$/.test(digest)) {
        throw new Error(`it answers SCRIPT LOAD with ${shown(digest)}`);
      }
      this.#digests.set(script, digest);
    });
    const proof = answers.at(-1)?.result;
    this.#options.eviction.judge(this.#options.name, Array.isArray(proof) ? proof[0] : "");
  }

  /** Settles each entry, in as many attempts as are needed and allowed. */
  async #deliver(batch: Queued<Job>[]): Promise<void> {
    const giveUp = performance.now() + this.#options.timeoutMs;
    let left = batch;
    for (let attempt = 1; left.length > 0; attempt++) {
      try {
        left = await this.#attempt(left, giveUp);
      } catch (error) {
        if (error instanceof AnswerTooLong && left.length > 1) {
          return this.#deliverEach(left, error);
        }
        left = this.#repeatable(left, error, attempt, giveUp);
        if (left.length > 0) await sleep(pauseOf(attempt));
      }
    }
  }

  /** Sends each script by itself, because one of them may have made the answer too long. */
  #deliverEach(batch: Queued<Job>[], error: AnswerTooLong): void {
    for (const entry of batch) {
      if (entry.op.once) entry.reject(this.#failure(error));
      else void this.#deliver([entry]);
    }
  }

  /**
   * Sends `batch` once and settles the scripts that were answered; gives those that must be sent in
   * full.
   */
  async #attempt(batch: Queued<Job>[], giveUp: number): Promise<Queued<Job>[]> {
    const pipeline = this.#client.pipeline();
    for (const { op: { script, keys, args, whole } } of batch) {
      const digest = whole ? undefined : this.#digests.get(script);
      if (digest === undefined) pipeline.eval(script, [...keys], [...args]);
      else pipeline.evalsha(digest, [...keys], [...args]);
    }
    const answers = await this.#send(pipeline, batch.length, giveUp);
    return batch.filter((entry, i) => {
      const { result, error } = answers[i] as Answer;
      const refusal = error === undefined && entry.op.isInDoubt ? refusedIn(result) : null;
      if (refusal !== null) entry.reject(this.#failure(new Error(refusal)));
      else if (error === undefined) entry.resolve(result);
      else if (error.includes("NOSCRIPT") && !entry.op.whole) return entry.op.whole = true;
      else {entry.reject(
          this.#failure(entry.op.isInDoubt ? new Error(error) : new EndpointRefusal(error)),
        );}
      return false;
    });
  }

  /** Rejects the scripts that must not be sent again after `error`, and gives the others. */
  #repeatable(
    batch: Queued<Job>[],
    error: unknown,
    attempt: number,
    giveUp: number,
  ): Queued<Job>[] {
    const reason = reasonOf(error);
    const again = !this.#closed && attempt < MAX_ATTEMPTS &&
      performance.now() + REPEAT_PAUSE_MS * attempt < giveUp &&
      !REFUSED.test(reason) && !TOO_LARGE.test(reason) && !(error instanceof AnswerTooLong) &&
      refusalOf(this.#failure(error)) !== "lasting";
    if (!again) this.#answered = false;
    return batch.filter((entry) => {
      const isRefused = error instanceof EndpointRefusal;
      if (again && !entry.op.once) {
        entry.op.isInDoubt ||= !isRefused;
        return true;
      }
      const cause = isRefused && entry.op.isInDoubt ? new Error(reason) : error;
      entry.reject(this.#failure(cause, batch.length === 1));
      return false;
    });
  }

  /** One request. Rejects unless there is an answer, or an error, for each of its commands. */
  async #send(pipeline: UpstashPipeline, count: number, giveUp: number): Promise<Answer[]> {
    await this.#awaitTurn();
    try {
      const answers = await this.#within(giveUp, () => pipeline.exec({ keepErrors: true }));
      if (!areAnswers(answers, count)) {
        throw new Error(`it answers ${count} commands with ${shown(answers)}`);
      }
      this.#answered = true;
      return answers;
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  /** Waits until another request may be sent. */
  async #awaitTurn(): Promise<void> {
    while (this.#running >= MAX_REQUESTS && !this.#closed) {
      if (this.#waiting.length >= MAX_WAITING) throw new Error("too many requests wait for it");
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
  }

  /** The result of `run`, unless its time limit passes or the connection closes before. */
  #within<T>(giveUp: number, run: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closedError());
    const controller = new AbortController();
    const { signal } = controller;
    this.#open.add(controller);
    const late = new DeadlinePassed(`no answer within ${this.#options.timeoutMs} ms`);
    const left = Math.max(0, giveUp - performance.now());
    const answered = requestTimeout(left, () => controller.abort(late));
    return new Promise<T>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      // The client asks for its signal before it first waits.
      this.#signal = signal;
      run().then(resolve, reject);
    }).finally(() => {
      answered();
      this.#open.delete(controller);
    });
  }

  #failure(error: unknown, alone = false): AtlasError {
    if (this.#closed) return closedError();
    const reason = reasonOf(error);
    const message = `${this.#options.name}: ${reason}`;
    // Only if the request held no other scripts, because those may fit.
    if (alone && TOO_LARGE.test(reason)) {
      return new AtlasError("bad_request", message, { cause: error });
    }
    // The client's own error holds the whole request in its message.
    return error instanceof EndpointRefusal ? failedStep(reason, message) : unavailable(message);
  }

  #unauthorized(error: unknown): AtlasError {
    return new AtlasError(
      "unauthorized",
      `${this.#options.name} refused the token: ${reasonOf(error)}; set ATLAS_REGISTRY_TOKEN ` +
        "(or the option `token`) to the REST token of this database, not to its read-only one",
    );
  }
}

/** The reason, without the request that the client quotes in its messages. */
function reasonOf(error: unknown): string {
  const [reason = ""] = messageOf(error).split(", command was:");
  const cause = (error as { cause?: unknown } | null)?.cause;
  const why = cause === undefined || cause === null ? "" : messageOf(cause);
  const text = why === "" || reason.includes(why) ? reason : `${reason}: ${why}`;
  return text.replace(/\s+/g, " ").slice(0, 300);
}

/** Whether there is a result that isn't nil, or an error's text, for each command. */
function areAnswers(answers: unknown, count: number): answers is Answer[] {
  return Array.isArray(answers) && answers.length === count &&
    answers.every((answer: Answer | null) =>
      typeof answer?.error === "string" ||
      (answer?.error === undefined && answer?.result !== undefined && answer.result !== null)
    );
}

/** The reason for which a step of a script was refused; null if none was. */
function refusedIn(reply: unknown): string | null {
  if (!Array.isArray(reply)) return null;
  return reply.find((text) =>
    typeof text === "string" && text.startsWith("!") && stepRefused(text, text) !== null
  ) ?? null;
}

/** The time limit passed before an answer came. */
class DeadlinePassed extends Error {}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? String(value);
}

function pauseOf(attempt: number): number {
  return REPEAT_PAUSE_MS * attempt * (0.5 + Math.random() / 2);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
