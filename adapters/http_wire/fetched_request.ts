/**
 * A `Request` in its plain form, for runtimes whose server gives Requests, and for programs that
 * make them.
 */
import { AtlasError } from "../../src/errors.ts";
import type { PlainRequest } from "../../src/ports/runtime.ts";
import { concat } from "./body.ts";
import { BodyDeadline, brokenOff, LateSignal, tooLarge } from "./request_life.ts";

export class FetchedRequest implements PlainRequest {
  readonly #request: Request;
  readonly url: string;
  readonly headers: Headers;

  constructor(request: Request) {
    this.#request = request;
    this.url = request.url;
    this.headers = request.headers;
  }

  get method(): string {
    return this.#request.method;
  }

  get signal(): AbortSignal {
    return new LateSignal(this.#request) as unknown as AbortSignal;
  }

  /** Checks the announced length, and again the bytes that come: an announcement may be wrong. */
  read(maxBytes: number, timeoutMs: number): Promise<Uint8Array> {
    const request = this.#request;
    const announced = this.headers.get("content-length");
    if (announced !== null && Number(announced) > maxBytes) {
      return Promise.reject(tooLarge(maxBytes));
    }
    // Read at once if its length is known, because a stream reader costs several times as much.
    const isWhole = announced !== null && !this.headers.has("transfer-encoding");
    return new Promise((resolve, reject) => {
      const reading = new Reading(request, maxBytes, timeoutMs, resolve, reject);
      if (isWhole) request.arrayBuffer().then(reading.take, reading.fail);
      else reading.readPieces();
    });
  }
}

/** A body that is being read. */
class Reading {
  readonly #request: Request;
  readonly #maxBytes: number;
  readonly #resolve: (bytes: Uint8Array) => void;
  readonly #reject: (error: AtlasError) => void;
  readonly #deadline: BodyDeadline;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(
    request: Request,
    maxBytes: number,
    timeoutMs: number,
    resolve: (bytes: Uint8Array) => void,
    reject: (error: AtlasError) => void,
  ) {
    this.#request = request;
    this.#maxBytes = maxBytes;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadline = new BodyDeadline(timeoutMs, this.fail);
  }

  readPieces(): void {
    this.#reader = this.#request.body?.getReader();
    if (this.#reader) readPieces(this.#reader, this.#maxBytes).then(this.take, this.fail);
    else this.take(new Uint8Array(0));
  }

  readonly take = (body: Uint8Array | ArrayBuffer): void => {
    const bytes = body instanceof Uint8Array ? body : new Uint8Array(body);
    if (bytes.length > this.#maxBytes) return this.fail(tooLarge(this.#maxBytes));
    this.#deadline.stop();
    this.#resolve(bytes);
  };

  readonly fail = (error: unknown): void => {
    this.#deadline.stop();
    broken.add(this.#request);
    this.#reader?.cancel().catch(() => {});
    this.#reject(error instanceof AtlasError ? error : brokenOff(error));
  };
}

async function readPieces(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return chunks.length === 1 ? chunks[0] as Uint8Array : concat(chunks, length);
    length += value.length;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(value);
  }
}

/** Requests whose bodies were not read to the end. */
const broken: WeakSet<Request> = new WeakSet();

/**
 * Whether a part of a request's body was not read. What follows on its connection is then unknown.
 */
export function isUnread(request: Request): boolean {
  if (request.bodyUsed) return broken.has(request);
  const { headers } = request;
  return headers.has("transfer-encoding") || Number(headers.get("content-length") ?? 0) > 0;
}
