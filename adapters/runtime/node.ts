/**
 * Node's doorman: `node:http` and `ws` to let requests and sockets in, `ws` to dial.
 * Takes and gives what the `Runtime` port says; nothing of Node leaves this file.
 */
import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  STATUS_CODES,
} from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import { getRequestListener, RequestError } from "@hono/node-server";
import { WebSocketServer } from "ws";
import type { Runtime, ServeOptions, Server, SocketHandlers } from "../../src/ports/runtime.ts";
import type { GuardedSocket } from "./guarded_socket.ts";
import { serveFailure } from "./serve_failure.ts";
import { dialWs, guardWs, type WsLike } from "./ws_socket.ts";

/** Node ≥ 22. */
export const runtime: Runtime = {
  name: "node",
  version: process.versions.node,
  serve,
  dial: dialWs,
};

async function serve(options: ServeOptions): Promise<Server> {
  const door = new Door(options);
  const listener = getRequestListener(
    // A plain request can't become a socket here: Node reports those apart.
    (request) => options.fetch(request, () => refusal()),
    {
      overrideGlobalObjects: false,
      // A target or host that makes no URL is the caller's fault.
      errorHandler: (error) =>
        error instanceof RequestError
          ? new Response("bad request", { status: 400 })
          : new Response("internal error", { status: 500 }),
    },
  );
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  server.on("upgrade", (incoming, socket, head) => void door.upgrade(incoming, socket, head));
  await listening(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        door.close();
        server.closeAllConnections();
      }),
  };
}

function refusal(): Response {
  return new Response("expected a WebSocket", { status: 426 });
}

function listening(server: HttpServer, options: ServeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => reject(serveFailure(options.host, options.port, cause)));
    server.listen(options.port, options.host, resolve);
  });
}

/** What turns requests into sockets. */
class Door {
  readonly #options: ServeOptions;
  readonly #protocols: WeakMap<IncomingMessage, string> = new WeakMap();
  readonly #server: WebSocketServer;
  readonly #live: Set<GuardedSocket> = new Set();
  readonly #pending: Set<Duplex> = new Set();

  constructor(options: ServeOptions) {
    this.#options = options;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.maxFrameBytes,
      handleProtocols: (_offered, incoming) => this.#protocols.get(incoming) ?? false,
    });
  }

  /** Asks the app about an upgrade request, and does what it says. */
  async upgrade(incoming: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    // Without a listener an abrupt end would stop the process.
    const noted = () => {};
    socket.on("error", noted);
    this.#pending.add(socket);
    let handlers: SocketHandlers | undefined;
    let response: Response;
    try {
      response = await this.#options.fetch(requestOf(incoming), (given, { protocol } = {}) => {
        handlers = given;
        if (protocol !== undefined) this.#protocols.set(incoming, protocol);
        return new Response(null);
      });
    } catch {
      response = new Response("bad request", { status: 400 });
    }
    this.#pending.delete(socket);
    if (!handlers) return await refuse(socket, response);
    const owner = handlers;
    this.#server.handleUpgrade(incoming, socket, head as Buffer, (ws) => {
      socket.off("error", noted);
      const guard = guardWs(ws as WsLike, false, owner, this.#options.maxFrameBytes);
      this.#live.add(guard);
      ws.on("close", () => this.#live.delete(guard));
      guard.opened();
    });
  }

  /** Ends all sockets at once. */
  close(): void {
    for (const socket of this.#live) socket.close(1001, "the server is closing");
    for (const socket of [...this.#live]) socket.cut();
    for (const socket of this.#pending) socket.destroy();
  }
}

/** The request that asks for an upgrade. Throws where its target or host is no URL. */
function requestOf(incoming: IncomingMessage): Request {
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i] as string, incoming.rawHeaders[i + 1] as string);
  }
  const target = incoming.url ?? "/";
  const host = incoming.headers.host ?? "localhost";
  const url = target.startsWith("/") ? `http://${host}${target}` : target;
  return new Request(url, { method: incoming.method, headers });
}

/** Answers an upgrade request with an ordinary response, and hangs up. */
async function refuse(socket: Duplex, response: Response): Promise<void> {
  const body = new Uint8Array(await response.arrayBuffer());
  const lines = [`HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ""}`];
  for (const [name, value] of response.headers) {
    if (name !== "content-length" && name !== "connection") lines.push(`${name}: ${value}`);
  }
  lines.push(`content-length: ${body.length}`, "connection: close", "", "");
  socket.write(lines.join("\r\n"));
  socket.end(body);
}
