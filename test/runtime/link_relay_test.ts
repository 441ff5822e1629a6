/**
 * A relay between two nodes: a server that a registry names as a node's address, and that forwards
 * each frame to the node itself. Real sockets, on whichever runtime runs this file.
 *
 * Covers adapters/transport/link_address.ts.
 */
import { describe, expect, it } from "vitest";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { encodeHello, MAX_HANDSHAKE_BYTES } from "../../adapters/transport/link_handshake.ts";
import { MAX_HANDSHAKES, MAX_LINKS_EACH } from "../../adapters/transport/link_slots.ts";
import {
  LINK_PATH,
  linkAddress,
  type WebSocketTransport,
  type WebSocketTransportOptions,
} from "../../adapters/transport/websocket.ts";
import type { NodeEvent } from "../../src/api/node.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import { ANYONE } from "../../src/ports/transport.ts";
import { linkNetwork } from "../conformance/link_network.ts";
import { identity, TransportNode } from "../conformance/transport.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const SECRET = "s".repeat(32);
const cleanups = cleanupsAfterEach();

type Node = TransportNode & { transport: WebSocketTransport; events: NodeEvent[] };

async function nodes(...options: Partial<WebSocketTransportOptions>[]): Promise<Node[]> {
  const on = await linkNetwork({ secret: SECRET });
  cleanups.push(() => on.close());
  const made: Node[] = [];
  for (const [i, given] of options.entries()) {
    const events: NodeEvent[] = [];
    const onEvent = (event: NodeEvent) => void events.push(event);
    const transport = await on.transport({ onEvent, ...given });
    cleanups.push(() => transport.close());
    const node = await new TransportNode(transport, ["ann", "bob", "carl"][i] as string).open();
    made.push(Object.assign(node, { events }) as Node);
  }
  return made;
}

/**
 * Forwards frames to `target`, each changed by `change`; gives its own address and the recorded
 * frames.
 */
async function relay(
  target: string,
  change: (data: string | Uint8Array) => string | Uint8Array = (data) => data,
): Promise<{ url: string; address: string; seen: (string | Uint8Array)[] }> {
  const runtime = await detectRuntime();
  const seen: (string | Uint8Array)[] = [];
  const copy = (data: string | Uint8Array) => typeof data === "string" ? data : data.slice();
  const limits = { maxFrameBytes: MAX_FRAME_BYTES, timeoutMs: 5_000 };
  const server = await runtime.serve({
    host: "127.0.0.1",
    port: 0,
    maxFrameBytes: MAX_FRAME_BYTES,
    fetch: (_request, upgrade) => {
      let far: Promise<Socket>;
      return upgrade({
        open: (near) => {
          far = runtime.dial(target, {
            open: () => {},
            message: (_socket, data) => near.send(copy(data)),
            close: (_socket, code, reason) => near.close(code === 1_006 ? 4_000 : code, reason),
          }, limits);
        },
        message: (_near, data) => {
          const kept = copy(data);
          seen.push(kept);
          void far.then((socket) => socket.send(change(kept)));
        },
        close: (_near, code, reason) =>
          void far.then((socket) => socket.close(code === 1_006 ? 4_000 : code, reason)),
      });
    },
  });
  cleanups.push(() => server.close());
  const url = `http://127.0.0.1:${server.port}`;
  return { url, address: linkAddress(url), seen };
}

/** `frame` with one text replaced by another of the same length. */
function replaced(frame: Uint8Array, from: string, to: string): Uint8Array {
  const text = new TextDecoder("latin1").decode(frame).replace(from, to);
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

describe("a relay that a registry names as a node's address", () => {
  it("can't relay a link, and both ends get the reason", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const { address, seen } = await relay(bob.transport.address);
    const dialled = ann.transport.dial({ ...bob.peer, address });
    await expect(dialled).rejects.toMatchObject({
      code: "unavailable",
      message: "bob gave no link: the address dialled is not this node's own; " +
        "if it leads here, name it in its ATLAS_ADDRESSES",
      detail: expect.stringContaining(`bob at ${address} gave no link`),
    });
    expect(seen.length, "the whole handshake went through it").toBe(2);
    expect(bob.accepted).toEqual([]);
    expect(bob.events).toEqual([{
      level: "warning",
      event: "link refused",
      fields: {
        code: "unavailable",
        why: expect.stringContaining("name it in its ATLAS_ADDRESSES"),
        claims: "here/ann",
        dialled: address,
      },
    }]);
  });

  it("can't relay a link, even if any node is accepted at the address", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const { address } = await relay(bob.transport.address);
    const anyone = { region: ANYONE, node: ANYONE, incarnation: ANYONE, address };
    await expect(ann.transport.dial(anyone)).rejects.toThrow("ATLAS_ADDRESSES");
    expect(bob.accepted).toEqual([]);
  });

  it("can't relay a link by replacing its address with the node's", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const own = bob.transport.address;
    const { address } = await relay(own, (data) => {
      if (typeof data === "string") return data;
      return replaced(data, new URL(address).port, new URL(own).port);
    });
    // Ports of one length, so that the frame stays well formed.
    expect(address.length).toBe(own.length);
    await expect(ann.transport.dial({ ...bob.peer, address })).rejects.toMatchObject({
      code: "unauthorized",
    });
    expect(bob.accepted).toEqual([]);
    expect(bob.events).toMatchObject([{ fields: { code: "unauthorized" } }]);
    expect(bob.events[0]?.fields, "nothing to name for who has no secret").not.toHaveProperty(
      "dialled",
    );
  });

  it("may relay a link if the node lists its address, as that of its proxy", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const { url, address } = await relay(bob.transport.address);
    bob.transport.reachedAt(url);
    expect(bob.transport.addresses).toEqual([bob.transport.address, address]);
    const link = await ann.transport.dial({ ...bob.peer, address });
    expect(link.peer).toEqual(bob.self);
    expect(bob.events).toEqual([]);
  });
});

describe("an address", () => {
  it("is compared as written: localhost is not 127.0.0.1", async () => {
    const [ann, bob, carl] = await nodes({}, {}, {}) as [Node, Node, Node];
    const address = bob.transport.address.replace("127.0.0.1", "localhost");
    await expect(ann.transport.dial({ ...bob.peer, address })).rejects.toThrow("ATLAS_ADDRESSES");
    bob.transport.reachedAt(address);
    // Another node dials, because ann waits before she dials it again.
    expect((await carl.transport.dial({ ...bob.peer, address })).peer).toEqual(bob.self);
  });

  it("is compared in normal form: different spellings of one URL are equal", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const address = bob.transport.address.replace("127.0.0.1", "127.1");
    expect((await ann.transport.dial({ ...bob.peer, address })).peer).toEqual(bob.self);
  });

  it("with a proxy's path is the node's if its public URL has that path", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const { url } = await relay(bob.transport.address);
    bob.transport.address = `${url}/behind/proxy/`;
    expect(bob.transport.address).toBe(`${url.replace("http", "ws")}/behind/proxy${LINK_PATH}`);
    expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
  });
});

describe("a hostile peer", () => {
  /** A bare socket, with the received frames and how it was closed. */
  async function openSocket(node: Node) {
    const closes: [number, string][] = [];
    const frames: Uint8Array[] = [];
    const runtime = await detectRuntime();
    const socket = await runtime.dial(node.transport.address, {
      open: () => {},
      message: (_socket, data) => void frames.push((data as Uint8Array).slice()),
      close: (_socket, code, reason) => void closes.push([code, reason]),
    }, { maxFrameBytes: MAX_FRAME_BYTES, timeoutMs: 5_000 });
    return { socket, closes, frames };
  }

  it("of another version gets this node's version", async () => {
    const [bob] = await nodes({}) as [Node];
    const { socket, closes, frames } = await openSocket(bob);
    const hello = encodeHello(identity("x"), bob.self, bob.transport.address);
    socket.send(replaced(hello, "atlas-link/3", "atlas-link/1"));
    await expect.poll(() => closes).toEqual([[
      4_426,
      "this node speaks atlas-link/3, not atlas-link/1: run one version of Atlas on all nodes",
    ]]);
    expect(frames).toEqual([]);
    expect(bob.events).toMatchObject([{
      fields: { why: expect.stringContaining("atlas-link/1") },
    }]);
  });

  it("gets one challenge and one proof: a second hello or proof ends it", async () => {
    const [bob] = await nodes({}) as [Node];
    const hello = encodeHello(identity("x"), bob.self, bob.transport.address);
    const twice = await openSocket(bob);
    twice.socket.send(hello);
    twice.socket.send(hello);
    await expect.poll(() => twice.closes.map(([code]) => code)).toEqual([4_400]);

    const guesses = await openSocket(bob);
    guesses.socket.send(hello);
    await expect.poll(() => guesses.frames.length).toBe(1);
    for (let i = 0; i < 100; i++) guesses.socket.send(replaced(hello, "hello", "proof"));
    // Frames that are still being sent may reset the connection before its close code is read.
    await expect.poll(() => guesses.closes.length).toBe(1);
    expect(guesses.frames.length).toBe(1);
    expect(bob.events.map(({ fields }) => fields["code"])).toEqual(["unavailable", "unauthorized"]);
  });

  it("at four addresses can't block nodes at a fifth", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    let cut = 0;
    for (let i = 0; i < MAX_HANDSHAKES; i++) {
      const handlers = bob.transport.accept();
      const socket: Socket = {
        remote: `10.0.0.${i % 4}`,
        send: () => {},
        buffered: () => 0,
        close: () => {},
        cut() {
          cut++;
          handlers.close(socket, 1_006, "");
        },
      };
      handlers.open(socket);
    }
    for (let i = 0; i < 5; i++) {
      expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
    }
    // Ann takes the slot of the first one, repeatedly.
    expect(cut).toBe(1);
  });

  it("needs the secret whatever identity it claims", async () => {
    const [bob] = await nodes({}) as [Node];
    const { socket, closes, frames } = await openSocket(bob);
    socket.send(encodeHello(bob.self, bob.self, bob.transport.address));
    await expect.poll(() => frames.length).toBe(1);
    socket.send(frames[0] as Uint8Array);
    await expect.poll(() => closes.map(([code]) => code)).toEqual([4_401]);
    expect(bob.accepted).toEqual([]);
  });

  it("can't fill the log: frequent refusals are only counted", async () => {
    let now = 0;
    const clock = { now: () => now, wall: () => now, after: () => ({ cancel() {} }) };
    const [bob] = await nodes({ clock }) as [Node];
    const refuse = async () => {
      const { socket, closes } = await openSocket(bob);
      socket.send(new Uint8Array(MAX_HANDSHAKE_BYTES + 1));
      await expect.poll(() => closes.length).toBe(1);
    };
    for (let i = 0; i < 25; i++) await refuse();
    expect(bob.events.length).toBe(20);
    now = 10_000;
    await refuse();
    expect(bob.events.length).toBe(21);
    expect(bob.events[20]?.fields).toMatchObject({ unlogged: 5 });
  });

  it("with the secret can't hold more than 32 links in one name", async () => {
    const [ann, bob] = await nodes({}, {}) as [Node, Node];
    const links = [];
    for (let i = 0; i < MAX_LINKS_EACH; i++) links.push(await ann.transport.dial(bob.peer));
    await expect(ann.transport.dial(bob.peer)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("this peer has 32 links open already"),
    });
    links[0]?.close("done");
    const again = () => ann.transport.dial(bob.peer).then(() => true, () => false);
    await expect.poll(again).toBe(true);
  });
});
