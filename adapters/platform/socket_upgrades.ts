/**
 * Turns `node:http` requests into WebSockets by `ws`, or refuses them with an ordinary answer.
 *
 * Takes upgrade requests; asks the app about each, and gives its handlers a guarded socket.
 */
import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import { WebSocketServer } from "ws";
import { AtlasError } from "../../src/errors.ts";
import type { ServeOptions, SocketHandlers, UpgradeOptions } from "../../src/ports/runtime.ts";
import { errorResponse } from "../http_wire/errors.ts";
import { Heartbeats } from "./heartbeat.ts";
import { GuardedWs, WsSocket } from "./ws_socket.ts";

/** The host that is assumed for a request without one. */
export const NO_HOST = "localhost";
/** Why a request is refused before the app sees it. */
export const NO_URL = "the request's target and its header Host make no URL";
const NO_UPGRADE = "header Upgrade: only websocket is allowed, and only with GET";

/**
 * Whether a request is to become a socket. Other upgrades are ignored (RFC 9110 §7.8): their
 * requests are served as they are.
 */
export function asksForSocket({ method, headers }: IncomingMessage): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
}

export function badRequest(why: string): Response {
  return errorResponse(new AtlasError("bad_request", why));
}

const ignore = (): void => {};

/** The upgrades of one server. */
export class SocketUpgrades {
  readonly #options: ServeOptions;
  readonly #protocols: WeakMap<IncomingMessage, string> = new WeakMap();
  /** One for each limit of a message: `ws` checks fragments as they come, before it joins them. */
  readonly #servers: Map<number, WebSocketServer> = new Map();
  readonly #live: Set<WsSocket> = new Set();
  readonly #heartbeats: Heartbeats = new Heartbeats();
  readonly #pending: Set<TcpSocket> = new Set();

  constructor(options: ServeOptions) {
    this.#options = options;
  }

  /**
   * Asks the app about an upgrade request; makes the socket, or sends the answer that refuses it.
   */
  async take(incoming: IncomingMessage, socket: TcpSocket, head: Uint8Array): Promise<void> {
    // Without an error listener, an abrupt end would stop the process.
    socket.on("error", ignore);
    // Node before 24.9 upgrades any request, and its body can no longer be read.
    if (!asksForSocket(incoming)) return await refuse(socket, badRequest(NO_UPGRADE));
    this.#pending.add(socket);
    let handlers: SocketHandlers | undefined;
    let how: UpgradeOptions = {};
    let response: Response;
    const remote = incoming.socket.remoteAddress;
    try {
      response = await this.#options.fetch(requestOf(incoming), (given, options = {}) => {
        [handlers, how] = [given, options];
        if (how.protocol !== undefined) this.#protocols.set(incoming, how.protocol);
        return new Response(null);
      }, { remote });
    } catch {
      response = badRequest(NO_URL);
    }
    this.#pending.delete(socket);
    if (!handlers) return await refuse(socket, response);
    const owner = handlers;
    const { maxFrameBytes = this.#options.maxFrameBytes, idleMs } = how;
    this.#serverFor(maxFrameBytes).handleUpgrade(incoming, socket, head as Buffer, (ws) => {
      socket.off("error", ignore);
      this.#open(ws as GuardedWs, socket, owner, maxFrameBytes, idleMs);
    });
  }

  #open(
    ws: GuardedWs,
    connection: TcpSocket,
    handlers: SocketHandlers,
    maxFrameBytes: number,
    idleMs: number | undefined,
  ): void {
    const socket = new WsSocket(ws, handlers, maxFrameBytes, connection, this.#live);
    if (idleMs !== undefined) socket.beat(this.#heartbeats, idleMs);
    socket.opened();
  }

  /** Ends all sockets at once. */
  close(): void {
    for (const socket of this.#live) socket.close(1001, "the server is closing");
    for (const socket of [...this.#live]) socket.cut();
    for (const socket of this.#pending) socket.destroy();
    this.#heartbeats.close();
  }

  #serverFor(maxPayload: number): WebSocketServer {
    let server = this.#servers.get(maxPayload);
    if (!server) {
      server = new WebSocketServer({
        noServer: true,
        WebSocket: GuardedWs,
        clientTracking: false,
        perMessageDeflate: false,
        maxPayload,
        handleProtocols: (_offered, incoming) => this.#protocols.get(incoming) ?? false,
      });
      this.#servers.set(maxPayload, server);
    }
    return server;
  }
}

/** The request that asks for an upgrade. Throws if its target and host don't form a URL. */
function requestOf(incoming: IncomingMessage): Request {
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i] as string, incoming.rawHeaders[i + 1] as string);
  }
  const target = incoming.url ?? "/";
  const host = incoming.headers.host || NO_HOST;
  const url = target.startsWith("/") ? `http://${host}${target}` : target;
  return new Request(url, { method: incoming.method, headers });
}

/** How long a refused client may take to close the connection itself, in ms. */
const REFUSED_MS = 1_000;

/** Answers an upgrade request with an ordinary response, and closes the connection. */
async function refuse(socket: TcpSocket, response: Response): Promise<void> {
  const body = new Uint8Array(await response.arrayBuffer());
  const lines = [`HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ""}`];
  for (const [name, value] of response.headers) {
    if (name !== "content-length" && name !== "connection") lines.push(`${name}: ${value}`);
  }
  lines.push(`content-length: ${body.length}`, "connection: close", "", "");
  socket.write(lines.join("\r\n"));
  socket.end(body);
  const timer = setTimeout(() => socket.destroy(), REFUSED_MS);
  // Unread bytes would reset the connection, and the answer would be lost.
  socket.resume().on("close", () => clearTimeout(timer));
}
