/** Messages that clients send right before they close, and messages that a draining node still reads. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { type App, type Connection, defineApp, Resource } from "../../mod.ts";
import { until } from "../support/until.ts";

/** Counts its messages, and those that arrive after the end of their connection. */
class Room extends Resource {
  override async onConnect({ id }: Connection): Promise<void> {
    await this.storage.put(`here:${id}`, true);
  }

  override async onMessage({ id }: Connection): Promise<void> {
    const what = await this.storage.get(`here:${id}`) ? "received" : "late";
    await this.storage.put(what, ((await this.storage.get<number>(what)) ?? 0) + 1);
  }

  override async onDisconnect({ id }: Connection): Promise<void> {
    await this.storage.delete(`here:${id}`);
    await this.storage.put("ends", ((await this.storage.get<number>("ends")) ?? 0) + 1);
  }

  async counts(): Promise<{ received: number; late: number; ends: number }> {
    const [received = 0, late = 0, ends = 0] = await Promise.all(
      ["received", "late", "ends"].map((name) => this.storage.get<number>(name)),
    );
    return { received, late, ends };
  }
}

const app: App<{ rooms: typeof Room }> = defineApp({ resources: { rooms: Room } });

const nodes: ServedNode<typeof app>[] = [];
const folder = mkdtempSync(join(tmpdir(), "atlas-close-"));
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close({ drainMs: 500 })));
  rmSync(folder, { recursive: true, force: true });
});

async function open(options: ServeOptions = {}): Promise<ServedNode<typeof app>> {
  const node = await serve(app, { registry: "memory:", port: 0, onEvent: () => {}, ...options });
  nodes.push(node);
  return node;
}

/** Sends this many messages once it may, and closes at once. */
function sendAndClose(url: string, when: "open" | "hello", count: number, size: number) {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/connect/rooms/x`);
  const go = (): void => {
    socket.onmessage = null;
    for (let n = 0; n < count; n++) {
      socket.send(JSON.stringify({ t: "message", data: "x".repeat(size) }));
    }
    socket.close();
  };
  if (when === "open") socket.onopen = go;
  else socket.onmessage = go;
  return new Promise<void>((resolve) => (socket.onclose = () => resolve()));
}

test.each(
  [
    ["few after hello", "hello", 20, 5],
    ["large ones after hello", "hello", 20, 50_000],
    ["one before hello", "open", 1, 5],
    ["many before hello", "open", 100, 5],
  ] as const,
)("all messages before a close are delivered before the socket's end: %s", async (...how) => {
  const node = await open();
  const [, when, count, size] = how;
  const sockets = 10;
  for (let i = 0; i < sockets; i++) await sendAndClose(node.url, when, count, size);
  const counts = () => node.resource("rooms", "x").counts();
  await until(async () => (await counts()).ends === sockets, "onDisconnect has run for all");
  expect(await counts()).toEqual({ received: sockets * count, late: 0, ends: sockets });
});

test("a client's socket that sends messages and closes at once loses none", async () => {
  const node = await open();
  const sockets = 10;
  for (let i = 0; i < sockets; i++) {
    const socket = connect<typeof app>(node.url).connect("rooms", "x");
    for (let n = 0; n < 20; n++) socket.send({ n });
    socket.close();
    await socket.closed;
  }
  const counts = () => node.resource("rooms", "x").counts();
  await until(async () => (await counts()).ends === sockets, "onDisconnect has run for all");
  expect(await counts()).toEqual({ received: 20 * sockets, late: 0, ends: sockets });
});

test("a client that sends all the time loses nothing while its node drains", async () => {
  const registry = `file:${join(folder, "registry.db")}`;
  const [first, owner] = [await open({ registry, node: "a" }), await open({ registry, node: "b" })];
  await owner.resource("rooms", "x").counts();
  const hellos: string[] = [];
  const socket = connect<typeof app>([first.url, owner.url]).connect("rooms", "x", {
    onHello: ({ connection }) => hellos.push(connection),
  });
  await until(() => hellos.length === 1, "it is connected");
  let sent = 0;
  const errors: unknown[] = [];
  const sending = setInterval(() => {
    for (let i = 0; i < 5; i++, sent++) socket.send(sent);
    socket.call("counts").catch((error: unknown) => errors.push(error));
  }, 25);
  await until(() => sent > 20, "it has sent some");
  await first.close();
  await until(() => hellos.length === 2, "it has gone on");
  clearInterval(sending);
  const counts = () => owner.resource("rooms", "x").counts();
  await until(async () => (await counts()).received >= sent, "all messages were received");
  expect(await counts()).toEqual({ received: sent, late: 0, ends: 1 });
  socket.close();
  expect(errors).toEqual([]);
});

test("a client that was asked to leave is read until it closes", async () => {
  const node = await open();
  const socket = new WebSocket(`${node.url.replace(/^http/, "ws")}/v1/connect/rooms/x`);
  const frames: { t: string }[] = [];
  socket.onmessage = ({ data }) => frames.push(JSON.parse(data as string));
  const closed = new Promise((resolve) => (socket.onclose = ({ code }) => resolve(code)));
  await until(() => frames.length === 1, "it is connected");
  const drained = node.drain();
  await until(() => frames.at(-1)?.t === "leave", "it is asked to leave");
  for (let n = 0; n < 20; n++) socket.send(JSON.stringify({ t: "message", data: n }));
  const received = async () => (await node.resource("rooms", "x").counts()).received;
  await until(async () => await received() === 20, "all messages were received");
  socket.close();
  await drained;
  expect(await closed).not.toBe(1012);
});
