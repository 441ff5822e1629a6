/**
 * A bare connection to a Redis that tells apart what clients usually merge: a status, an equal
 * text, a number, nil, an error.
 *
 * It takes commands and gives RESP2 replies as tagged values, in the order asked.
 * Source: the Redis serialization protocol, version 2.
 */
import { connect, type Socket } from "node:net";

export type Reply =
  | { readonly kind: "status" | "error"; readonly text: string }
  | { readonly kind: "text"; readonly bytes: Uint8Array }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "nil" }
  | { readonly kind: "list"; readonly items: readonly Reply[] };

interface Waiter {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

const EMPTY = Buffer.alloc(0);

export class RespConnection {
  readonly #socket: Socket;
  readonly #waiting: Waiter[] = [];
  #rest: Buffer = EMPTY;
  #ended: Error | null = null;
  /** Receives replies that answer no command: messages of a subscription. */
  onPush: (reply: Reply) => void = () => {};

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#socket.on("error", (error) => this.#end(error));
    this.#socket.on("close", () => this.#end(new Error("the connection to Redis ended")));
  }

  get open(): boolean {
    return this.#ended === null;
  }

  /** Sends one command; its parts are written as text. */
  call(...command: readonly string[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting.push({ resolve, reject });
      let text = `*${command.length}\r\n`;
      for (const part of command) text += `$${Buffer.byteLength(part)}\r\n${part}\r\n`;
      this.#socket.write(text);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (;;) {
      const parsed = parse(bytes, at);
      if (parsed === null) break;
      at = parsed.end;
      const waiter = this.#waiting.shift();
      if (waiter) waiter.resolve(parsed.reply);
      else this.onPush(parsed.reply);
    }
    this.#rest = bytes.subarray(at);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

interface Parsed {
  readonly reply: Reply;
  readonly end: number;
}

/** The reply that starts at `at`, or null if it is not complete yet. */
function parse(bytes: Buffer, at: number): Parsed | null {
  const eol = bytes.indexOf("\r\n", at);
  if (eol < 0) return null;
  const line = bytes.toString("utf8", at + 1, eol);
  const end = eol + 2;
  switch (String.fromCharCode(bytes[at] as number)) {
    case "+":
      return { reply: { kind: "status", text: line }, end };
    case "-":
      return { reply: { kind: "error", text: line }, end };
    case ":":
      return { reply: { kind: "number", value: Number(line) }, end };
    case "$":
      return parseText(bytes, end, Number(line));
    case "*":
      return parseList(bytes, end, Number(line));
    default:
      throw new Error(`not RESP2: ${line.slice(0, 40)}`);
  }
}

function parseText(bytes: Buffer, start: number, length: number): Parsed | null {
  if (length < 0) return { reply: { kind: "nil" }, end: start };
  const end = start + length + 2;
  if (bytes.length < end) return null;
  return { reply: { kind: "text", bytes: bytes.subarray(start, end - 2) }, end };
}

function parseList(bytes: Buffer, start: number, length: number): Parsed | null {
  if (length < 0) return { reply: { kind: "nil" }, end: start };
  const items: Reply[] = [];
  let end = start;
  for (let i = 0; i < length; i++) {
    const parsed = parse(bytes, end);
    if (parsed === null) return null;
    items.push(parsed.reply);
    end = parsed.end;
  }
  return { reply: { kind: "list", items }, end };
}

/** A text reply, or any other, as text; null for nil. For tests that inspect the Redis. */
export function plain(reply: Reply): unknown {
  switch (reply.kind) {
    case "text":
      return Buffer.from(reply.bytes).toString("utf8");
    case "number":
      return reply.value;
    case "list":
      return reply.items.map(plain);
    case "nil":
      return null;
    default:
      return reply.text;
  }
}
