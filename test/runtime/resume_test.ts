/**
 * Resuming a client's connection: its secret, and the internal methods that clients can't call
 * instead.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dialTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { type App, type Connection, defineApp, Resource } from "../../mod.ts";
import type { Server, Socket } from "../../src/ports/runtime.ts";
import { pack } from "../../src/model/value.ts";
import { until } from "../support/until.ts";

class Room extends Resource {
  override onMessage(connection: Connection, data: unknown): void {
    connection.send({ only: data });
  }
}
const app: App<{ rooms: typeof Room }> = defineApp({ resources: { rooms: Room } });

const folder = mkdtempSync(join(tmpdir(), "atlas-resume-"));
const registry = `file:${join(folder, "registry.db")}`;
const nodes: ServedNode<typeof app>[] = [];
const servers: Server[] = [];
const sockets: { close(): void }[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  await Promise.all(nodes.splice(0).map((node) => node.close({ drainMs: 500 })));
  await Promise.all(servers.splice(0).map((server) => server.close()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function open(node: string, options: ServeOptions = {}): Promise<ServedNode<typeof app>> {
  const served = await serve(app, { registry, node, port: 0, onEvent: () => {}, ...options });
  nodes.push(served);
  return served;
}

// deno-lint-ignore no-explicit-any
type Frames = any[];

/** A WebSocket that has got its hello, and all its frames. */
async function joined(url: string, path: string, protocols: string[] = []) {
  const socket = new WebSocket(url.replace(/^http/, "ws") + path, protocols);
  sockets.push(socket);
  const frames: Frames = [];
  socket.onmessage = ({ data }) => frames.push(JSON.parse(data));
  await until(() => frames.length > 0, "hello has arrived");
  return { socket, frames, hello: frames[0] };
}

/** The head and the body of the answer to a request for a socket. */
function upgrade(url: string, path: string, protocols: string | null): Promise<string> {
  const { host, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = dialTcp(Number(port), "127.0.0.1", () =>
      socket.write([
        `GET ${path} HTTP/1.1`,
        `host: ${host}`,
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ...protocols === null ? [] : [`sec-websocket-protocol: ${protocols}`],
        "",
        "",
      ].join("\r\n")));
    socket.on("error", reject);
    socket.setTimeout(5_000, () => socket.destroy());
    socket.on("data", (data) => {
      answer += data;
      if (/^HTTP\/1.1 101 [^]*\r\n\r\n|\r\n\r\n[^]*\}\}$/.test(answer)) socket.destroy();
    });
    socket.on("close", () => resolve(answer));
  });
}

const SOCKET = "/v1/connect/rooms/x";

test("events for one connection are replayed to the client with its secret, also at another node", async () => {
  const one = await open("one");
  // The owner stays; the node with the socket closes.
  await joined(one.url, SOCKET);
  const two = await open("two");
  const own = await joined(two.url, SOCKET);
  own.socket.send(JSON.stringify({ t: "message", data: "hi" }));
  await until(() => own.frames.length === 2, "the event came");
  const { connection, resume } = own.hello;
  expect(resume).toMatch(/^[\w-]{43}$/);
  expect(connection).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(own.frames[1]).toMatchObject({ t: "event", seq: 1, data: { only: "hi" } });
  own.socket.close();
  await two.close({ drainMs: 500 });

  const again = `${SOCKET}?after=0&connection=${connection}`;
  const back = await joined(one.url, again, ["atlas.json", `atlas.resume.${resume}`]);
  expect(back.socket.protocol).toBe("atlas.json");
  await until(() => back.frames.length === 2, "the event came again");
  expect(back.frames[1]).toMatchObject({ t: "event", seq: 1, data: { only: "hi" } });
  expect(back.hello.resume).not.toBe(resume);
  // The secret may also be the only subprotocol: then it is selected.
  const alone = await joined(one.url, again, [`atlas.resume.${resume}`]);
  expect(alone.socket.protocol).toBe(`atlas.resume.${resume}`);
  // A client that resumes by number alone gets no event that was for the one connection.
  const other = await joined(one.url, `${SOCKET}?after=0`);
  await until(() => other.frames.length === 2, "it got a skip frame");
  expect(other.frames[1]).toEqual({ t: "skip", seq: 1 });
});

test("a connection can't be resumed without its secret", async () => {
  const node = await open("three");
  const [victim, other] = [await joined(node.url, SOCKET), await joined(node.url, SOCKET)];
  const { connection, resume } = victim.hello;
  const path = `${SOCKET}?after=0&connection=${connection}`;
  for (
    const protocols of [
      null,
      "atlas.json",
      "atlas.json, atlas.resume.",
      `atlas.resume.${other.hello.resume}`,
      `atlas.resume.${connection}`,
      `atlas.resume.${resume.slice(1)}`,
      `atlas.token.${resume}`,
    ]
  ) {
    const refused = await upgrade(node.url, path, protocols);
    expect(refused).toMatch(/^HTTP\/1.1 403 /);
    expect(refused).toContain('"code":"forbidden"');
    expect(refused).toContain("atlas.resume.");
    expect(refused).not.toContain(resume);
  }
  const plain = await fetch(node.url + path);
  expect(plain.status).toBe(403);
  await plain.body?.cancel();
  for (const id of ["me", connection.toUpperCase(), `${connection}0`, "-".repeat(36), ""]) {
    const bad = `${SOCKET}?connection=${id}`;
    expect(await upgrade(node.url, bad, `atlas.resume.${resume}`)).toMatch(/^HTTP\/1.1 400 /);
  }
  expect(await upgrade(node.url, path, `atlas.json, atlas.resume.${resume}`))
    .toMatch(/^HTTP\/1.1 101 /);
});

test("the secret is not accepted as a token, nor the token as a secret", async () => {
  const node = await open("four", { token: "t0ken" });
  const own = await joined(node.url, SOCKET, ["atlas.json", "atlas.token.t0ken"]);
  const { connection, resume } = own.hello;
  const path = `${SOCKET}?connection=${connection}`;
  expect(await upgrade(node.url, path, `atlas.resume.${resume}`)).toMatch(/^HTTP\/1.1 401 /);
  expect(await upgrade(node.url, path, "atlas.token.t0ken")).toMatch(/^HTTP\/1.1 403 /);
  expect(await upgrade(node.url, path, `atlas.token.t0ken, atlas.resume.${resume}`))
    .toMatch(/^HTTP\/1.1 101 /);
});

test.each([
  "atlas.json,atlas.token.t0ken",
  "atlas.json ,\tatlas.token.t0ken",
])(
  "subprotocols are separated by commas, with any white space: %j",
  async (protocols) => {
    const node = await open("five", { token: "t0ken" });
    const accepted = (await upgrade(node.url, SOCKET, protocols)).toLowerCase();
    expect(accepted).toMatch(/^http\/1.1 101 /);
    expect(accepted).toContain("sec-websocket-protocol: atlas.json\r\n");
  },
);

test("clients can't call internal methods", async () => {
  const node = await open("six");
  const { socket, frames, hello } = await joined(node.url, SOCKET);
  const subscription = crypto.randomUUID();
  const asked: [string, unknown[]][] = [
    ["$connect", [subscription, node.incarnation, true, [[hello.connection, 0, null, false]]]],
    ["$events", [subscription, node.incarnation, 0, 0]],
    ["$replay", [0, 1, [hello.connection]]],
    ["$message", [subscription, hello.connection, ["hi"]]],
    ["$leave", [subscription, [hello.connection]]],
    ["$move", ["elsewhere"]],
    ["$take", []],
    ["$won", ["elsewhere"]],
    ["$prove", []],
  ];
  for (const [i, [method, args]] of asked.entries()) {
    for (const name of [method, encodeURIComponent(method)]) {
      const answer = await fetch(`${node.url}/v1/resources/rooms/x/${name}`, {
        method: "POST",
        body: JSON.stringify(args),
      });
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ error: { code: "not_found" } });
    }
    socket.send(JSON.stringify({ t: "call", id: i, method, args }));
    await until(() => frames.some(({ id }) => id === i), `${method} was answered`);
    expect(frames.find(({ id }) => id === i)).toMatchObject({ error: { code: "not_found" } });
  }
  expect(frames.filter(({ t }) => t !== "reply")).toHaveLength(1);
});

test("the client sends the last secret that it got, together with its token", async () => {
  const asked: { query: string; protocols: string }[] = [];
  const runtime = await detectRuntime();
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: 65_536,
    fetch: ({ url, headers }, upgrade) => {
      const n = asked.push({
        query: new URL(url).search,
        protocols: headers.get("sec-websocket-protocol")?.replaceAll(" ", "") ?? "",
      });
      return upgrade({
        open: (socket: Socket) => {
          // The third hello has no secret: nothing can be resumed then.
          const secret = n === 3 ? {} : { resume: `secret-${n}` };
          const hello = { t: "hello", connection: `id-${n}`, epoch: 1, seq: 7, gap: false };
          socket.send(pack({ ...hello, ...secret }));
          if (n < 4) socket.close(1012, "come again");
        },
        message: () => {},
        close: () => {},
      }, { protocol: "atlas.msgpack" });
    },
  });
  servers.push(server);
  const room = connect(`http://127.0.0.1:${server.port}`, { token: "t" }).connect("rooms", "x");
  sockets.push(room);
  await until(() => room.connection === "id-4", "it got four hellos");
  expect(asked).toEqual([
    { query: "", protocols: "atlas.msgpack,atlas.token.t" },
    {
      query: "?after=7&connection=id-1",
      protocols: "atlas.msgpack,atlas.resume.secret-1,atlas.token.t",
    },
    {
      query: "?after=7&connection=id-2",
      protocols: "atlas.msgpack,atlas.resume.secret-2,atlas.token.t",
    },
    { query: "?after=7", protocols: "atlas.msgpack,atlas.token.t" },
  ]);
});

test("a program that opens sockets itself passes a connection's id and secret, or gets a random id", async () => {
  const node = await open("seven");
  const hellos: Frames = [];
  const socket: Socket = {
    send: (data) => void hellos.push(JSON.parse(data as string)),
    buffered: () => 0,
    close: () => {},
  };
  const identity = { id: crypto.randomUUID(), resume: "known to its client" };
  node.accept("rooms", "y", { codec: jsonCodec, identity }).open(socket);
  node.accept("rooms", "y", { codec: jsonCodec }).open(socket);
  await until(() => hellos.length === 2, "both were joined");
  expect(hellos).toContainEqual(
    expect.objectContaining({ connection: identity.id, resume: identity.resume }),
  );
  expect(hellos.filter(({ resume }) => resume === undefined)).toHaveLength(1);
  expect(() => node.accept("rooms", "y", { codec: jsonCodec, identity: { id: "me", resume: "x" } }))
    .toThrow(/connection must be/);
});
