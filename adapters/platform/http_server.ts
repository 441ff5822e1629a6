/**
 * Serves HTTP and WebSockets by `node:http` and `ws`, on Node and on Deno.
 *
 * Deno's own server bounds neither a WebSocket message's fragments nor the time that a head, a
 * body or an idle connection takes; its `node:http` has all of Node's bounds. The number of
 * connections is bounded by the process's file descriptors. docs/limits.md lists the bounds.
 */
import { readFileSync } from "node:fs";
import { createServer, type Server as HttpServer, type ServerResponse } from "node:http";
import { type AddressInfo, Server as TcpServer, type Socket as TcpSocket } from "node:net";
import { getRequestListener, RequestError } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import {
  ANSWER_IDLE_MS,
  HEAD_MS,
  KEEP_ALIVE_MS,
  MAX_HEAD_BYTES,
  MAX_REQUEST_MS,
  RESERVED_DESCRIPTORS,
} from "../../src/limits.ts";
import type {
  PlainAnswer,
  RequestOrigin,
  ServeOptions,
  Server,
  ServerTimes,
} from "../../src/ports/runtime.ts";
import { bodyOf } from "../http_wire/plain_response.ts";
import { ConnectionQueue, type RequestListener } from "./connection_queue.ts";
import { IncomingHeaders, IncomingRequest } from "./incoming_request.ts";
import { serveFailure } from "./serve_failure.ts";
import { asksForSocket, badRequest, NO_HOST, NO_URL, SocketUpgrades } from "./socket_upgrades.ts";

const TIMES: ServerTimes = {
  headMs: HEAD_MS,
  keepAliveMs: KEEP_ALIVE_MS,
  answerMs: ANSWER_IDLE_MS,
};
/** The interval at which the server checks for late heads and bodies, in ms. */
const SWEEP_MS = 5_000;

/** Serves as the `Runtime` port says. */
export async function serveHttp(options: ServeOptions): Promise<Server> {
  const times = options.times ?? TIMES;
  const upgrades = new SocketUpgrades(options);
  const queues: Map<TcpSocket, ConnectionQueue> = new Map();
  const listener = requestListener(options, times.keepAliveMs);
  const sweepMs = Math.min(SWEEP_MS, times.headMs / 2);
  const server = createServer({
    shouldUpgradeCallback: asksForSocket,
    maxHeaderSize: MAX_HEAD_BYTES,
    // The next sweep finds late heads and bodies.
    headersTimeout: times.headMs - sweepMs,
    requestTimeout: MAX_REQUEST_MS,
    // The queues' own check finds idle connections.
    keepAliveTimeout: 0,
    connectionsCheckingInterval: sweepMs,
  }, (incoming, outgoing) => {
    const { socket } = incoming;
    let queue = queues.get(socket);
    if (!queue) {
      queues.set(socket, queue = new ConnectionQueue(socket, listener));
      socket.once("close", () => queues.delete(socket));
    }
    queue.add(incoming, outgoing);
  });
  server.maxConnections = maxConnections();
  server.on("upgrade", (incoming, socket, head) => {
    queues.delete(socket as TcpSocket);
    void upgrades.take(incoming, socket as TcpSocket, head);
  });
  const sweep = idleSweep(queues, times, sweepMs);
  await listening(server, options.host, options.port);
  const { port } = server.address() as AddressInfo;
  let renewal: Promise<void> | null = null;
  let isClosed = false;
  return {
    port,
    async relisten() {
      if (isClosed) return;
      // Not the HTTP server's own close, which ends idle connections as well.
      TcpServer.prototype.close.call(server);
      server.maxConnections = maxConnections();
      await (renewal = listening(server, options.host, port));
    },
    async close() {
      isClosed = true;
      clearInterval(sweep);
      // A close while the host is being looked up would be undone when listening starts afterwards.
      await renewal?.catch(() => {});
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        upgrades.close();
        server.closeAllConnections();
      });
    },
  };
}

/** Closes idle connections. A check comes late by up to `sweepMs`, so this is subtracted. */
function idleSweep(
  queues: ReadonlyMap<TcpSocket, ConnectionQueue>,
  { keepAliveMs, answerMs }: ServerTimes,
  sweepMs: number,
): ReturnType<typeof setInterval> {
  const times = { keepAliveMs: keepAliveMs - sweepMs, answerMs: answerMs - sweepMs };
  const sweep = setInterval(() => {
    const now = performance.now();
    for (const queue of queues.values()) queue.check(now, times);
  }, sweepMs);
  sweep.unref();
  return sweep;
}

function requestListener(options: ServeOptions, keepAliveMs: number): RequestListener {
  const keepAlive = `timeout=${Math.floor(keepAliveMs / 1_000)}`;
  const head = new HeadLines(keepAlive);
  const listener = getRequestListener(
    // A plain request can't become a socket here: Node reports upgrade requests separately.
    (request, { incoming, outgoing }) => {
      const response = options.fetch(request, refusal, new Origin(incoming.socket));
      const written = (it: Response) => writePlain(it, outgoing as ServerResponse);
      return response instanceof Promise ? response.then(written) : written(response);
    },
    {
      overrideGlobalObjects: false,
      // The host of requests that have none, as in HTTP/1.0.
      hostname: NO_HOST,
      errorHandler: (error) =>
        error instanceof RequestError
          ? badRequest(NO_URL)
          : new Response("internal error", { status: 500 }),
    },
  );
  return (incoming, outgoing) => {
    const headers = new IncomingHeaders(incoming.rawHeaders);
    // What follows an ignored upgrade in the same packet is lost on Node.
    if (headers.get("upgrade") !== null) outgoing.shouldKeepAlive = false;
    const request = options.answer ? IncomingRequest.of(incoming, outgoing, headers) : null;
    if (request && answerPlain(options, request, outgoing, head)) return request;
    if (outgoing.shouldKeepAlive) outgoing.setHeader("keep-alive", keepAlive);
    void listener(incoming, outgoing);
    return null;
  };
}

/** Whether the app has a plain answer to a request; writes it. */
function answerPlain(
  options: ServeOptions,
  request: IncomingRequest,
  outgoing: ServerResponse,
  head: HeadLines,
): boolean {
  const written = (answer: PlainAnswer) => writeAnswer(answer, outgoing, head);
  const failed = () => written({ status: 500, headers: {}, body: "internal error" });
  try {
    const answer = options.answer?.(request) ?? null;
    if (answer === null) return false;
    if (answer instanceof Promise) answer.then(written).catch(failed);
    else written(answer);
  } catch {
    failed();
  }
  return true;
}

function writeAnswer(answer: PlainAnswer, outgoing: ServerResponse, head: HeadLines): void {
  if (outgoing.headersSent || outgoing.destroyed) return;
  const { status, body } = answer;
  const length = Buffer.byteLength(body);
  outgoing.writeHead(status, head.of(answer, length, outgoing.shouldKeepAlive));
  // ASCII needs no encoder.
  if (length === body.length) outgoing.end(body, "latin1");
  else outgoing.end(body);
}

/** The headers of plain answers in the form that takes `node:http` the least time. */
class HeadLines {
  readonly #keepAlive: string;
  /** The record of the last answer, and its names and values by turns. */
  #last: PlainAnswer["headers"] = {};
  #lines: readonly string[] = [];

  /** `keepAlive` tells clients for how long an idle connection is kept. */
  constructor(keepAlive: string) {
    this.#keepAlive = keepAlive;
  }

  of({ headers }: PlainAnswer, length: number, isKept: boolean): string[] {
    if (headers !== this.#last) {
      this.#last = headers;
      this.#lines = Object.entries(headers).flat();
    }
    return isKept
      ? [...this.#lines, "content-length", String(length), "keep-alive", this.#keepAlive]
      : [...this.#lines, "content-length", String(length)];
  }
}

/** Writes a response at once if its whole body is in memory; the library writes others. */
function writePlain(response: Response, outgoing: ServerResponse): Response {
  const body = bodyOf(response);
  if (body === undefined || outgoing.headersSent) return response;
  const headers: Record<string, string> = {};
  response.headers.forEach((value, name) => headers[name] = value);
  headers["content-length"] = String(Buffer.byteLength(body));
  outgoing.writeHead(response.status, headers).end(body);
  return RESPONSE_ALREADY_SENT;
}

class Origin implements RequestOrigin {
  readonly #socket: Pick<TcpSocket, "remoteAddress">;

  constructor(socket: Pick<TcpSocket, "remoteAddress">) {
    this.#socket = socket;
  }

  get remote(): string | undefined {
    return this.#socket.remoteAddress;
  }
}

function refusal(): Response {
  return new Response("expected a WebSocket", { status: 426 });
}

function listening(server: HttpServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error) => reject(serveFailure(host, port, cause));
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      // The probe of the listener finds later failures to accept.
      server.on("error", () => {});
      resolve();
    });
  });
}

/**
 * The number of this process's file descriptors that are for connections of clients; Infinity if
 * their limit is unknown.
 */
export function maxConnections(): number {
  try {
    return connectionsOf(readFileSync("/proc/self/limits", "utf8"));
  } catch {
    return Infinity;
  }
}

/**
 * The soft limit less a tenth of it; the part that is left out is at least `RESERVED_DESCRIPTORS`
 * and at most half.
 */
export function connectionsOf(limits: string): number {
  const soft = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  if (!Number.isFinite(soft)) return Infinity;
  const reserved = Math.max(RESERVED_DESCRIPTORS, Math.ceil(soft / 10));
  return soft - Math.min(reserved, Math.ceil(soft / 2));
}
