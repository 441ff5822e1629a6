/**
 * WebSocket transports on loopback, each behind a server of its own that accepts links. Takes the
 * transports' options; gives a harness.
 */
import { detectRuntime } from "../../adapters/platform/detect.ts";
import {
  LINK_PATH,
  type WebSocketTransport,
  websocketTransport,
  type WebSocketTransportOptions,
} from "../../adapters/transport/websocket.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import type { Server } from "../../src/ports/runtime.ts";
import type { TransportHarness } from "./transport.ts";

export interface LinkNetwork extends TransportHarness {
  transport(more?: Partial<WebSocketTransportOptions>): Promise<WebSocketTransport>;
}

export async function linkNetwork(
  options: Partial<WebSocketTransportOptions> = {},
): Promise<LinkNetwork> {
  const runtime = await detectRuntime();
  const servers: Server[] = [];
  return {
    async transport(more = {}) {
      const transport = websocketTransport({ runtime, ...options, ...more });
      const server = await runtime.serve({
        host: "127.0.0.1",
        port: 0,
        maxFrameBytes: MAX_FRAME_BYTES,
        fetch: (request, upgrade) =>
          new URL(request.url).pathname === LINK_PATH
            ? upgrade(transport.accept())
            : new Response("not here", { status: 404 }),
      });
      servers.push(server);
      transport.address = `http://127.0.0.1:${server.port}`;
      return transport;
    },
    async close() {
      await Promise.all(servers.splice(0).map((server) => server.close()));
    },
  };
}
