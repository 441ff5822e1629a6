/**
 * A client's socket whose node or network misbehaves: it reconnects elsewhere, and pending calls
 * end.
 */
import { createServer, type Server as TcpServer, type Socket as TcpSocket } from "node:net";
import { expect, test } from "vitest";
import { connect, type SocketClose } from "../../adapters/client/client.ts";
import { openSocket } from "../../adapters/client/socket.ts";
import type { SocketOptions } from "../../adapters/client/socket_api.ts";
import { errorResponse, noUpgrade } from "../../adapters/http_wire/errors.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { pack, unpack } from "../../src/model/value.ts";
import type { Server, Socket } from "../../src/ports/runtime.ts";
import { until } from "../support/until.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

// deno-lint-ignore no-explicit-any
type Frame = any;

/** A fake node with the frames that it got, and its sockets. */
class FakeNode {
  readonly received: Frame[] = [];
  readonly sockets: Socket[] = [];
  closed = 0;
  url = "";
  server: Server | null = null;

  /** @param answer what it does with each frame. */
  async open(
    answer: (frame: Frame, socket: Socket) => void = () => {},
    hello = true,
  ): Promise<this> {
    const runtime = await detectRuntime();
    this.server = await runtime.serve({
      host: "127.0.0.1",
      port: 0,
      maxFrameBytes: 1_048_576,
      fetch: (request, upgrade) => {
        if (request.headers.get("upgrade") === null) return errorResponse(noUpgrade());
        return upgrade({
          open: (socket) => {
            this.sockets.push(socket);
            if (hello) this.hello(socket);
          },
          message: (socket, data) => {
            const frame = unpack(new Uint8Array(data as Uint8Array));
            this.received.push(frame);
            answer(frame, socket);
          },
          close: () => void this.closed++,
        }, { protocol: "atlas.msgpack" });
      },
    });
    cleanups.push(() => this.server?.close());
    this.url = `http://127.0.0.1:${this.server.port}`;
    return this;
  }

  hello(socket: Socket): void {
    socket.send(pack({ t: "hello", connection: "c", epoch: 1, seq: 0, gap: false }));
  }
}

const reply = ({ id, method }: Frame, socket: Socket): void =>
  socket.send(pack({ t: "reply", id, result: method }));
/** Answers calls, and nothing else. */
const answering = (frame: Frame, socket: Socket): void => {
  if (frame.t === "call") reply(frame, socket);
};

/** A client that soon closes a silent connection. */
function impatient(urls: string[], options: SocketOptions = {}, silenceMs = 400) {
  const probe = () => connect(urls).call("rooms", "x", "probe", [], { timeoutMs: 200 });
  const socket = openSocket({
    urls,
    token: undefined,
    key: "rooms/x",
    timeoutMs: 10_000,
    probe,
    silenceMs,
  }, options);
  cleanups.push(() => socket.close());
  return socket;
}

/** The URL of a server that accepts connections and never answers. */
async function silentUrl(): Promise<{ url: string; sockets: TcpSocket[] }> {
  const sockets: TcpSocket[] = [];
  const server: TcpServer = createServer((socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, sockets };
}

test("a silent connection is replaced by the next URL, and its calls end", async () => {
  const [silent, lively] = [await new FakeNode().open(), await new FakeNode().open(answering)];
  const socket = impatient([silent.url, lively.url]);
  const call = socket.call("lost");
  await expect(call).rejects.toMatchObject({
    code: "unavailable",
    maybeExecuted: true,
    message: expect.stringContaining("nothing was heard"),
  });
  expect(await socket.call("found")).toBe("found");
  expect([silent.received.length, lively.received.length]).toEqual([1, 1]);
});

test("a connection stays open while anything arrives, also pings", async () => {
  const only = await new FakeNode().open(answering);
  const socket = impatient([only.url]);
  await until(() => only.sockets.length > 0, "it is connected");
  const ping = setInterval(() => only.sockets[0]?.send(pack({ t: "ping" })), 50);
  cleanups.push(() => clearInterval(ping));
  const began = performance.now();
  await until(() => performance.now() - began > 1_500, "three times the silence is over");
  expect(await socket.call("here")).toBe("here");
  expect(only.sockets).toHaveLength(1);
});

test("an upgrade without an answer, or without hello, is replaced by the next URL", async () => {
  const [silent, mute] = [await silentUrl(), await new FakeNode().open(() => {}, false)];
  const lively = await new FakeNode().open(answering);
  const socket = impatient([silent.url, mute.url, lively.url]);
  expect(await socket.call("found")).toBe("found");
  expect([silent.sockets.length > 0, mute.sockets.length]).toEqual([true, 1]);
});

test("a call that can't be sent ends at its deadline, with the reason, as not executed", async () => {
  const { url, sockets } = await silentUrl();
  for (const socket of sockets) socket.destroy();
  const socket = connect(url, { timeoutMs: 300 }).connect("rooms", "x");
  cleanups.push(() => socket.close());
  await expect(socket.call("never")).rejects.toMatchObject({
    code: "timeout",
    maybeExecuted: false,
  });
  const named = socket.call("never", [], { timeoutMs: 50 });
  await expect(named).rejects.toMatchObject({ code: "timeout", message: /^"never"/ });
});

test("a call that is sent and never answered ends at its deadline as maybe executed", async () => {
  const only = await new FakeNode().open();
  const socket = connect(only.url).connect("rooms", "x");
  cleanups.push(() => socket.close());
  const call = socket.call("slow", ["a", 1], { timeoutMs: 200, idempotencyKey: "k" });
  await expect(call).rejects.toMatchObject({ code: "timeout", maybeExecuted: true });
  const [{ timeoutMs, ...frame }] = only.received;
  expect(frame).toEqual({ t: "call", id: 1, method: "slow", args: ["a", 1], idempotencyKey: "k" });
  expect(timeoutMs).toBeLessThanOrEqual(200);
});

test("an invalid call is refused before it is sent", async () => {
  const only = await new FakeNode().open();
  const socket = connect(only.url).connect("rooms", "x");
  cleanups.push(() => socket.close());
  for (
    const [args, options, message] of [
      ["a", {}, /args is "a", it must be an array/],
      [[], { timeoutMs: 0 }, /timeoutMs is 0/],
      [[], { idempotencyKey: "" }, /idempotencyKey/],
      [[], { timeout: 1 }, /there is no option "timeout"/],
      [[() => 1], {}, /function/],
    ] as const
  ) {
    await expect(socket.call("x", args as never, options as never)).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringMatching(message),
    });
  }
  expect(only.received).toEqual([]);
});

test("a call with an idempotency key is sent again if the connection broke, and others end", async () => {
  let isFirst = true;
  const only = await new FakeNode().open((frame, socket) => {
    if (!isFirst) return reply(frame, socket);
    if (frame.method !== "plain") return;
    isFirst = false;
    socket.close(1012, "");
  });
  const socket = connect(only.url).connect("rooms", "x");
  cleanups.push(() => socket.close());
  const keyed = socket.call("keyed", [], { idempotencyKey: "k" });
  const plain = socket.call("plain");
  await expect(plain).rejects.toMatchObject({ code: "unavailable", maybeExecuted: true });
  expect(await keyed).toBe("keyed");
  expect(only.received.map(({ method }) => method)).toEqual(["keyed", "plain", "keyed"]);
});

test("messages sent before it is connected come first, in their order", async () => {
  const only = await new FakeNode().open();
  const socket = connect(only.url).connect("rooms", "x", {
    onHello: () => socket.send("on hello"),
  });
  cleanups.push(() => socket.close());
  socket.send(1);
  void socket.call("then").catch(() => {});
  socket.send(2);
  await until(() => only.received.length === 4, "all frames were received");
  expect(only.received.map(({ data, method }) => data ?? method)).toEqual([
    1,
    "then",
    2,
    "on hello",
  ]);
});

test("messages sent before close are sent, also before it is connected", async () => {
  const only = await new FakeNode().open();
  const closes: SocketClose[] = [];
  const socket = connect(only.url).connect("rooms", "x", { onClose: (it) => closes.push(it) });
  for (let n = 0; n < 20; n++) socket.send(n);
  const call = socket.call("never");
  socket.close();
  expect(() => socket.send("late")).toThrow(/closed/);
  await expect(call).rejects.toMatchObject({ code: "unavailable", maybeExecuted: false });
  expect(await socket.closed).toEqual({ code: 1000, reason: "" });
  await until(() => only.closed === 1, "the node has seen it close");
  expect(only.received.map(({ data }) => data)).toEqual(Array.from({ length: 20 }, (_, n) => n));
  expect(closes).toHaveLength(1);
});

test("a socket that can't connect can be closed", async () => {
  const { url } = await silentUrl();
  const socket = connect(url).connect("rooms", "x");
  socket.send("lost");
  socket.close();
  expect(await socket.closed).toEqual({ code: 1000, reason: "" });
});

test("a node that asks its clients to leave gets no more messages, and its answers are waited for", async () => {
  const next = await new FakeNode().open(answering);
  let asked: Frame = null;
  const first = await new FakeNode().open((frame) => void (asked = frame));
  const events: unknown[] = [];
  const socket = connect([first.url, next.url]).connect("rooms", "x", {
    onEvent: ({ data }) => events.push(data),
  });
  cleanups.push(() => socket.close());
  const call = socket.call("under way");
  await until(() => asked !== null, "the call is there");
  const [at] = first.sockets as [Socket];
  at.send(pack({ t: "leave" }));
  at.send(pack({ t: "event", seq: 1, epoch: 1, data: "after it" }));
  await until(() => events.length > 0, "the event has arrived");
  socket.send("for the next one");
  expect(first.closed).toBe(0);
  reply(asked, at);
  expect(await call).toBe("under way");
  await until(() => first.closed === 1 && next.received.length > 0, "it has gone on");
  expect(first.received.map(({ method }) => method)).toEqual(["under way"]);
  expect(next.received).toEqual([{ t: "message", data: "for the next one" }]);
  expect(await socket.call("here")).toBe("here");
});

test("an answer's mark is reported before the call resolves", async () => {
  const only = await new FakeNode().open(({ id }, socket) => {
    socket.send(pack({ t: "reply", id, verdict: "suspect", result: 1 }));
  });
  const socket = connect(only.url).connect("rooms", "x");
  cleanups.push(() => socket.close());
  const verdicts: string[] = [];
  expect(await socket.call("x", [], { onVerdict: (it) => verdicts.push(it) })).toBe(1);
  expect(verdicts).toEqual(["suspect"]);
});

test("if requests succeed and upgrades don't, a socket ends with advice about the proxy's settings", async () => {
  const runtime = await detectRuntime();
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 1_024,
    fetch: () => errorResponse(noUpgrade()),
  });
  cleanups.push(() => server.close());
  const socket = connect(`http://127.0.0.1:${server.port}`).connect("rooms", "x");
  const call = socket.call("never");
  call.catch(() => {});
  expect(await socket.closed).toEqual({
    code: 4426,
    reason: expect.stringMatching(/proxy in between must pass on the headers Upgrade/),
  });
  await expect(call).rejects.toMatchObject({ code: "unavailable", maybeExecuted: false });
});
