/**
 * Checks what a node sends back to any input: reports a stack trace, a local path, or a 5xx without
 * Atlas's own error.
 */
import { STATUS_OF } from "../adapters/http_wire/errors.ts";

/** One HTTP answer. */
export interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
  /** Whether the body arrived in full. */
  readonly isWhole: boolean;
}

/** Text that no answer may contain: stack traces and paths of the code. */
const INSIDE = /(?:\n|\\n)\s+at [^\n]{1,200}:\d+|node_modules|file:\/\/\/|\.[cm]?[jt]s:\d+/;
/** The answer of a node after an unexpected exception. */
const FAILED_INSIDE = /failed inside the node|internal (?:server )?error/i;

/** The HTTP answers at the beginning of the bytes. */
export function answersIn(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf("\r\n\r\n", at);
    if (end < 0) break;
    const head = bytes.toString("latin1", at, end);
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? NaN);
    if (Number.isNaN(status)) break;
    at = end + 4;
    // Frames follow this answer.
    const [body, next, isWhole] = status === 101
      ? [Buffer.alloc(0), bytes.length, true] as const
      : bodyAt(bytes, at, head);
    at = next;
    answers.push({ status, head, body, isWhole });
  }
  return answers;
}

function bodyAt(bytes: Buffer, at: number, head: string): readonly [Buffer, number, boolean] {
  if (/^transfer-encoding: *chunked/im.test(head)) return chunksAt(bytes, at);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  // An answer to HEAD has a length and no body.
  if (bytes.toString("latin1", at, at + 9) === "HTTP/1.1 ") return [Buffer.alloc(0), at, true];
  return [bytes.subarray(at, at + length), at + length, at + length <= bytes.length];
}

function chunksAt(bytes: Buffer, from: number): readonly [Buffer, number, boolean] {
  const parts: Buffer[] = [];
  for (let at = from;;) {
    const end = bytes.indexOf("\r\n", at);
    const size = end < 0 ? NaN : parseInt(bytes.toString("latin1", at, end), 16);
    if (Number.isNaN(size)) return [Buffer.concat(parts), bytes.length, false];
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
    if (size === 0) return [Buffer.concat(parts), at, true];
  }
}

/** The errors in the bytes that were received over a connection. */
export function faultsOf(bytes: Buffer): string[] {
  const faults: string[] = [];
  const text = bytes.toString("latin1");
  const inside = INSIDE.exec(text);
  if (inside) faults.push(`an answer exposes internals: ${shown(text, inside.index)}`);
  for (const { status, body, isWhole } of answersIn(bytes)) {
    // The runtimes' parsers give this answer to input that is not HTTP/1, before any code of Atlas
    // runs.
    if (status < 500 || status === 505 || !isWhole) continue;
    const error = errorOf(body);
    if (!error || STATUS_OF[error.code as keyof typeof STATUS_OF] !== status) {
      faults.push(`${status} without an Atlas error of that status: ${shown(String(body), 0)}`);
    } else if (FAILED_INSIDE.test(error.message)) {
      faults.push(`${status} for an internal error: ${error.message}`);
    }
  }
  return faults;
}

/** The Atlas error in a body; null if there is none. */
export function errorOf(body: Buffer): { code: string; message: string } | null {
  try {
    const { error } = JSON.parse(body.toString()) ?? {};
    const isOne = typeof error?.code === "string" && typeof error.message === "string" &&
      typeof error.retryable === "boolean" && typeof error.maybeExecuted === "boolean";
    return isOne ? error : null;
  } catch {
    return null;
  }
}

function shown(text: string, at: number): string {
  return JSON.stringify(text.slice(Math.max(0, at - 60), at + 200));
}
