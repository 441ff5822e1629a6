/**
 * Deno's doorman: `Deno.serve` to let requests and sockets in, `ws` to dial. Takes and
 * gives what the `Runtime` port says; nothing of Deno leaves this file.
 */
import { AtlasError } from "../../src/errors.ts";
import type { Runtime, ServeOptions, Server } from "../../src/ports/runtime.ts";
import { GuardedSocket, type RawSocket } from "./guarded_socket.ts";
import { serveFailure } from "./serve_failure.ts";
import { dialWs } from "./ws_socket.ts";

/** What is used of Deno's own types. */
interface DenoServer {
  readonly addr: { readonly port: number };
  readonly finished: Promise<void>;
}

interface DenoPeer {
  readonly remoteAddr: { readonly hostname?: string };
}

interface Deno {
  readonly version: { readonly deno: string };
  serve(
    options: {
      hostname: string;
      port: number;
      signal: AbortSignal;
      onListen(): void;
      onError(): Response;
    },
    handler: (request: Request, from: DenoPeer) => Response | Promise<Response>,
  ): DenoServer;
  upgradeWebSocket(
    request: Request,
    options: { idleTimeout: number; protocol?: string },
  ): { socket: WebSocket; response: Response };
}

function deno(): Deno {
  const found = (globalThis as { Deno?: Deno }).Deno;
  if (!found) throw new AtlasError("bad_request", "this is not Deno");
  return found;
}

/** Deno ≥ 2.9. Its server takes frames of up to 64 MiB before a larger one is refused. */
export const runtime: Runtime = {
  name: "deno",
  get version(): string {
    return deno().version.deno;
  },
  serve,
  dial: dialWs,
};

async function serve(options: ServeOptions): Promise<Server> {
  const live = new Set<GuardedSocket>();
  const stop = new AbortController();
  let server: DenoServer;
  try {
    server = deno().serve({
      hostname: options.host,
      port: options.port,
      signal: stop.signal,
      onListen: () => {},
      onError: () => new Response("internal error", { status: 500 }),
    }, (request, from) => answer(options, request, from, live));
  } catch (cause) {
    throw serveFailure(options.host, options.port, cause);
  }
  return {
    port: server.addr.port,
    async close() {
      for (const socket of live) socket.close(1001, "the server is closing");
      stop.abort();
      await server.finished;
      // Deno may never say that these are gone.
      for (const socket of [...live]) socket.cut();
    },
  };
}

function answer(
  options: ServeOptions,
  request: Request,
  from: DenoPeer,
  live: Set<GuardedSocket>,
): Response | Promise<Response> {
  let upgraded: Response | undefined;
  // Deno can't say it any more once the request is a socket.
  const remote = from.remoteAddr.hostname;
  const response = options.fetch(request, (handlers, { protocol, ...how } = {}) => {
    if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return refusal();
    try {
      const found = deno().upgradeWebSocket(request, {
        // In s; Deno pings by itself.
        idleTimeout: Math.ceil((how.idleMs ?? 0) / 1_000),
        ...protocol !== undefined && { protocol },
      });
      const { maxFrameBytes = options.maxFrameBytes } = how;
      guard(
        found.socket,
        (raw) => new GuardedSocket(raw, handlers, maxFrameBytes, remote),
        live,
      );
      return upgraded = found.response;
    } catch {
      return refusal();
    }
  }, { remote });
  // Deno wants its own response back, whatever the app made of it.
  if (response instanceof Promise) return response.then((r) => upgraded ?? r);
  return upgraded ?? response;
}

function refusal(): Response {
  return new Response("expected a WebSocket", { status: 426 });
}

function guard(
  ws: WebSocket,
  guarded: (raw: RawSocket) => GuardedSocket,
  live: Set<GuardedSocket>,
): void {
  const raw: RawSocket = {
    send(data) {
      ws.send(data as string | Uint8Array<ArrayBuffer>);
      return true;
    },
    buffered: () => ws.bufferedAmount,
    close: (code, reason) => ws.close(code, reason),
    // The standard has no harder end; after a first close this does nothing.
    terminate: () => ws.close(),
  };
  const socket = guarded(raw);
  const gone = (code: number, reason: string) => {
    live.delete(socket);
    socket.ended(code, reason);
  };
  ws.binaryType = "arraybuffer";
  ws.onopen = () => {
    live.add(socket);
    socket.opened();
  };
  ws.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    socket.received(typeof data === "string" ? data : new Uint8Array(data));
  };
  ws.onclose = ({ code, reason }) => gone(code, reason);
  // Deno may never fire a close after an error.
  ws.onerror = () => gone(1006, "");
}
