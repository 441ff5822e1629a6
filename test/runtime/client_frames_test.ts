/**
 * A client's socket at a node that sends invalid frames: it ends with a reason, and throws
 * nothing.
 */
import { afterEach, expect, test } from "vitest";
import { connect, type SocketEvent } from "../../adapters/client/client.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { pack } from "../../src/model/value.ts";
import type { Server, Socket } from "../../src/ports/runtime.ts";

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const HELLO = pack({ t: "hello", connection: "c", epoch: 1, seq: 0, gap: false });

/** The URL of a server that sends these frames to each socket. */
async function saying(...frames: (Uint8Array | string)[]): Promise<string> {
  const runtime = await detectRuntime();
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_048_576,
    fetch: (_request, upgrade) =>
      upgrade({
        open: (socket: Socket) => {
          for (const frame of frames) socket.send(frame);
        },
        message: () => {},
        close: () => {},
      }, { protocol: "atlas.msgpack" }),
  });
  servers.push(server);
  return `http://127.0.0.1:${server.port}`;
}

test.each<[string, Uint8Array | string]>([
  ["text", '{"t":"event","seq":1,"epoch":1,"data":1}'],
  ["no bytes at all", new Uint8Array(0)],
  ["nil", pack(null)],
  ["an array", pack([1])],
  ["an event without a number", pack({ t: "event", epoch: 1, data: 1 })],
  ["an event whose number is a fraction", pack({ t: "event", seq: 1.5, epoch: 1 })],
  ["a hello without a connection", pack({ t: "hello", epoch: 1, seq: 1, gap: false })],
  ["a reply whose error is nil", pack({ t: "reply", id: 1, error: null })],
  ["a pattern", new Uint8Array([0xd4, 0x78, 0, 0x92, 0xa1, 0x61, 0xa0])],
  ["what is nested deep", new Uint8Array(1_000).fill(0x91)],
  ["an array of 100,000,000 items", new Uint8Array([0xdd, 5, 0xf5, 0xe1, 0])],
])("%s ends the socket with an error", async (_, frame) => {
  const events: SocketEvent[] = [];
  const socket = connect(await saying(HELLO, frame)).connect("rooms", "a", {
    onEvent: (event) => void events.push(event),
  });
  expect(await socket.closed).toMatchObject({
    code: 1007,
    reason: expect.stringMatching(/^the node sent no frame: /),
  });
  expect(events).toEqual([]);
});

test("an unknown kind of frame is ignored", async () => {
  const event = pack({ t: "event", seq: 1, epoch: 1, data: "text" });
  const url = await saying(HELLO, pack({ t: "tomorrow", x: 1 }), event);
  const socket = connect(url).connect("rooms", "a");
  for await (const { data } of socket) {
    expect(data).toBe("text");
    break;
  }
  socket.close();
});
