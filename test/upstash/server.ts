/**
 * An HTTP Redis for tests, with optional faults. Takes the port of a real Redis, listens on a free
 * loopback port, and gives its URL, its token and the switch for faults. Closing it leaves the
 * Redis running.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { freePort } from "../support/ports.ts";
import { type Fault, type Faults, isHostile } from "./faults.ts";
import { HostileAnswers } from "./hostile_answers.ts";
import { upstashProtocol } from "./protocol.ts";

export interface TestUpstash {
  readonly url: string;
  readonly token: string;
  /** Which faults requests get from now on. Default: none. */
  faults: Faults;
  /** Faults so far, by name, `none` among them. */
  readonly played: Map<Fault | "none", number>;
  /** The requests received: path and headers, the latest 1,000. */
  readonly requests: { readonly path: string; readonly headers: Headers; readonly body: string }[];
  /** The number of answers that hang. */
  readonly hanging: number;
  /** Bytes of hostile answers sent so far. */
  readonly hostileBytes: number;
  /** Releases all answers that hang. */
  release(): void;
  /** Closes every connection and stops listening. */
  stop(): Promise<void>;
  /** Listens again on the same port. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export interface TestUpstashOptions {
  token?: string;
  /** How long a slow request waits, in ms. Default 20. */
  slowMs?: number;
  /** After how many further requests a late copy is done. Default 3. */
  lateBy?: number;
  /** The target of the redirects `moved` and `found`. */
  elsewhere?: string;
}

const MAX_REQUESTS = 1_000;

/** Starts it in front of the Redis on `redisPort`. */
export async function startUpstash(
  redisPort: number,
  options: TestUpstashOptions = {},
): Promise<TestUpstash> {
  const token = options.token ?? `token-${crypto.randomUUID()}`;
  const protocol = upstashProtocol({ redisPort, token });
  const injector = new FaultInjector((request) => protocol.app.fetch(request), options);
  const listener = getRequestListener((request, env) => {
    const { incoming, outgoing } = env as { incoming: IncomingMessage; outgoing: ServerResponse };
    return injector.serve(request, incoming, outgoing);
  });
  const port = await freePort();
  const sockets = new Set<Socket>();
  let server: Server;
  const start = (): Promise<void> => {
    // An idle connection must stay open, because the client may be about to use it again.
    server = createServer({ keepAliveTimeout: 600_000 }, listener);
    server.on("connection", (socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
    return new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  };
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      injector.release();
      server.close(() => resolve());
      // Not all runtimes cut connections in use by `closeAllConnections`.
      for (const socket of sockets) socket.destroy();
    });
  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    token,
    get faults() {
      return injector.faults;
    },
    set faults(faults) {
      injector.faults = faults;
    },
    played: injector.played,
    requests: injector.requests,
    get hanging() {
      return injector.hanging;
    },
    get hostileBytes() {
      return injector.hostile.sent;
    },
    release: () => injector.release(),
    start,
    stop,
    async close() {
      await stop();
      protocol.close();
    },
  };
}

type Serve = (request: Request) => Response | Promise<Response>;

/** Applies faults around an app. */
class FaultInjector {
  readonly played = new Map<Fault | "none", number>();
  readonly requests: { path: string; headers: Headers; body: string }[] = [];
  faults: Faults = () => null;
  readonly #app: Serve;
  readonly #slowMs: number;
  readonly #lateBy: number;
  readonly hostile: HostileAnswers;
  #hung: (() => void)[] = [];
  #late: { due: number; run: () => unknown }[] = [];
  #count = 0;

  constructor(app: Serve, { slowMs = 20, lateBy = 3, elsewhere = "" }: TestUpstashOptions) {
    this.#app = app;
    this.hostile = new HostileAnswers(elsewhere);
    this.#slowMs = slowMs;
    this.#lateBy = lateBy;
  }

  async serve(
    request: Request,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
  ): Promise<Response> {
    const body = await request.text();
    this.#note(request, body);
    const fault = this.faults();
    this.played.set(fault ?? "none", (this.played.get(fault ?? "none") ?? 0) + 1);
    const run = () => this.#app(new Request(request.url, copyOf(request, body)));
    await this.#runLate();
    if (fault === null) return await run();
    if (isHostile(fault)) return await this.hostile.send(fault, outgoing);
    return await this.#play(fault, run, { incoming, outgoing });
  }

  get hanging(): number {
    return this.#hung.length;
  }

  release(): void {
    for (const go of this.#hung.splice(0)) go();
  }

  async #play(
    fault: Fault,
    run: () => Response | Promise<Response>,
    { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
  ): Promise<Response> {
    switch (fault) {
      case "reset":
        return cut(incoming);
      case "refused":
        return Response.json({ error: "Internal Server Error" }, { status: 500 });
      case "slow":
        await new Promise((resolve) => setTimeout(resolve, this.#slowMs));
        return await run();
      case "twice":
        await run();
        return await run();
      case "late":
        this.#late.push({ due: this.#count + this.#lateBy, run });
        return await run();
    }
    const response = await run();
    if (fault === "lost") return cut(incoming);
    if (fault === "failed") return new Response("<html>Bad Gateway</html>", { status: 502 });
    const text = await response.text();
    if (fault === "truncated") return new Response(text.slice(0, text.length / 2), response);
    if (fault === "broken") {
      outgoing.writeHead(200, { "content-length": String(text.length + 100) });
      outgoing.write(text.slice(0, text.length / 2), () => incoming.socket.destroy());
      return await never();
    }
    await new Promise<void>((resolve) => this.#hung.push(resolve));
    return new Response(text, response);
  }

  async #runLate(): Promise<void> {
    const due = this.#late.filter((late) => late.due <= this.#count);
    this.#late = this.#late.filter((late) => late.due > this.#count);
    for (const { run } of due) await run();
  }

  #note({ url, headers }: Request, body: string): void {
    this.#count++;
    this.requests.push({ path: new URL(url).pathname, headers, body });
    if (this.requests.length > MAX_REQUESTS) this.requests.shift();
  }
}

function copyOf({ method, headers }: Request, body: string): RequestInit {
  return method === "GET" || method === "HEAD" ? { method, headers } : { method, headers, body };
}

function cut(incoming: IncomingMessage): Promise<Response> {
  incoming.socket.destroy();
  return never();
}

function never(): Promise<Response> {
  return new Promise(() => {});
}
