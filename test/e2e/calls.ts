/**
 * Calls over HTTP without the client. Takes a node's URL and a request; gives the status and the
 * parsed answer. Only a failed connection rejects.
 */

export interface Answer {
  readonly status: number;
  // The form of an answer depends on the route; the tests check it.
  // deno-lint-ignore no-explicit-any
  readonly body: any;
}

export interface AskOptions {
  method?: string;
  body?: RequestInit["body"];
  headers?: Record<string, string>;
  /** How long the caller waits, in ms. Default 15,000. */
  patienceMs?: number;
}

/** One request. Rejects if the connection fails or no answer arrives in time. */
export async function ask(url: string, path: string, options: AskOptions = {}): Promise<Answer> {
  const { method = "GET", body, headers = {}, patienceMs = 15_000 } = options;
  const response = await fetch(url + path, {
    method,
    headers,
    signal: AbortSignal.timeout(patienceMs),
    ...(body === undefined ? {} : { body, duplex: "half" }),
  });
  const text = await response.text();
  return { status: response.status, body: parsed(text) };
}

export interface CallSettings {
  /** The idempotency key. */
  key?: string;
  /** The call's deadline, in ms. */
  timeoutMs?: number;
  /** How long the caller waits, in ms. */
  patienceMs?: number;
  /** Further headers. */
  headers?: Record<string, string>;
}

/** Calls a method of a resource. */
export function call(
  url: string,
  resource: string,
  method: string,
  args: readonly unknown[] = [],
  { key, timeoutMs, patienceMs, headers = {} }: CallSettings = {},
): Promise<Answer> {
  return ask(url, `/v1/resources/${resource}/${method}`, {
    method: "POST",
    body: JSON.stringify(args),
    headers: {
      ...headers,
      ...(key === undefined ? {} : { "idempotency-key": key }),
      ...(timeoutMs === undefined ? {} : { "atlas-timeout-ms": String(timeoutMs) }),
    },
    ...(patienceMs === undefined ? {} : { patienceMs }),
  });
}

/** A call that has to succeed; gives its result. */
export async function result<T>(
  url: string,
  resource: string,
  method: string,
  args: readonly unknown[] = [],
  settings: CallSettings = {},
): Promise<T> {
  const { status, body } = await call(url, resource, method, args, settings);
  if (status === 200) return body.result;
  throw new Error(`${method} of ${resource} answered ${status}: ${JSON.stringify(body)}`);
}

/** A message in a channel's `history`. */
export interface Message {
  readonly seq: number;
  readonly from: string;
  readonly text: string;
}

/** Messages that a channel returns at once. */
const PAGE = 10_000;

/** All messages of a channel. */
export async function history(url: string, channel: string): Promise<Message[]> {
  const all: Message[] = [];
  for (;;) {
    const since = all.at(-1)?.seq ?? 0;
    const page = await result<Message[]>(url, `channels/${channel}`, "history", [since]);
    all.push(...page);
    if (page.length < PAGE) return all;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
