/**
 * The limits of one WebSocket at a server, on the runtime that runs this test: docs/limits.md
 * lists them.
 *
 * Covers adapters/platform/guarded_socket.ts and adapters/platform/socket_upgrades.ts.
 */
import { afterEach, describe, expect, it } from "vitest";
import { BINARY, CLOSE, CONTINUATION, frame, TEXT, upgrade } from "../../fuzz/frames.ts";
import type { SocketHandlers } from "../../src/ports/runtime.ts";
import { Client, closeAll, closed, runtime, serve } from "../support/raw_server.ts";
import { until } from "../support/until.ts";

afterEach(closeAll);

describe(`the limits of one socket on ${runtime.name}`, () => {
  async function opened(handlers: Partial<SocketHandlers> = {}) {
    const messages: number[] = [];
    let closes = 0;
    const { port } = await serve((_request, accept) =>
      accept({
        open() {},
        message: (_socket, data) => void messages.push(data.length),
        close: () => void closes++,
        ...handlers,
      })
    );
    const client = new Client(port, upgrade("/"));
    await until(() => client.text.includes("\r\n\r\n"), "the socket stands");
    return { client, messages, closes: () => closes };
  }

  it("fragments together over the limit of a message end it, and nothing is delivered", async () => {
    const { client, messages, closes } = await opened();
    client.tcp.write(frame(new Uint8Array(40_000), { opcode: BINARY, fin: false }));
    client.tcp.write(frame(new Uint8Array(40_000), { opcode: CONTINUATION, fin: false }));
    await closed(client);
    await until(() => closes() === 1, "onDisconnect has run");
    expect(messages).toEqual([]);
  });

  it("fragments that fit are one message", async () => {
    const { client, messages } = await opened();
    client.tcp.write(frame(new Uint8Array(30_000), { opcode: BINARY, fin: false }));
    client.tcp.write(frame(new Uint8Array(30_000), { opcode: CONTINUATION }));
    await until(() => messages.length === 1, "it is delivered");
    expect(messages).toEqual([60_000]);
  });

  it("more than 16,384 fragments of one message end it on Node and Deno; Bun keeps none of them", async () => {
    const { client, messages, closes } = await opened();
    const fragments = 20_000;
    const one = (opcode: number, fin: boolean) =>
      Buffer.from(frame(new Uint8Array(1), { opcode, fin }));
    client.tcp.write(Buffer.concat([
      one(BINARY, false),
      ...Array.from({ length: fragments - 2 }, () => one(CONTINUATION, false)),
      one(CONTINUATION, true),
    ]));
    if (runtime.name === "bun") {
      await until(() => messages.length === 1, "it is delivered");
      expect(messages).toEqual([fragments]);
      return;
    }
    await closed(client);
    await until(() => closes() === 1, "onDisconnect has run");
    expect(messages).toEqual([]);
  });

  it("messages that a client sends before it closes are delivered before the close, answered or not", async () => {
    const events: string[] = [];
    const { port } = await serve((_request, accept) =>
      accept({
        open() {},
        message(socket, data) {
          events.push(String(data));
          const end = performance.now() + 1;
          while (performance.now() < end);
          socket.send("an answer that nobody reads");
        },
        close: (_socket, code) => void events.push(`closed ${code}`),
      }, { idleMs: 60_000 })
    );
    const client = new Client(port, upgrade("/"));
    await until(() => client.text.includes("\r\n\r\n"), "the socket stands");
    const sent = Array.from({ length: 100 }, (_, i) => String(i));
    const frames = sent.map((it) => Buffer.from(frame(Buffer.from(it), { opcode: TEXT })));
    const goodbye = Buffer.from(frame(new Uint8Array([3, 232]), { opcode: CLOSE }));
    client.tcp.write(Buffer.concat([...frames, goodbye]));
    await until(() => events.at(-1)?.startsWith("closed"), "onDisconnect has run");
    expect(events).toEqual([...sent, "closed 1000"]);
  });

  it("a peer that ignores the close is cut off", async () => {
    const { client } = await opened({ open: (socket) => socket.close(4000, "go") });
    await closed(client);
  });

  it("a peer that goes on sending after an invalid frame is cut off", async () => {
    const { client } = await opened();
    client.tcp.write(frame(new Uint8Array(1), { opcode: 7 }));
    const drip = setInterval(
      () => client.tcp.write(frame(new Uint8Array(1_000), { opcode: BINARY })),
      100,
    );
    await closed(client).finally(() => clearInterval(drip));
  });
});
