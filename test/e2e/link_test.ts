/**
 * Peers without access at the path of node links: no secret, a wrong one, another node's name,
 * garbage, and garbage after a valid handshake. None of them gets or keeps a link, and the node
 * goes on serving.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import {
  checkWelcome,
  encodeHello,
  encodeProof,
  importKeys,
  MAX_HANDSHAKE_BYTES,
  sign,
} from "../../adapters/transport/link_handshake.ts";
import { frameOf } from "../../adapters/transport/link_frames.ts";
import { linkAddress, websocketTransport } from "../../adapters/transport/websocket.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import type { Body } from "../../src/model/body.ts";
import { pack } from "../../src/model/value.ts";
import type { LinkIdentity, Peer } from "../../src/ports/transport.ts";
import { binaryFrame, messagesIn } from "../support/link_messages.ts";
import { ask, call } from "./calls.ts";
import { endAll, type NodeProcess, type RuntimeName, startNode } from "./process.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const WRONG = "fedcba9876543210fedcba9876543210";
const NOTHING: Uint8Array = new Uint8Array(0);
const SELF: LinkIdentity = {
  region: "local",
  node: "stranger",
  incarnation: "6f8c2d1e-0b7a-4c3f-9d2e-5a1b4c7d8e9f",
};

/** A socket to a node's link path, with the frames that arrived. */
interface LinkSocket {
  readonly socket: WebSocket;
  /** The next frame, or null once the socket is closed. */
  next(): Promise<string | Uint8Array | null>;
  /** The close code, once it is closed. */
  readonly closed: Promise<number>;
}

async function open(node: NodeProcess): Promise<LinkSocket> {
  const socket = new WebSocket(`${node.url.replace(/^http/, "ws")}/atlas/link`);
  const frames: (string | Uint8Array)[] = [];
  let wake = () => {};
  let over = false;
  socket.on("message", (data, isBinary) => {
    frames.push(isBinary ? new Uint8Array(data as Buffer) : String(data));
    wake();
  });
  const closed = new Promise<number>((resolve) =>
    socket.on("close", (code) => {
      over = true;
      wake();
      resolve(code);
    })
  );
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  // A node that closes while it is being written to looks like a broken socket.
  socket.on("error", () => {});
  return {
    socket,
    closed,
    async next() {
      while (frames.length === 0 && !over) await new Promise<void>((resolve) => wake = resolve);
      return frames.shift() ?? null;
    },
  };
}

/** Completes the handshake as a peer with the secret would. */
async function authenticated(node: NodeProcess): Promise<LinkSocket> {
  const line = await open(node);
  const hello = encodeHello(SELF, node.line, linkAddress(node.url));
  line.socket.send(hello);
  const challenge = await line.next() as Uint8Array;
  const signatures = await sign(await importKeys([SECRET]), hello, challenge);
  line.socket.send(encodeProof(signatures));
  expect(checkWelcome(await line.next() as Uint8Array, signatures)).toBe(true);
  return line;
}

/** 10,000 nested arrays, in MessagePack. */
function nestedArrays(): Uint8Array {
  const bytes = new Uint8Array(10_001).fill(0x91);
  bytes[10_000] = 0xc0;
  return bytes;
}

/** A frame that asks for a method of a resource. */
function request(key: string, method: string, body: Body, via?: string): Uint8Array {
  return binaryFrame({
    kind: "request",
    id: 1,
    key,
    method,
    timeoutMs: 5_000,
    epoch: 0,
    idempotencyKey: null,
    chain: [],
    callPath: via === undefined ? null : { via: [via], region: null, trace: null },
    relay: via !== undefined,
    body,
  });
}

/** The codes of failures, or kinds of other messages, in a frame. */
function answersOf(frame: string | Uint8Array | null): string[] {
  return messagesIn(frame as string | Uint8Array).map((message) =>
    message.kind === "failure" ? message.error[0] : message.kind
  );
}

describe.each<RuntimeName>(["bun", "deno", "node"])("links to a node on %s", (runtime) => {
  let node: NodeProcess;
  beforeAll(async () => {
    node = await startNode({
      runtime,
      env: { ATLAS_REGISTRY_URL: "memory:", ATLAS_SECRET: SECRET },
    });
  });
  afterEach(async () => {
    expect((await ask(node.url, "/readyz")).status).toBe(200);
    expect((await call(node.url, "channels/fine", "send", ["ann", "hi"])).status).toBe(200);
    expect(node.output.stderr).not.toContain("uncaught error");
  });
  afterAll(endAll);

  /** Dials as a node with this secret would. */
  async function dial(secret: string | null, peer: Partial<Peer> = {}): Promise<unknown> {
    const transport = websocketTransport({
      runtime: await detectRuntime(),
      ...(secret === null ? {} : { secret }),
      address: "ws://127.0.0.1:1/atlas/link",
    });
    await transport.open(SELF, () => {});
    try {
      const address = `${node.url.replace(/^http/, "ws")}/atlas/link`;
      return await transport.dial({ ...node.line, address, ...peer });
    } finally {
      await transport.close();
    }
  }

  test("a peer with the right secret gets a link", async () => {
    expect(await dial(SECRET)).toMatchObject({ peer: { node: node.line.node } });
  });

  test.each([["no", null], ["a wrong", WRONG]])(
    "a peer with %s secret gets no link",
    async (_which, secret) => {
      await expect(dial(secret)).rejects.toMatchObject({ code: "unauthorized" });
    },
  );

  test("a peer that dials another incarnation gets no link", async () => {
    await expect(dial(SECRET, { incarnation: SELF.incarnation })).rejects.toMatchObject({
      code: "unavailable",
    });
  });

  test.each<[string, string | Uint8Array]>([
    ["text", "hello"],
    ["random bytes", new Uint8Array(100).fill(0xff)],
    ["nothing", new Uint8Array(0)],
    ["a proof without a hello", encodeProof({ dialler: [new Uint8Array(32)], acceptor: [] })],
    ["a hello that is too large", new Uint8Array(MAX_HANDSHAKE_BYTES + 1)],
    ["a frame over the limit", new Uint8Array(MAX_FRAME_BYTES + 1)],
    ["a message before the handshake", binaryFrame({ kind: "cancel", id: 1 })],
  ])("the connection is closed on %s instead of a handshake", async (_what, frame) => {
    const line = await open(node);
    line.socket.send(frame);
    expect(await line.closed).toBeGreaterThan(1_000);
    expect(await line.next(), "nothing is told to a stranger").toBeNull();
  });

  test("the connection is closed on a wrong proof", async () => {
    const line = await open(node);
    const hello = encodeHello(SELF, node.line, linkAddress(node.url));
    line.socket.send(hello);
    const challenge = await line.next() as Uint8Array;
    line.socket.send(encodeProof(await sign(await importKeys([WRONG]), hello, challenge)));
    expect(await line.closed).toBeGreaterThan(1_000);
    expect(await line.next()).toBeNull();
  });

  test.each<[string, () => string | Uint8Array]>([
    ["text that is no frame", () => "hello"],
    ["a text frame that is no message", () => "[0,[99,1]]\n"],
    ["a text frame over the limit", () => `[0,["${"x".repeat(300_000)}"]]\n`],
    ["tuples nested without end", () => `[0,${"[".repeat(99_999)}${"]".repeat(99_999)}]\n`],
    ["a frame that is cut short", () => new Uint8Array([200, 1, 2, 3])],
    ["a frame that is no message", () => new Uint8Array([3, 0xc1, 0xc1, 0xc1])],
    ["a message nested without end", () => frameOf(nestedArrays(), NOTHING)],
    ["a frame over the limit", () => new Uint8Array(MAX_FRAME_BYTES + 1)],
  ])("%s over a proven link ends it", async (_what, frame) => {
    const line = await authenticated(node);
    line.socket.send(frame());
    await line.closed;
  });

  test.each([
    ["a key that is a path", "../channels/x", "send", pack([]), "invalid_rrp"],
    ["a key that is not canonical", "channels/{x}", "send", pack([]), "invalid_rrp"],
    ["a key with NUL", "channels/a\0b", "send", pack([]), "invalid_rrp"],
    ["no type", "nothing/x", "send", pack([]), "not_found"],
    ["a type of Object's", "__proto__/x", "send", pack([]), "not_found"],
    ["a method of Object's", "channels/x", "constructor", pack([]), "not_found"],
    ["a hook", "channels/x", "onStart", pack([]), "not_found"],
    ["a drain of a resource", "channels/x", "$drain", pack([]), "not_found"],
    ["arguments that are no array", "channels/x", "send", pack("x"), "bad_request"],
    ["arguments nested without end", "channels/x", "send", nestedArrays(), "bad_request"],
    [
      "arguments that are no MessagePack",
      "channels/x",
      "send",
      new Uint8Array([0xc1]),
      "bad_request",
    ],
    ["arguments that are no JSON", "channels/x", "send", "[1,", "bad_request"],
    ["arguments of JSON that are no array", "channels/x", "send", '"x"', "bad_request"],
    [
      "arguments of JSON nested without end",
      "channels/x",
      "send",
      "[".repeat(99_999) + "]".repeat(99_999),
      "bad_request",
    ],
  ])(
    "an authenticated peer that asks with %s is refused",
    async (_what, key, method, body, code) => {
      const line = await authenticated(node);
      line.socket.send(request(key, method, body));
      expect(answersOf(await line.next())).toEqual([code]);
      line.socket.close();
      await line.closed;
    },
  );

  test.each([
    ["no arguments", [], "invalid_rrp"],
    ["another incarnation", ["6f8c2d1e-0b7a-4c3f-9d2e-5a1b4c7d8e9f", null, null], "unavailable"],
    ["an object as the incarnation", [{ a: 1 }, null, null], "unavailable"],
    ["an invalid prefix", [null, "local/", 5], "invalid_rrp"],
    ["a negative time", [null, "rrp:local/", -5], "bad_request"],
    ["too long a time", [null, "rrp:local/", 1e12], "bad_request"],
  ])("an authenticated peer that drains with %s is refused", async (_what, args, code) => {
    const line = await authenticated(node);
    line.socket.send(request("nodes/x", "$drain", pack(args), "local/stranger"));
    expect(answersOf(await line.next())).toEqual([code]);
    line.socket.close();
    await line.closed;
  });
});
