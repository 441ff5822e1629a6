/**
 * A request of `node:http` in its plain form, without a `Request`.
 *
 * Takes what the parser gives; gives method, URL, headers and body as a `Request` would have them.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AtlasError } from "../../src/errors.ts";
import type { HeaderReader, PlainRequest } from "../../src/ports/runtime.ts";
import { concat } from "../http_wire/body.ts";
import { BodyDeadline, brokenOff, ClientSignal, tooLarge } from "../http_wire/request_life.ts";

/** Targets that the URL parser leaves unchanged, if they have no dot segment. */
const PLAIN_TARGET = /^\/[\w!$%&'()*+,\-./:;=?@[\]~]*$/;
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:[/?]|$)/i;
/** Hosts that the URL parser accepts or, as names in numbers, leaves to later checks. */
const PLAIN_HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;
/** The last host that was plain: most requests name the same. */
let lastHost: string | null = null;

export class IncomingRequest implements PlainRequest {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly method: string;
  readonly url: string;
  readonly headers: HeaderReader;
  #signal: ClientSignal | null = null;
  #body: IncomingBody | null = null;

  private constructor(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    url: string,
    headers: HeaderReader,
  ) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.method = incoming.method as string;
    this.url = url;
    this.headers = headers;
  }

  /** Null if a `Request` might have another URL, or none could be made. */
  static of(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    headers: HeaderReader,
  ): IncomingRequest | null {
    const { url = "" } = incoming;
    if (!PLAIN_TARGET.test(url) || DOT_SEGMENT.test(url)) return null;
    if (!isPlainHost(headers.get("host"))) return null;
    return new IncomingRequest(incoming, outgoing, url, headers);
  }

  get signal(): AbortSignal {
    this.#signal ??= new ClientSignal();
    return this.#signal as unknown as AbortSignal;
  }

  /** Checks the announced length, and again the bytes that come. */
  read(maxBytes: number, timeoutMs: number): Uint8Array | Promise<Uint8Array> {
    const incoming = this.#incoming;
    const isChunked = this.headers.get("transfer-encoding") !== null;
    const announced = isChunked ? Infinity : Number(this.headers.get("content-length") ?? 0);
    if (!isChunked && announced > maxBytes) return Promise.reject(tooLarge(maxBytes));
    if (announced === 0) return new Uint8Array(0);
    // Most bodies came with their heads. Reading one at once takes a third of the events' time.
    if (incoming.readableLength === announced) return incoming.read() as Uint8Array;
    return new Promise((resolve, reject) => {
      const body = new IncomingBody(maxBytes, announced, timeoutMs, resolve, reject);
      this.#body = body;
      incoming.on("data", (chunk: Uint8Array) => body.add(chunk));
      if (isChunked) incoming.on("end", () => body.end());
    });
  }

  /** Its connection has closed, or its answer was sent. MUST be called once. */
  closed(): void {
    if (this.#outgoing.writableFinished) return;
    this.#body?.fail(brokenOff());
    this.#signal?.abort(new DOMException("the client disconnected", "AbortError"));
  }
}

/** A body that is being read. */
class IncomingBody {
  readonly #maxBytes: number;
  readonly #announced: number;
  readonly #resolve: (bytes: Uint8Array) => void;
  readonly #reject: (error: AtlasError) => void;
  readonly #deadline: BodyDeadline;
  readonly #chunks: Uint8Array[] = [];
  #length = 0;
  #isOver = false;

  /** `announced` is Infinity if the length is not known. */
  constructor(
    maxBytes: number,
    announced: number,
    timeoutMs: number,
    resolve: (bytes: Uint8Array) => void,
    reject: (error: AtlasError) => void,
  ) {
    this.#maxBytes = maxBytes;
    this.#announced = announced;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadline = new BodyDeadline(timeoutMs, (error) => this.fail(error));
  }

  /** What comes after a failure is read and dropped. */
  add(chunk: Uint8Array): void {
    if (this.#isOver) return;
    this.#length += chunk.length;
    if (this.#length > this.#maxBytes) return this.fail(tooLarge(this.#maxBytes));
    this.#chunks.push(chunk);
    if (this.#length >= this.#announced) this.end();
  }

  end(): void {
    if (!this.#finish()) return;
    const [first] = this.#chunks;
    this.#resolve(first && this.#chunks.length === 1 ? first : concat(this.#chunks, this.#length));
  }

  fail(error: AtlasError): void {
    if (this.#finish()) this.#reject(error);
  }

  #finish(): boolean {
    if (this.#isOver) return false;
    this.#deadline.stop();
    return this.#isOver = true;
  }
}

function isPlainHost(host: string | null): boolean {
  if (host === lastHost) return true;
  if (host !== null && !PLAIN_HOST.test(host)) return false;
  lastHost = host;
  return true;
}

/** Headers as they came, read by name: few of them are asked for. */
export class IncomingHeaders implements HeaderReader {
  /** Names and values by turns. */
  readonly #raw: readonly string[];

  constructor(raw: readonly string[]) {
    this.#raw = raw;
  }

  /** `name` in small letters. */
  get(name: string): string | null {
    const raw = this.#raw;
    let found: string | null = null;
    for (let i = 0; i < raw.length; i += 2) {
      const given = raw[i] as string;
      if (given.length !== name.length || given.toLowerCase() !== name) continue;
      const value = trimmed(raw[i + 1] as string);
      found = found === null ? value : `${found}, ${value}`;
    }
    return found;
  }
}

/** Without the white space around it that HTTP allows (RFC 9110 §5.5). */
function trimmed(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isSpace(value.charCodeAt(start))) start++;
  while (end > start && isSpace(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
