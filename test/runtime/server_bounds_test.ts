/**
 * The limits of a node's server, on the runtime that runs this test: each row of docs/limits.md
 * about the server names a title here.
 *
 * Covers adapters/server/listener_probe.ts and adapters/platform/http_server.ts.
 */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { connectionsOf } from "../../adapters/platform/http_server.ts";
import { probeListener } from "../../adapters/server/listener_probe.ts";
import {
  ANSWER_IDLE_MS,
  HEAD_MS,
  KEEP_ALIVE_MS,
  LISTENER_FAILURES,
  LISTENER_LOST,
  MAX_BEGUN_AT_ONCE,
  MAX_HEAD_BYTES,
  MAX_SENT_AHEAD,
} from "../../src/limits.ts";
import { BINARY, frame, upgrade } from "../../fuzz/frames.ts";
import { freePort } from "../support/ports.ts";
import {
  Client,
  closeAll,
  closed,
  PATIENCE_MS,
  runtime,
  serve,
  TIMES,
} from "../support/raw_server.ts";
import { until } from "../support/until.ts";

afterEach(closeAll);

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ok = () => new Response("fine");

describe(`the server's times on ${runtime.name}`, () => {
  it("a connection that sends nothing is closed", async () => {
    const { port } = await serve(ok);
    await closed(new Client(port));
  });

  it("a head that comes a byte at a time is late", async () => {
    const { port } = await serve(ok);
    const client = new Client(port, "GET / HTTP/1.1\r\nX: ");
    const drip = setInterval(() => client.tcp.write("a"), 250);
    await closed(client).finally(() => clearInterval(drip));
    expect(client.answers).toBe(0);
  });

  it("a connection that is idle after an answer is closed, and serves until then", async () => {
    const { port } = await serve(ok);
    const client = new Client(port, GET);
    await until(() => client.answers === 1, "the first answer came");
    client.tcp.write(GET);
    await until(() => client.answers === 2, "the second answer came");
    await closed(client);
  });

  it("a socket on a connection that served a request before is not idle", async () => {
    const handlers = { open() {}, message() {}, close() {} };
    const { port } = await serve(({ headers }, upgrade) =>
      headers.has("upgrade") ? upgrade(handlers) : ok()
    );
    const socket = new Client(port, GET);
    await until(() => socket.answers === 1, "the request was answered");
    socket.tcp.write(upgrade("/"));
    await until(() => socket.text.includes("HTTP/1.1 101"), "the socket is open");
    const idle = new Client(port, GET);
    await closed(idle);
    expect([idle.answers, socket.isClosed]).toEqual([1, false]);
  });

  it("a connection that goes on receiving bytes between requests is not idle", async ({ skip }) => {
    if (runtime.name === "bun") return skip("Bun counts from the last answer");
    const { port } = await serve(ok);
    const client = new Client(port, GET);
    const idle = new Client(port, GET);
    const drip = setInterval(() => idle.isClosed || client.tcp.write("\r\n"), 500);
    await closed(idle).finally(() => clearInterval(drip));
    client.tcp.write(GET);
    await until(() => client.answers === 2, "the second request is answered");
  });

  it("a client that doesn't read its answer is cut off", async () => {
    let isCut = false;
    const { port } = await serve(() =>
      new Response(
        new ReadableStream({
          pull: (answer) => answer.enqueue(new Uint8Array(65_536)),
          cancel: () => void (isCut = true),
        }),
      )
    );
    const client = new Client(port);
    client.tcp.pause();
    client.tcp.write(GET);
    await expect.poll(() => isCut, { timeout: PATIENCE_MS }).toBe(true);
  });

  it("a request whose body doesn't come ends with its answer", async () => {
    const { port } = await serve(() => new Response("no", { status: 401 }));
    for (const head of ["POST / HTTP/1.1", "GET / HTTP/1.1"]) {
      const client = new Client(port, `${head}\r\nHost: a\r\nContent-Length: 100\r\n\r\n[`);
      await closed(client);
      expect(client.text).toContain("401");
    }
  });

  it("an app that takes long keeps its connection", async () => {
    let answer = (_response: Response) => {};
    const { port } = await serve(() => new Promise((resolve) => answer = resolve));
    const client = new Client(port, GET);
    await new Promise((resolve) => setTimeout(resolve, 3 * TIMES.answerMs));
    expect(client.isClosed).toBe(false);
    answer(ok());
    await until(() => client.answers === 1, "the answer came");
  });

  it("the times are those of the documentation", () => {
    const table = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8");
    for (const ms of [HEAD_MS, KEEP_ALIVE_MS, ANSWER_IDLE_MS]) {
      expect(table).toContain(`${ms / 1_000} s`);
    }
    expect(table).toContain(`${MAX_HEAD_BYTES / 1_024} KiB`);
  });
});

describe(`the limits of one connection on ${runtime.name}`, () => {
  it("a head over 16 KiB is refused", async () => {
    const { port } = await serve(ok);
    const client = new Client(
      port,
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(32_768)}\r\n\r\n`,
    );
    await closed(client);
    expect(client.text).toMatch(/^HTTP\/1\.1 431 /);
    const fits = new Client(port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(15_000)}\r\n\r\n`);
    await until(() => fits.answers === 1, "a head that fits is answered");
  });

  it("of pipelined requests one is served at a time, after the former answer was read", async () => {
    const big = "x".repeat(4_194_304);
    let begun = 0;
    const { port } = await serve(() => {
      begun++;
      return new Response(big);
    }, undefined);
    const client = new Client(port);
    client.tcp.pause();
    client.tcp.write(GET.repeat(MAX_SENT_AHEAD));
    await until(() => begun > 0, "the first is served");
    // The sockets' buffers hold far less than three of these answers.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(begun).toBeLessThanOrEqual(4);
  });

  it("pipelined requests are all answered, in their order", async () => {
    const { port } = await serve((request) => new Response(new URL(request.url).pathname));
    const ahead = runtime.name === "bun" ? MAX_BEGUN_AT_ONCE : MAX_SENT_AHEAD;
    const paths = Array.from({ length: ahead }, (_, i) => `/number-${i}-`);
    const client = new Client(
      port,
      paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(""),
    );
    await until(() => client.answers === ahead, "all are answered");
    expect(client.text.match(/\/number-\d+-/g)).toEqual(paths);
  });

  it("pipelined requests on some connections leave the event loop to others", async () => {
    const begun = new Map<number, number>();
    let turn = 0;
    let clock = setImmediate(function tick() {
      turn++;
      clock = setImmediate(tick);
    });
    const { port } = await serve(() => {
      begun.set(turn, (begun.get(turn) ?? 0) + 1);
      return Promise.resolve(ok());
    });
    const busy = [1, 2, 3].map(() => new Client(port, GET.repeat(MAX_SENT_AHEAD)));
    const isOver = (it: Client) => it.isClosed || it.answers === MAX_SENT_AHEAD;
    await until(() => busy.every(isOver), "all are answered, or on Bun closed");
    clearImmediate(clock);
    expect(runtime.name === "bun" || busy.every(({ isClosed }) => !isClosed)).toBe(true);
    expect(Math.max(...begun.values())).toBeLessThanOrEqual(2 * MAX_BEGUN_AT_ONCE);
  });

  it("thousands of pipelined requests close the connection", async () => {
    let begun = 0;
    const { port } = await serve(() => {
      begun++;
      return new Promise(() => {});
    }, undefined);
    await closed(new Client(port, GET.repeat(2_000)));
    expect(begun).toBeLessThanOrEqual(1);
  });

  it("many requests at once on connections of their own are all answered", async () => {
    const { port } = await serve(ok, undefined);
    const all = Array.from({ length: 4 * MAX_BEGUN_AT_ONCE }, () => new Client(port));
    await until(() => all.every(({ tcp }) => !tcp.connecting), "all are connected");
    for (const { tcp } of all) tcp.write(GET);
    await until(() => all.every(({ answers }) => answers === 1), "all are answered");
  });
});

describe(`the listener on ${runtime.name}`, () => {
  it("listens again on its port, and sockets and requests that are open go on", async () => {
    let answer = (_response: Response) => {};
    const messages: number[] = [];
    const server = await serve((request, accept) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/slow") return new Promise((resolve) => answer = resolve);
      if (pathname !== "/socket") return ok();
      return accept({
        open() {},
        message: (_socket, data) => void messages.push(data.length),
        close() {},
      });
    }, undefined);
    const { port } = server;
    const slow = new Client(port, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    const socket = new Client(port, upgrade("/socket"));
    await until(() => socket.text.includes("\r\n\r\n"), "the socket stands");
    for (let times = 1; times <= 2; times++) {
      await server.relisten();
      socket.tcp.write(frame(new Uint8Array(10), { opcode: BINARY }));
      await until(() => messages.length === times, "the open socket is heard");
      const after = new Client(port, GET);
      await until(() => after.answers === 1, "a further connection is served");
    }
    answer(ok());
    await until(() => slow.answers === 1, "the open request is answered");
  });

  it("a listener that answers is left alone", async () => {
    const server = await serve(ok, undefined);
    let probes = 0;
    let renewals = 0;
    const counted = await serve(() => (probes++, ok()), undefined);
    const events: string[] = [];
    const probe = probeListener({
      server: { port: counted.port, relisten: async () => void renewals++ },
      host: "127.0.0.1",
      onEvent: ({ event }) => void events.push(event),
      onLost: (why) => void events.push(why),
      times: { everyMs: 50, soonMs: 10, timeoutMs: 5_000 },
    });
    await until(() => probes > 2 * LISTENER_FAILURES, "it was probed some times");
    probe.stop();
    expect([renewals, events, server.port > 0]).toEqual([0, [], true]);
  });

  /** Watches a port; `lost` resolves once the watch ends without success. */
  function watch(port: number) {
    const events: string[] = [];
    let renewals = 0;
    const lost = new Promise<string>((resolve) =>
      probeListener({
        server: { port, relisten: async () => void renewals++ },
        host: "127.0.0.1",
        onEvent: ({ event }) => void events.push(event),
        onLost: resolve,
        times: { everyMs: 50, soonMs: 10, timeoutMs: 5_000 },
      })
    );
    return { events, lost, renewals: () => renewals };
  }

  it("a listener that doesn't answer is opened again, and given up after a while", async () => {
    let probes = 0;
    const server = await serve(() => (probes++, ok()), undefined);
    const { events, lost, renewals } = watch(server.port);
    await until(() => probes > 0, "it was reached");
    await server.close();
    expect(await lost).toContain("accepts no connections");
    expect(renewals()).toBe(LISTENER_LOST / LISTENER_FAILURES - 1);
    expect(new Set(events)).toEqual(new Set(["restarting the listener"]));
  });

  it("a listener that was never reached, for example behind a firewall, isn't given up", async () => {
    const { events, lost } = watch(await freePort());
    const given = { up: false };
    void lost.then(() => given.up = true);
    const unwatched = "the node can't reach its own listener, so it stops probing it";
    await until(() => events.includes(unwatched) || given.up, "it comes to an end");
    expect(given.up).toBe(false);
  });

  it("a server that is closed while it opens its listener again stays closed", async () => {
    const server = await serve(ok, undefined);
    const anew = server.relisten().catch(() => {});
    await Promise.all([anew, server.close()]);
    const client = new Client(server.port, GET);
    await closed(client);
    expect(client.answers).toBe(0);
  });
});

describe("descriptors", () => {
  it.each([
    ["1048576", 943_718],
    ["1024", 921],
    ["256", 192],
    ["64", 32],
    ["unlimited", Infinity],
  ])("of %s, clients get %s", (limit, clients) => {
    expect(connectionsOf(`Max open files            ${limit}          4096       files`))
      .toBe(clients);
  });
});
