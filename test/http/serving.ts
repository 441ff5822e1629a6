/**
 * A real node on a memory store behind the HTTP app, without sockets; for tests of the HTTP API.
 */
import { createHttpApp, type HttpApp } from "../../adapters/http/app.ts";
import { connect, type ConnectOptions } from "../../adapters/client/client.ts";
import { systemContext } from "../../adapters/system/async_context.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { memoryStore } from "../../adapters/store/memory.ts";
import { inProcessTransport } from "../../adapters/transport/in_process.ts";
import type { Atlas, AtlasNode, NodeEvent } from "../../src/api/node.ts";
import { type App, defineApp } from "../../src/api/app.ts";
import { createNode } from "../../src/node/node.ts";
import { AtlasError, type ErrorCode } from "../../src/errors.ts";
import type { LeaseTimes } from "../../src/api/options.ts";
import { Resource } from "../../src/api/resource.ts";
import type { FakeClock } from "../../testing.ts";

/** Does whatever a test needs of user code. */
export class Probe extends Resource {
  echo(...args: unknown[]): unknown {
    return args.length === 1 ? args[0] : args;
  }

  answerNothing(): void {}

  async add(n: number): Promise<number> {
    const total = ((await this.storage.get<number>("total")) ?? 0) + n;
    await this.storage.put("total", total);
    return total;
  }

  fail(): never {
    throw new TypeError("it broke at secret_file.ts");
  }

  refuse(code: ErrorCode): never {
    throw new AtlasError(code, "refused by the app");
  }

  /**
   * Throws an error with a property whose value is `value`; if `value` is undefined, reading the
   * property throws.
   */
  failOddly(property: string, value?: unknown): never {
    const get = () => {
      if (value === undefined) throw new Error("it can't be read");
      return value;
    };
    const name = property === "stack" ? "Error" : "AtlasError";
    const error = Object.assign(new Error("odd"), { name, code: "timeout" });
    throw Object.defineProperty(error, property, { get });
  }

  unencodable(): unknown {
    return { f: () => 1 };
  }

  /** Waits until its caller aborts, and then counts in `aborted`. */
  async hang(): Promise<void> {
    running++;
    await new Promise<void>((resolve) =>
      this.signal.addEventListener("abort", () => resolve(), { once: true })
    );
    aborted++;
  }
}

let running = 0;
let aborted = 0;
/** How many hanging turns began, and how many of them saw their signal abort. */
export function hanging(): { running: number; aborted: number } {
  return { running, aborted };
}

export const app: App<{ probes: typeof Probe; small: { class: typeof Probe; mailbox: number } }> =
  defineApp({ resources: { probes: Probe, small: { class: Probe, mailbox: 1 } } });

export interface Serving {
  readonly node: AtlasNode;
  readonly http: HttpApp;
  readonly events: NodeEvent[];
  /** Sends a request; `body` as JSON unless it is bytes or text. */
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>;
  client(options?: ConnectOptions): Atlas<typeof app>;
  close(): Promise<void>;
}

export interface AskOptions {
  body?: string | Uint8Array;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // deno-lint-ignore no-explicit-any
  body: any;
}

/** Leases longer than any test on a fake clock. */
export const ENDLESS: LeaseTimes = { heartbeatMs: 1e6, leaseMs: 3e6 };

/** A node and its HTTP app; on a fake clock if deadlines must not pass by themselves. */
export async function serving(
  options: { token?: string; origins?: readonly string[]; clock?: FakeClock } = {},
): Promise<Serving> {
  const { clock, ...guards } = options;
  const events: NodeEvent[] = [];
  const onEvent = (event: NodeEvent) => void events.push(event);
  const node = await createNode(app, {
    region: "test",
    node: "one",
    store: memoryStore(),
    transport: inProcessTransport(),
    clock: clock ?? systemClock,
    ...clock && { lease: ENDLESS },
    random: systemRandom,
    context: systemContext,
    onEvent,
  }) as AtlasNode;
  const http = createHttpApp({ node: () => node, ...guards, onEvent });
  return {
    node,
    http,
    events,
    ask: (method, path, given) => ask(http, method, path, given),
    client: (given = {}) =>
      connect<typeof app>("http://atlas.test", {
        ...given,
        fetch: (url, init) => http.fetch(new Request(url, { ...init, redirect: "follow" })),
      }),
    close: () => {
      const closed = node.close({ drainMs: 0 });
      return clock ? clock.run(closed) : closed;
    },
  };
}

/** One request, its answer read whole. */
export async function ask(
  http: HttpApp,
  method: string,
  path: string,
  { body, headers, signal }: AskOptions = {},
): Promise<Answer> {
  const request = new Request(`http://atlas.test${path}`, {
    method,
    ...(body === undefined ? {} : { body: body as string }),
    ...(headers ? { headers } : {}),
    ...(signal ? { signal } : {}),
  });
  const response = await http.fetch(request);
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson ? JSON.parse(text) : undefined,
  };
}
