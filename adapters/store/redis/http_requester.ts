/**
 * The HTTP requester given to `@upstash/redis`: `fetch`, with bounds that the package's own
 * requester lacks. The endpoint is not trusted: any server may answer at the URL's name.
 *
 * It takes a path and a body and gives the parsed answer. No redirect is followed, so token and
 * body go to the URL's own host alone; no compressed answer is asked for or taken; an answer is
 * JSON of at most `MAX_ANSWER_BYTES`, and all that are being read at once are at most
 * `MAX_ANSWERS_BYTES`, counted as they arrive, with or without decompression.
 */
import { redirectOf } from "../../../src/model/redirect.ts";

/** Bytes of one answer. */
export const MAX_ANSWER_BYTES = 33_554_432;
/** Bytes of all answers that one store is reading at once. */
export const MAX_ANSWERS_BYTES = 67_108_864;
/** Bytes of an error's answer. */
const MAX_REFUSAL_BYTES = 65_536;
/** Longest sync token of an answer that is sent with the next request, in characters. */
const MAX_SYNC_TOKEN = 1_024;

const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;

/** The part of `@upstash/redis`'s request that is used. */
export interface UpstashRequest {
  readonly path?: readonly string[];
  readonly body?: unknown;
}

export interface RequesterOptions {
  readonly url: URL;
  readonly token: string;
  /** The signal that ends the request which starts now. */
  signal(): AbortSignal;
}

/** An answer is over the limit; no repeat makes it shorter. */
export class AnswerTooLong extends Error {}

/** The endpoint refused a request, or one command. */
export class EndpointRefusal extends Error {}

/** What `new Redis(requester)` takes. */
export class UpstashRequester {
  readonly readYourWrites = true;
  upstashSyncToken = "";
  readonly #options: RequesterOptions;
  readonly #base: string;
  #reading = 0;

  constructor(options: RequesterOptions) {
    this.#options = options;
    this.#base = options.url.href.replace(/\/$/, "");
  }

  // deno-lint-ignore no-explicit-any
  async request(request: UpstashRequest): Promise<any> {
    const signal = this.#options.signal();
    const init: RequestInit & { decompress: boolean } = {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": `Bearer ${this.#options.token}`,
        "upstash-sync-token": this.upstashSyncToken,
      },
      body: JSON.stringify(request.body),
      redirect: "manual",
      cache: "no-store",
      signal,
      // Bun would decompress everything that has arrived at once, so decompression is turned off.
      decompress: false,
    };
    const response = await fetch([this.#base, ...request.path ?? []].join("/"), init);
    try {
      return await this.#answerOf(response, signal, request.body);
    } finally {
      // An unread body must not keep its connection open, or continue to arrive.
      if (response.body && !response.bodyUsed) response.body.cancel().catch(() => {});
    }
  }

  async #answerOf(response: Response, signal: AbortSignal, asked: unknown): Promise<unknown> {
    const { status, headers } = response;
    const redirect = redirectOf(response, this.#base);
    if (redirect !== null) throw new Error(`it ${redirect}, which is not followed`);
    const encoding = headers.get("content-encoding") ?? "identity";
    if (encoding !== "identity") {
      throw new Error(`it answers with the encoding ${shown(encoding)}, which was not asked for`);
    }
    const type = headers.get("content-type") ?? "none";
    const isJson = JSON_TYPE.test(type);
    if (!response.ok) {
      const text = isJson ? await this.#textOf(response, MAX_REFUSAL_BYTES, signal) : "";
      const refusal = refusalIn(text);
      if (status < 400 || status >= 500) {
        throw new Error(refusal ?? `it answers with HTTP ${status}`);
      }
      // No command of a refused request ran.
      throw new EndpointRefusal(
        refusal === null || status === 429 ? whole(status, refusal) : refusal,
      );
    }
    if (!isJson) {
      const begins = await beginningOf(response);
      throw new Error(`it answers with the content type ${shown(type)}, not JSON: ${begins}`);
    }
    const answer = answersIn(
      await this.#textOf(response, MAX_ANSWER_BYTES, signal),
      Array.isArray(asked) ? asked.length : 0,
    );
    const token = headers.get("upstash-sync-token") ?? "";
    this.upstashSyncToken = token.length <= MAX_SYNC_TOKEN ? token : "";
    return answer;
  }

  /** The body as text; rejects as soon as it is too long. */
  async #textOf(response: Response, most: number, signal: AbortSignal): Promise<string> {
    if (!response.body) return "";
    const reader = response.body.getReader();
    const stop = (): void => void reader.cancel().catch(() => {});
    signal.addEventListener("abort", stop);
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let text = "";
    let size = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (signal.aborted) throw signal.reason;
        if (done) return text + decoder.decode();
        size += value.byteLength;
        this.#reading += value.byteLength;
        if (size > most) throw new AnswerTooLong(`its answer is longer than ${most} bytes`);
        if (this.#reading > MAX_ANSWERS_BYTES) {
          throw new Error(`its answers are longer than ${MAX_ANSWERS_BYTES} bytes together`);
        }
        text += decoder.decode(value, { stream: true });
      }
    } finally {
      this.#reading -= size;
      signal.removeEventListener("abort", stop);
      stop();
    }
  }
}

/** The beginning of a body; the rest is not read. */
async function beginningOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const { value } = await reader?.read() ?? {};
  reader?.cancel().catch(() => {});
  return shown(new TextDecoder().decode(value?.subarray(0, 80)));
}

/**
 * The answers of a pipeline of `count` commands. @throws Error if the body is not such an answer
 */
function answersIn(text: string, count: number): unknown {
  let answers: unknown;
  try {
    answers = JSON.parse(text);
  } catch {
    throw new Error(`it answers with what is not JSON: ${shown(text)}`);
  }
  const isList = Array.isArray(answers) && answers.length === count &&
    answers.every((answer) => typeof answer === "object" && answer !== null);
  if (isList) return answers;
  throw new Error(refusalIn(text) ?? `it answers ${count} commands with ${shown(text)}`);
}

function whole(status: number, refusal: string | null): string {
  return `it answers with HTTP ${status}${refusal === null ? "" : `: ${refusal}`}`;
}

/** The refusal by Redis or a proxy before it, as text; null if the request was not refused. */
function refusalIn(text: string): string | null {
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    return typeof error === "string" ? error.slice(0, 1_000) : null;
  } catch {
    return null;
  }
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
