/** Sockets whose peers are silent: those that answer pings stay, those that don't are cut. */
import { connect as dial } from "node:net";
import { expect, test } from "vitest";
import { detectRuntime } from "../../adapters/platform/detect.ts";

test("a peer that answers no ping is disconnected; others stay", async () => {
  const runtime = await detectRuntime();
  const events: string[] = [];
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_024,
    fetch: (request, upgrade) => {
      const name = new URL(request.url).pathname.slice(1);
      return upgrade({
        open: () => void events.push(`open ${name}`),
        message: () => {},
        close: () => void events.push(`close ${name}`),
      }, { idleMs: 3_000 });
    },
  });
  const alive = new WebSocket(`ws://127.0.0.1:${server.port}/alive`);
  await expect.poll(() => alive.readyState).toBe(WebSocket.OPEN);
  const dead = dial(server.port, "127.0.0.1");
  dead.on("error", () => {});
  dead.write(
    "GET /dead HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
      "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  while (!events.includes("close dead")) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(events.toSorted()).toEqual(["close dead", "open alive", "open dead"]);
  expect(alive.readyState).toBe(WebSocket.OPEN);
  alive.close();
  dead.destroy();
  await server.close();
});
