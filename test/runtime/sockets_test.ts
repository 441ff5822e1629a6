/** Client sockets over real WebSockets of the running runtime, raw ones and the client's. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dial } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { connect, type SocketClose, type SocketEvent } from "../../adapters/client/client.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { type App, type Connection, defineApp, Resource } from "../../mod.ts";
import { MAX_BODY_BYTES } from "../../src/limits.ts";
import { unpack } from "../../src/model/value.ts";
import { until } from "../support/until.ts";

/** Calls of `spin` that have begun. */
let spun = 0;

class Room extends Resource {
  override onMessage(connection: Connection, data: unknown): void {
    if (data === "bye") connection.close("as you wish");
    else this.broadcast({ received: data });
  }

  say(data: unknown): void {
    this.broadcast(data);
  }

  flood(count: number, size: number): void {
    for (let i = 0; i < count; i++) this.broadcast("x".repeat(size));
  }

  /** Occupies a processor for this long. */
  spin(ms: number): void {
    spun++;
    const end = performance.now() + ms;
    while (performance.now() < end);
  }

  present(): number {
    return [...this.connections].length;
  }
}

const app: App<{ rooms: typeof Room }> = defineApp({ resources: { rooms: Room } });
const TOKEN = "a-token(of,100%)";

const nodes: ServedNode<typeof app>[] = [];
const sockets: { close(): void }[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  await Promise.all(nodes.splice(0).map((node) => node.close({ drainMs: 500 })));
  // Only once all nodes have ended: a node creates a missing registry file again.
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

async function open(options: ServeOptions = {}): Promise<ServedNode<typeof app>> {
  const node = await serve(app, { registry: "memory:", port: 0, onEvent: () => {}, ...options });
  nodes.push(node);
  return node;
}

/** A plain WebSocket, and its frames. */
function raw(url: string, path: string, protocols: string[] = []) {
  const socket = new WebSocket(url.replace(/^http/, "ws") + path, protocols);
  socket.binaryType = "arraybuffer";
  sockets.push(socket);
  // deno-lint-ignore no-explicit-any
  const frames: any[] = [];
  const ended: { value: SocketClose | null } = { value: null };
  socket.onmessage = ({ data }) =>
    frames.push(typeof data === "string" ? JSON.parse(data) : unpack(new Uint8Array(data)));
  socket.onclose = ({ code, reason }) => (ended.value = { code, reason });
  return { socket, frames, ended };
}

/** The answer to an upgrade: its head, and if it is refused its body as JSON. */
function upgrade(url: string, path: string, headers: string[] = []): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const lines = [
      `GET ${path} HTTP/1.1`,
      "host: localhost",
      "connection: Upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    ];
    const socket = dial(
      Number(new URL(url).port),
      "127.0.0.1",
      () => socket.write(`${lines.join("\r\n")}\r\n\r\n`),
    );
    socket.on("data", (data) => {
      answer += data;
      if (/^HTTP\/1.1 101 [^]*\r\n\r\n|\r\n\r\n[^]*\}/.test(answer)) socket.destroy();
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

test("a JSON socket gets a hello, events and replies as documented", async () => {
  const node = await open();
  const { socket, frames } = raw(node.url, "/v1/connect/rooms/a%2Fb");
  await until(() => frames.length === 1);
  const { epoch } = await node.lookup("rooms", "a/b");
  expect(frames[0]).toEqual({
    t: "hello",
    connection: expect.any(String),
    epoch,
    seq: 0,
    gap: false,
    resume: expect.any(String),
  });
  expect(socket.protocol).toBe("");
  socket.send(JSON.stringify({ t: "message", data: { text: "hi é" } }));
  socket.send(JSON.stringify({ t: "call", id: 7, method: "present", args: [] }));
  socket.send(JSON.stringify({ t: "call", id: "8", method: "absent", args: [] }));
  await until(() => frames.length === 4);
  expect(frames.filter(({ t }) => t === "event")).toEqual([
    { t: "event", seq: 1, epoch, data: { received: { text: "hi é" } } },
  ]);
  expect(frames.find(({ id }) => id === 7)).toEqual({ t: "reply", id: 7, result: 1 });
  expect(frames.find(({ id }) => id === "8")).toMatchObject({
    t: "reply",
    error: { code: "not_found", retryable: false, maybeExecuted: false },
  });
});

test("a socket uses MessagePack if its subprotocol asks for it, and resumes by `after`", async () => {
  const node = await open();
  const room = node.resource("rooms", "m");
  const data = { bytes: new Uint8Array([1, 2]), at: new Date(5), set: new Set([1]) };
  await room.say(data);
  const { socket, frames } = raw(node.url, "/v1/connect/rooms/m?after=0", ["atlas.msgpack"]);
  await until(() => frames.length === 2);
  expect(socket.protocol).toBe("atlas.msgpack");
  expect(frames[0]).toMatchObject({ t: "hello", seq: 1, gap: false });
  expect(frames[1]).toMatchObject({ t: "event", seq: 1, data });
});

test("an invalid request gets an HTTP error before the upgrade", async () => {
  const node = await open();
  for (
    const [path, status] of [
      ["/v1/connect/ro%20oms/x", 400],
      ["/v1/connect/rooms/", 400],
      ["/v1/connect/rooms/x?after=-1", 400],
      ["/v1/connect/rooms/x?connection=me", 400],
      ["/v1/connect/rooms/x/y", 404],
      ["/v1/connect/attics/x", 404],
    ] as const
  ) {
    const answer = await upgrade(node.url, path);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  }
  const why = await fetch(`${node.url}/v1/connect/attics/x`);
  expect(await why.json()).toMatchObject({ error: { code: "not_found" } });
  const plain = await fetch(`${node.url}/v1/connect/rooms/x`);
  expect(plain.status).toBe(400);
  expect(await plain.json()).toMatchObject({ error: { message: /WebSocket/ } });
});

test("an unknown subprotocol is refused, unless a known one is offered, too", async () => {
  const node = await open();
  const offer = (...protocols: string[]) =>
    upgrade(node.url, "/v1/connect/rooms/x", [`sec-websocket-protocol: ${protocols.join(", ")}`]);
  for (const protocols of [["bogus"], ["bogus", "graphql-ws"], ["atlas.msgpackk"]]) {
    const refused = await offer(...protocols);
    expect(refused).toMatch(/^HTTP\/1.1 400 /);
    expect(refused).toContain(protocols[0]);
    expect(refused).toContain(
      "atlas.json, atlas.msgpack, atlas.token.<token> or atlas.resume.<secret>, or none for JSON",
    );
    expect(refused.toLowerCase()).not.toContain("sec-websocket-protocol:");
  }
  for (const known of ["atlas.json", "atlas.msgpack", "atlas.token.any"]) {
    const accepted = (await offer("bogus", known)).toLowerCase();
    expect(accepted).toMatch(/^http\/1.1 101 /);
    expect(accepted).toContain(`sec-websocket-protocol: ${known}\r\n`);
  }
  expect((await upgrade(node.url, "/v1/connect/rooms/x")).toLowerCase())
    .not.toContain("sec-websocket-protocol:");
});

test("the token may be a header or a subprotocol", async () => {
  const node = await open({ token: TOKEN });
  const path = "/v1/connect/rooms/x";
  expect(await upgrade(node.url, path)).toMatch(/^HTTP\/1.1 401 /);
  const bearer = (token: string) => [`authorization: Bearer ${token}`];
  expect(await upgrade(node.url, path, bearer("wrong"))).toMatch(/^HTTP\/1.1 401 /);
  expect(await upgrade(node.url, path, bearer(TOKEN))).toMatch(/^HTTP\/1.1 101 /);
  const encoded = encodeURIComponent(TOKEN).replaceAll("(", "%28").replaceAll(")", "%29");
  const { frames, socket } = raw(node.url, path, ["atlas.json", `atlas.token.${encoded}`]);
  await until(() => frames.length === 1);
  expect(socket.protocol).toBe("atlas.json");
  const atlas = connect<typeof app>(node.url, { token: TOKEN });
  const room = atlas.connect("rooms", "x");
  sockets.push(room);
  // The first socket has closed, which its resource learns a little later.
  await until(async () => await room.call("present") === 2);
  const refused = connect<typeof app>(node.url, { token: "wrong" }).connect("rooms", "x");
  expect(await refused.closed).toMatchObject({ code: 4401 });
});

test("a frame that is too large, or invalid, closes only its socket", async () => {
  const node = await open();
  const [large, none, other] = [1, 2, 3].map(() => raw(node.url, "/v1/connect/rooms/x")) as [
    ReturnType<typeof raw>,
    ReturnType<typeof raw>,
    ReturnType<typeof raw>,
  ];
  await until(() => [large, none, other].every(({ frames }) => frames.length === 1));
  large.socket.send("x".repeat(MAX_BODY_BYTES + 1));
  none.socket.send("{");
  await until(() => large.ended.value && none.ended.value);
  expect(large.ended.value?.code).toBe(1009);
  expect(none.ended.value?.code).toBe(4400);
  await node.resource("rooms", "x").say("still here");
  await until(() => other.frames.length === 2);
  await until(() => node.stats().sockets === 1);
});

test("a client that doesn't read is disconnected, and others get everything", async () => {
  const node = await open();
  const quick = raw(node.url, "/v1/connect/rooms/x");
  // A client that sends the HTTP upgrade itself, and then reads nothing.
  const slow = dial(Number(new URL(node.url).port), "127.0.0.1");
  sockets.push({ close: () => slow.destroy() });
  slow.on("error", () => {});
  slow.pause();
  slow.write(
    "GET /v1/connect/rooms/x HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
      "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  await until(() => node.stats().sockets === 2 && quick.frames.length === 1);
  await until(async () => await node.resource("rooms", "x").present() === 2);
  let published = 0;
  while (node.stats().cutSockets === 0) {
    await node.resource("rooms", "x").flood(4, 500_000);
    published += 4;
    // Only as fast as the quick client reads.
    await until(() => quick.frames.length === published + 1);
  }
  expect(quick.frames.slice(1).map(({ seq }) => seq)).toEqual(
    Array.from({ length: published }, (_, i) => i + 1),
  );
  expect(quick.ended.value).toBeNull();
  expect(await (await fetch(`${node.url}/metrics`)).text()).toMatch(/atlas_sockets_cut_total 1/);
});

test("calls that one socket sends at once leave the event loop to others", async () => {
  const node = await open();
  const { socket, frames, ended } = raw(node.url, "/v1/connect/rooms/busy");
  await until(() => frames.length === 1);
  spun = 0;
  const calls = 600;
  for (let id = 0; id < calls; id++) {
    socket.send(JSON.stringify({ t: "call", id, method: "spin", args: [3] }));
  }
  await until(() => spun > 0);
  const { status } = await fetch(`${node.url}/healthz`);
  expect([status, ended.value]).toEqual([200, null]);
  // Otherwise Bun would run all of them first; Node and Deno refuse more than 64 at once.
  expect(spun).toBeLessThan(calls / 2);
  await until(() => frames.filter(({ t }) => t === "reply").length === calls);
});

test("the client's socket gets events, sends messages and calls, and closes", async () => {
  const one = await open();
  const atlas = connect<typeof app>(one.url);
  const received: SocketEvent[] = [];
  const hellos: boolean[] = [];
  const room = atlas.connect("rooms", "x", {
    onEvent: (event) => received.push(event),
    onHello: ({ gap }) => hellos.push(gap),
  });
  sockets.push(room);
  room.send("kept until it is connected");
  await until(() => received.length === 1);
  expect(received[0]).toEqual({
    seq: 1,
    epoch: expect.any(Number),
    data: { received: "kept until it is connected" },
    gap: false,
  });
  const events = room[Symbol.asyncIterator]();
  const next = events.next();
  await one.resource("rooms", "x").say("again");
  expect((await next).value).toMatchObject({ seq: 2, data: "again" });
  expect(room.seq).toBe(2);
  room.send("bye");
  expect(await room.closed).toEqual({ code: 1000, reason: "as you wish" });
  expect((await events.next()).done).toBe(true);
  await expect(room.call("present")).rejects.toMatchObject({ code: "bad_request" });
  expect(hellos).toEqual([false]);
});

test("the client's socket goes on at another node without a gap when its own node drains", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atlas-sockets-"));
  folders.push(folder);
  const registry = `file:${join(folder, "registry.db")}`;
  const [one, two] = [await open({ registry, node: "one" }), await open({ registry, node: "two" })];
  await one.resource("rooms", "x").say("first");
  const received: SocketEvent[] = [];
  const room = connect<typeof app>([one.url, two.url]).connect("rooms", "x", {
    after: 0,
    onEvent: (event) => received.push(event),
  });
  sockets.push(room);
  await until(() => received.length === 1);
  const former = room.connection;
  await one.drain();
  await two.resource("rooms", "x").say("second");
  await until(() => received.length === 2);
  room.send("third");
  await until(() => received.length === 3);
  expect(received.map(({ seq, data, gap }) => [seq, data, gap])).toEqual([
    [1, "first", false],
    [2, "second", false],
    [3, { received: "third" }, false],
  ]);
  expect(room.connection).not.toBe(former);
});

test("a draining node asks its sockets to reconnect elsewhere", async () => {
  const node = await open();
  const { frames, ended } = raw(node.url, "/v1/connect/rooms/x");
  await until(() => frames.length === 1);
  await node.drain();
  await until(() => ended.value);
  expect(ended.value).toEqual({ code: 1012, reason: "the node is draining: connect to another" });
  expect(await upgrade(node.url, "/v1/connect/rooms/x")).toMatch(/^HTTP\/1.1 503 /);
});
