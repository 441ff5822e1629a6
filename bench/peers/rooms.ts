/**
 * Peers of client sockets: a room whose members get what any of them says.
 *
 * A worker. Takes the kind: `bun` (Bun.serve and its `publish`), `deno` (Deno.serve and a loop over
 * its sockets), `ws` (the package `ws` and a loop) or `socket.io`. Gives its URL.
 */
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server as SocketIo } from "socket.io";
import { WebSocketServer } from "ws";
import { serveQuestions } from "../worker.ts";

interface BunSocket {
  subscribe(topic: string): void;
}

/** The parts of Bun and Deno that are used here. */
declare const Bun: {
  serve(options: {
    hostname: string;
    port: number;
    fetch(request: Request, server: { upgrade(request: Request): boolean }): Response | undefined;
    websocket: {
      open(socket: BunSocket): void;
      message(socket: BunSocket, text: string): void;
    };
  }): { port: number; publish(topic: string, text: string): void };
};
declare const Deno: {
  serve(options: object, handler: (request: Request) => Response): { addr: { port: number } };
  upgradeWebSocket(request: Request): { socket: WebSocket; response: Response };
};

function bun(): number {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, it) => it.upgrade(request) ? undefined : new Response("no", { status: 400 }),
    websocket: {
      open: (socket) => socket.subscribe("room"),
      message: (_socket, text) => server.publish("room", text),
    },
  });
  return server.port;
}

function deno(): number {
  const sockets = new Set<WebSocket>();
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    sockets.add(socket);
    socket.onmessage = ({ data }) => sockets.forEach((it) => it.send(data));
    socket.onclose = () => sockets.delete(socket);
    return response;
  }).addr.port;
}

function listening(server: HttpServer): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
  );
}

async function ws(): Promise<number> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, perMessageDeflate: false });
  server.on("connection", (socket) =>
    socket.on("message", (data) => {
      const text = String(data);
      for (const it of server.clients) it.send(text);
    }));
  return await listening(http);
}

async function socketIo(): Promise<number> {
  const http = createServer();
  const server = new SocketIo(http, { transports: ["websocket"], serveClient: false });
  server.on("connection", (socket) => socket.on("say", (text) => server.emit("event", text)));
  return await listening(http);
}

const kind = process.argv[2] as "bun" | "deno" | "ws" | "socket.io";
const port = await { bun, deno, ws, "socket.io": socketIo }[kind]();
const path = kind === "socket.io" ? "/socket.io/?EIO=4&transport=websocket" : "/";
serveQuestions({ url: `http://127.0.0.1:${port}${path}` }, () => Promise.resolve(null));
