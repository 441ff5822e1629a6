/**
 * The suite for runtime adapters. Takes a way to get the adapter; runs it over loopback and
 * declares vitest cases.
 */
import { connect, type Socket as TcpSocket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type {
  Runtime,
  ServeOptions,
  Server,
  Socket,
  SocketHandlers,
} from "../../src/ports/runtime.ts";
import { sendRaw } from "../e2e/raw_http.ts";
import { freePort } from "../support/ports.ts";

const MAX_FRAME = 65_536;
/** How long a dial that succeeds may take, on a busy machine, in ms. */
const DIAL_MS = 30_000;
/** The headers of a WebSocket handshake besides `Upgrade` (RFC 6455 §1.3). */
const WS_HEADERS = "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/** Everything that happened to one end of a socket. */
class Recorder implements SocketHandlers {
  readonly messages: (string | Uint8Array)[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  opens = 0;
  socket: Socket | null = null;

  open(socket: Socket): void {
    this.opens++;
    this.socket = socket;
  }
  message(_socket: Socket, data: string | Uint8Array): void {
    this.messages.push(typeof data === "string" ? data : data.slice());
  }
  close(_socket: Socket, code: number, reason: string): void {
    this.closes.push({ code, reason });
  }
}

/** Declares the cases. */
export function runtimeSuite(detect: () => Promise<Runtime>): void {
  const servers: Server[] = [];
  const tcp: TcpSocket[] = [];
  afterEach(async () => {
    for (const socket of tcp.splice(0)) socket.destroy();
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  async function start(
    fetch: ServeOptions["fetch"],
    at = 0,
  ): Promise<{ runtime: Runtime; port: number }> {
    const runtime = await detect();
    const server = await runtime.serve({
      host: "127.0.0.1",
      port: at,
      maxFrameBytes: MAX_FRAME,
      fetch,
    });
    servers.push(server);
    return { runtime, port: server.port };
  }

  /** A server whose sockets are recorded, and a socket dialled to it. */
  async function pair(): Promise<{ near: Recorder; far: Recorder; socket: Socket; port: number }> {
    const far = new Recorder();
    const { runtime, port } = await start((_request, upgrade) => upgrade(far));
    const near = new Recorder();
    const socket = await runtime.dial(`ws://127.0.0.1:${port}/x`, near, {
      maxFrameBytes: MAX_FRAME,
      timeoutMs: DIAL_MS,
    });
    await expect.poll(() => far.opens).toBe(1);
    return { near, far, socket, port };
  }

  describe("requests", () => {
    it("have their method, path, headers and body unchanged", async () => {
      const { port } = await start(async (request) => {
        const text = await request.text();
        const { pathname, search } = new URL(request.url);
        return Response.json(
          [request.method, pathname + search, request.headers.get("x-a"), text],
          { status: 201, headers: { "x-b": "2" } },
        );
      });
      const body = "ü".repeat(100_000);
      const response = await fetch(`http://127.0.0.1:${port}/a/b%20c?d=1`, {
        method: "POST",
        body,
        headers: { "x-a": "1" },
      });
      expect(response.status).toBe(201);
      expect(response.headers.get("x-b")).toBe("2");
      expect(await response.json()).toEqual(["POST", "/a/b%20c?d=1", "1", body]);
    });

    it("come with the remote address of their connection", async () => {
      const { port } = await start((_request, _upgrade, from) =>
        Response.json({ remote: from?.remote })
      );
      const response = await fetch(`http://127.0.0.1:${port}/`);
      const { remote } = await response.json();
      expect(remote).toMatch(/^(?:::ffff:)?127\.0\.0\.1$/);
    });

    it("may have a body of 8 MiB", async () => {
      const { port } = await start(async (request) =>
        new Response(String((await request.arrayBuffer()).byteLength))
      );
      const response = await fetch(`http://127.0.0.1:${port}/`, {
        method: "POST",
        body: new Uint8Array(8_388_608),
      });
      expect(await response.text()).toBe("8388608");
    });

    it("are answered with 500 if the app throws, and later ones are served", async () => {
      const { port } = await start((request) => {
        if (request.url.endsWith("/bad")) throw new Error("secret detail");
        return new Response("fine");
      });
      const bad = await fetch(`http://127.0.0.1:${port}/bad`);
      expect(bad.status).toBe(500);
      expect(await bad.text()).not.toContain("secret detail");
      expect(await (await fetch(`http://127.0.0.1:${port}/good`)).text()).toBe("fine");
    });

    it("without upgrade headers can't be upgraded", async () => {
      const far = new Recorder();
      const { port } = await start((_request, upgrade) => upgrade(far));
      const response = await fetch(`http://127.0.0.1:${port}/`);
      expect(response.status).toBe(426);
      await response.body?.cancel();
      expect(far.opens).toBe(0);
    });

    it("over HTTP/1.0 without a host are served, also with body and query", async () => {
      const { port } = await start(async (request) => {
        const { pathname, search } = new URL(request.url);
        return new Response([request.method, pathname + search, await request.text()].join(" "));
      });
      const base = `http://127.0.0.1:${port}`;
      const got = await sendRaw(base, "GET /a/b%20c?d=1 HTTP/1.0\r\n\r\n");
      expect(got).toMatchObject({
        status: 200,
        text: expect.stringContaining("GET /a/b%20c?d=1 "),
      });
      const sent = await sendRaw(base, "POST /e HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello");
      expect(sent).toMatchObject({ status: 200, text: expect.stringContaining("POST /e hello") });
    });

    // An upgrade that isn't supported is ignored (RFC 9110 §7.8); Deno refuses it.
    it.each([
      ["POST", "h2c", "connection: Upgrade, HTTP2-Settings, close\r\nhttp2-settings: AAMAAABkAAQ"],
      ["POST", "websocket", "connection: Upgrade, close"],
      ["PUT", "WebSocket", `${WS_HEADERS}\r\nconnection: close`],
    ])("serves a %s that asks for %s with its body, or not at all", async (method, other, more) => {
      const served: string[] = [];
      const { port } = await start(async (request) => {
        served.push(`${request.method} ${await request.text()}`);
        return new Response(served.at(-1));
      });
      const head = `${method} /x HTTP/1.1\r\nhost: h\r\nupgrade: ${other}\r\n${more}`;
      const { status, text } = await sendRaw(
        `http://127.0.0.1:${port}`,
        `${head}\r\ncontent-length: 5\r\n\r\nhello`,
      );
      if (status === 200) expect(text).toContain(`${method} hello`);
      else expect(status).toBe(400);
      expect(served).toEqual(status === 200 ? [`${method} hello`] : []);
    });
  });

  describe("listening", () => {
    it("names the port in its error if the port is in use", async () => {
      const { runtime, port } = await start(() => new Response("ok"));
      await expect(
        runtime.serve({
          host: "127.0.0.1",
          port,
          maxFrameBytes: MAX_FRAME,
          fetch: () => new Response(),
        }),
      ).rejects.toThrow(`can't listen on 127.0.0.1 port ${port}: the port is in use`);
    });

    it("closes with sockets and requests open, and frees the port", async () => {
      const far = new Recorder();
      let asked = 0;
      const runtime = await detect();
      const server = await runtime.serve({
        host: "127.0.0.1",
        port: await freePort(),
        maxFrameBytes: MAX_FRAME,
        fetch(request, upgrade) {
          asked++;
          return request.url.endsWith("/ws") ? upgrade(far) : new Promise<Response>(() => {});
        },
      });
      const near = new Recorder();
      await runtime.dial(`ws://127.0.0.1:${server.port}/ws`, near, {
        maxFrameBytes: MAX_FRAME,
        timeoutMs: DIAL_MS,
      });
      const hanging = fetch(`http://127.0.0.1:${server.port}/hang`).catch(() => "gone");
      await expect.poll(() => asked).toBe(2);
      await server.close();
      expect(await hanging).toBe("gone");
      await expect.poll(() => [near.closes.length, far.closes.length]).toEqual([1, 1]);
      const again = await runtime.serve({
        host: "127.0.0.1",
        port: server.port,
        maxFrameBytes: MAX_FRAME,
        fetch: () => new Response("again"),
      });
      servers.push(again);
      expect(await (await fetch(`http://127.0.0.1:${server.port}/`)).text()).toBe("again");
    });
  });

  describe("sockets", () => {
    it("carry text as text and bytes as bytes, in order, both ways, empty frames too", async () => {
      const { near, far, socket } = await pair();
      const sent = ["grüße", new Uint8Array(0), Uint8Array.from({ length: 9_999 }, (_, i) => i)];
      for (const data of sent) socket.send(data);
      await expect.poll(() => far.messages.length).toBe(3);
      expect(far.messages.map(plain)).toEqual(sent.map(plain));
      for (const data of sent) far.socket?.send(data);
      await expect.poll(() => near.messages.length).toBe(3);
      expect(near.messages.map(plain)).toEqual(sent.map(plain));
    });

    it("send a batch of frames in its order, between earlier and later ones, to each socket", async () => {
      const [one, two] = [await pair(), await pair()];
      const batch = { frames: ["grüße", new Uint8Array(0), new Uint8Array(9_999).fill(7), "x"] };
      const sockets = [one.socket, one.far.socket, two.socket, two.far.socket];
      for (const socket of sockets) {
        socket?.send("before");
        socket?.sendAll?.(batch);
        socket?.send("after");
        socket?.sendAll?.({ frames: ["alone"] });
      }
      const all = ["before", ...batch.frames, "after", "alone"];
      for (const { messages } of [one.near, one.far, two.near, two.far]) {
        await expect.poll(() => messages.map(plain)).toEqual(all.map(plain));
      }
      one.far.socket?.close(4_000, "done");
      one.far.socket?.sendAll?.(batch);
      await expect.poll(() => one.near.closes.length).toBe(1);
      expect(one.near.messages.length).toBe(all.length);
    });

    it("have the remote address at the serving end", async () => {
      const { far, socket } = await pair();
      expect(far.socket?.remote).toMatch(/^(?:::ffff:)?127\.0\.0\.1$/);
      expect(socket.remote).toBeUndefined();
    });

    it("have copied the bytes when send returns", async () => {
      const { near, far, socket } = await pair();
      const bytes = new Uint8Array(MAX_FRAME);
      for (let i = 0; i < 100; i++) {
        bytes.fill(i);
        socket.send(bytes);
        far.socket?.send(bytes);
      }
      bytes.fill(255);
      await expect.poll(() => [near.messages.length, far.messages.length]).toEqual([100, 100]);
      for (const { messages } of [near, far]) {
        expect(messages.map((message) => message[0])).toEqual([...Array(100).keys()]);
        expect(messages.map((message) => message.at(-1))).toEqual([...Array(100).keys()]);
      }
    });

    it("count the bytes that wait while the peer does not read", async () => {
      const far = new Recorder();
      const { port } = await start((_request, upgrade) => upgrade(far));
      const client = connect(port, "127.0.0.1");
      tcp.push(client);
      client.on("error", () => {});
      client.write(rawUpgrade(port));
      await expect.poll(() => far.opens).toBe(1);
      client.pause();
      for (let i = 0; i < 512; i++) far.socket?.send(new Uint8Array(MAX_FRAME));
      expect(far.socket?.buffered()).toBeGreaterThan(4_194_304);
      expect(far.closes).toEqual([]);
    });

    it("pass their events to the handlers that `open` returned", async () => {
      const first = new Recorder();
      const later = new Recorder();
      const opening: SocketHandlers = {
        open: () => later,
        message: first.message.bind(first),
        close: first.close.bind(first),
      };
      const { runtime, port } = await start((_request, upgrade) => upgrade(opening));
      const socket = await runtime.dial(`ws://127.0.0.1:${port}/x`, new Recorder(), {
        maxFrameBytes: MAX_FRAME,
        timeoutMs: DIAL_MS,
      });
      socket.send("a");
      socket.close(4_000, "done");
      await expect.poll(() => later.closes).toEqual([{ code: 4_000, reason: "done" }]);
      expect(later.messages).toEqual(["a"]);
      expect([first.messages, first.closes]).toEqual([[], []]);
    });

    it("agree on a subprotocol", async () => {
      const far = new Recorder();
      const { port } = await start((_request, upgrade) => upgrade(far, { protocol: "p.one" }));
      const client = connect(port, "127.0.0.1");
      tcp.push(client);
      let answer = "";
      client.on("data", (data) => answer += data.toString("latin1"));
      client.write(rawUpgrade(port, "Sec-WebSocket-Protocol: p.zero, p.one\r\n"));
      await expect.poll(() => answer.toLowerCase()).toMatch(/sec-websocket-protocol: p\.one\r\n/);
    });

    it("close once at both ends, with the code and reason given", async () => {
      const { near, far, socket } = await pair();
      socket.close(4_401, "no");
      socket.close(4_402, "again");
      socket.send("late");
      await expect.poll(() => [near.closes.length, far.closes.length]).toEqual([1, 1]);
      expect(near.closes).toEqual([{ code: 4_401, reason: "no" }]);
      expect(far.closes).toEqual([{ code: 4_401, reason: "no" }]);
      far.socket?.close(1_000, "");
      far.socket?.send("later");
      expect(far.messages).toEqual([]);
      expect(far.closes.length).toBe(1);
    });

    it("close when the serving end closes them", async () => {
      const { near, far } = await pair();
      far.socket?.send("last");
      far.socket?.close(4_000, "done");
      await expect.poll(() => [near.closes.length, far.closes.length]).toEqual([1, 1]);
      expect(near.messages).toEqual(["last"]);
      expect(near.closes).toEqual([{ code: 4_000, reason: "done" }]);
    });

    it("close with 1009 on a frame over the limit, either way", async () => {
      const one = await pair();
      one.socket.send(new Uint8Array(MAX_FRAME + 1));
      await expect.poll(() => [one.near.closes.length, one.far.closes.length]).toEqual([1, 1]);
      expect(one.near.closes[0]?.code).toBe(1_009);
      expect(one.far.messages).toEqual([]);
      const two = await pair();
      two.far.socket?.send(new Uint8Array(MAX_FRAME + 1));
      await expect.poll(() => [two.near.closes.length, two.far.closes.length]).toEqual([1, 1]);
      expect(two.far.closes[0]?.code).toBe(1_009);
      expect(two.near.messages).toEqual([]);
    });

    it("close once if the peer dies without a close frame", async () => {
      const far = new Recorder();
      const { port } = await start((_request, upgrade) => upgrade(far));
      const client = connect(port, "127.0.0.1");
      client.on("error", () => {});
      client.write(rawUpgrade(port));
      await expect.poll(() => far.opens).toBe(1);
      client.resetAndDestroy?.() ?? client.destroy();
      await expect.poll(() => far.closes.length).toBe(1);
    });

    it("survive handlers that throw: only that socket closes", async () => {
      const far = new Recorder();
      far.message = () => {
        throw new Error("a bug");
      };
      const { runtime, port } = await start((_request, upgrade) => upgrade(far));
      const near = new Recorder();
      const options = { maxFrameBytes: MAX_FRAME, timeoutMs: DIAL_MS };
      const socket = await runtime.dial(`ws://127.0.0.1:${port}/`, near, options);
      socket.send("x");
      await expect.poll(() => near.closes.map(({ code }) => code)).toEqual([1_011]);
      const again = new Recorder();
      await runtime.dial(`ws://127.0.0.1:${port}/`, again, options);
      expect(again.opens).toBe(1);
    });
  });

  describe("dialling", () => {
    const options = { maxFrameBytes: MAX_FRAME, timeoutMs: DIAL_MS };

    it("rejects if nothing listens on the port", async () => {
      const { runtime, port } = await start(() => new Response(), await freePort());
      await servers.splice(0)[0]?.close();
      const near = new Recorder();
      await expect(runtime.dial(`ws://127.0.0.1:${port}/`, near, options)).rejects.toThrow(
        `can't dial ws://127.0.0.1:${port}/`,
      );
      expect([near.opens, near.closes.length]).toEqual([0, 0]);
    });

    it("rejects if the server refuses the upgrade, and follows no redirect", async () => {
      const far = new Recorder();
      const { runtime, port } = await start((request, upgrade) => {
        const { pathname, origin } = new URL(request.url);
        if (pathname === "/ws") return upgrade(far);
        if (pathname === "/away") return Response.redirect(`${origin}/ws`, 302);
        return new Response("no", { status: 403 });
      });
      for (const path of ["no", "away"]) {
        const near = new Recorder();
        await expect(runtime.dial(`ws://127.0.0.1:${port}/${path}`, near, options)).rejects
          .toThrow("can't dial");
        expect(near.opens).toBe(0);
      }
      expect(far.opens).toBe(0);
    });

    it("rejects after a time limit if the server never answers", async () => {
      const { runtime, port } = await start(() => new Promise<Response>(() => {}));
      const near = new Recorder();
      await expect(
        runtime.dial(`ws://127.0.0.1:${port}/`, near, { maxFrameBytes: MAX_FRAME, timeoutMs: 50 }),
      ).rejects.toThrow("can't dial");
      expect([near.opens, near.closes.length]).toEqual([0, 0]);
    });
  });
}

function plain(data: string | Uint8Array): string | number[] {
  return typeof data === "string" ? data : [...data];
}

/** A WebSocket handshake by hand (RFC 6455 §1.3). */
function rawUpgrade(port: number, extra = ""): string {
  return `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\n` +
    `${WS_HEADERS}\r\n${extra}\r\n`;
}
