/**
 * The far end of the wire bench, in its own process: an echo over a link, and an echo over a bare
 * batched WebSocket. Prints both addresses as one line.
 */
import { detectRuntime } from "../adapters/platform/detect.ts";
import { LINK_PATH, websocketTransport } from "../adapters/transport/websocket.ts";
import { MAX_FRAME_BYTES } from "../src/limits.ts";
import { batchingEcho } from "./wire_raw.ts";

const self = { region: "bench", node: "far", incarnation: crypto.randomUUID() };
const runtime = await detectRuntime();
const transport = websocketTransport({ runtime });
const server = await runtime.serve({
  host: "127.0.0.1",
  port: 0,
  maxFrameBytes: MAX_FRAME_BYTES,
  fetch: (request, upgrade) =>
    upgrade(new URL(request.url).pathname === LINK_PATH ? transport.accept() : batchingEcho()),
});
transport.address = `ws://127.0.0.1:${server.port}`;
await transport.open(self, (link) => {
  link.start({ message: (_tuple, body) => void link.send([], body), close: () => {} });
});
console.log(JSON.stringify({
  peer: { ...self, address: transport.address },
  raw: `ws://127.0.0.1:${server.port}/raw`,
}));
