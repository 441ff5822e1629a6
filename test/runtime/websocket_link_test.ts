/**
 * Node links beyond the transport suite: secrets, hostile peers, hostile addresses, keepalives,
 * backoff. On the runtime that runs this file.
 *
 * Covers adapters/transport/link_sessions.ts.
 */
import type { AtlasError } from "../../src/errors.ts";
import { describe, expect, it } from "vitest";
import { MAX_HANDSHAKES } from "../../adapters/transport/link_slots.ts";
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { checkAddress, isLoopback } from "../../adapters/transport/link_address.ts";
import {
  LINK_PATH,
  linkAddress,
  type WebSocketTransport,
  websocketTransport,
  type WebSocketTransportOptions,
} from "../../adapters/transport/websocket.ts";
import { MAX_MESSAGES, MAX_TEXT_FRAME } from "../../adapters/transport/link_frames.ts";
import { WebSocketLink } from "../../adapters/transport/websocket_link.ts";
import type { NodeEvent } from "../../src/api/node.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import { ANYONE, type LinkHandlers } from "../../src/ports/transport.ts";
import { type LinkNetwork, linkNetwork } from "../conformance/link_network.ts";
import { sendRaw } from "../e2e/raw_http.ts";
import { identity, LinkEnd, TransportNode } from "../conformance/transport.ts";
import { freePort } from "../support/ports.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const A = "a".repeat(32);
const B = "b".repeat(32);

const cleanups = cleanupsAfterEach();

async function network(): Promise<LinkNetwork> {
  const made = await linkNetwork();
  cleanups.push(() => made.close());
  return made;
}

async function openNode(
  on: LinkNetwork,
  node: string,
  options: Partial<WebSocketTransportOptions> = {},
): Promise<TransportNode & { transport: WebSocketTransport }> {
  const transport = await on.transport(options);
  cleanups.push(() => transport.close());
  return await new TransportNode(transport, node).open() as TransportNode & {
    transport: WebSocketTransport;
  };
}

/** A clock that moves only when a test advances it. */
function handClock(): Clock & { move(ms: number): void } {
  let now = 0;
  let timers: { at: number; run: () => void }[] = [];
  return {
    now: () => now,
    wall: () => now,
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return { cancel: () => void (timers = timers.filter((other) => other !== timer)) };
    },
    move(ms) {
      now += ms;
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { run } of due) run();
    },
  };
}

describe("secrets", () => {
  const cases: [
    string,
    WebSocketTransportOptions["secret"],
    typeof A | undefined | [string, string],
    boolean,
  ][] = [
    ["none at both ends", undefined, undefined, true],
    ["the same", A, A, true],
    ["different", A, B, false],
    ["only the dialler has one", A, undefined, false],
    ["only the acceptor has one", undefined, A, false],
    ["the dialler is ahead in a rotation", [B, A], A, true],
    ["the acceptor is ahead in a rotation", A, [B, A], true],
    ["one end rotated, the other did so further", [B, A], ["c".repeat(32), B], true],
    ["nothing in common in a rotation", [A, "c".repeat(32)], [B, "d".repeat(32)], false],
  ];
  it.each(cases)("%s", async (_name, diallers, acceptors, joins) => {
    const on = await network();
    const events: NodeEvent[] = [];
    const ann = await openNode(on, "ann", { secret: diallers });
    const bob = await openNode(on, "bob", {
      secret: acceptors,
      onEvent: (event) => void events.push(event),
    });
    const dialled = ann.transport.dial(bob.peer);
    if (joins) {
      expect((await dialled).peer).toEqual(bob.self);
      expect(events).toEqual([]);
      return;
    }
    await expect(dialled).rejects.toMatchObject({ code: "unauthorized" });
    expect(bob.accepted).toEqual([]);
    expect(events).toMatchObject([{
      level: "warning",
      event: "link refused",
      fields: { code: "unauthorized", claims: "here/ann" },
    }]);
  });

  it("may not be empty, and short ones are detected", async () => {
    const runtime = await detectRuntime();
    expect(() => websocketTransport({ runtime, secret: "" })).toThrow("secret must be");
    expect(websocketTransport({ runtime, secret: "short" }).secured).toBe(false);
    expect(websocketTransport({ runtime, secret: A }).secured).toBe(true);
    expect(websocketTransport({ runtime, secret: [A, "short"] }).secured).toBe(false);
  });
});

describe("hostile peers", () => {
  /** A bare socket to bob's link path. */
  async function openSocket(bob: TransportNode): Promise<{ socket: Socket; closes: number[] }> {
    const closes: number[] = [];
    const runtime = await detectRuntime();
    const socket = await runtime.dial(bob.transport.address, {
      open: () => {},
      message: () => {},
      close: (_socket, code) => void closes.push(code),
    }, { maxFrameBytes: MAX_FRAME_BYTES, timeoutMs: 5_000 });
    return { socket, closes };
  }

  it("are closed on garbage, text and large frames before the handshake", async () => {
    const on = await network();
    const events: NodeEvent[] = [];
    const bob = await openNode(on, "bob", { onEvent: (event) => void events.push(event) });
    const frames = [
      "hello",
      new Uint8Array(0),
      new Uint8Array(2_049),
      Uint8Array.of(0, 5, 1, 2),
      new Uint8Array(1_000).fill(255),
    ];
    for (const frame of frames) {
      const { socket, closes } = await openSocket(bob);
      socket.send(frame);
      await expect.poll(() => closes).toEqual([4_400]);
    }
    expect(events.length).toBe(frames.length);
    expect(bob.accepted).toEqual([]);
  });

  it("are closed when they leave the handshake unfinished", async () => {
    const on = await network();
    const clock = handClock();
    const bob = await openNode(on, "bob", { clock });
    const { closes } = await openSocket(bob);
    await expect.poll(() => {
      clock.move(5_000);
      return closes;
    }).toEqual([4_408]);
  });

  it(`can't hold more than ${MAX_HANDSHAKES} handshakes open; other peers still get links`, async () => {
    const on = await network();
    const bob = await openNode(on, "bob");
    const ann = await openNode(on, "ann");
    const handlers = Array.from({ length: MAX_HANDSHAKES + 44 }, () => bob.transport.accept());
    const codes: number[] = [];
    const socket: Socket = {
      send: () => {},
      buffered: () => 0,
      close: (code) => void codes.push(code),
    };
    for (const each of handlers) each.open(socket);
    expect(codes).toEqual(Array(44).fill(1_013));
    // One of the handshakes from unknown addresses is ended.
    expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
    expect(codes.length).toBe(45);
    for (const each of handlers.slice(0, MAX_HANDSHAKES)) each.close(socket, 1_006, "");
    const carl = await openNode(on, "carl");
    expect((await carl.transport.dial(bob.peer)).peer).toEqual(bob.self);
  });

  it("hold their slots until their sockets are closed, also when their handshake is over", async () => {
    const on = await network();
    const bob = await openNode(on, "bob");
    const codes: number[] = [];
    const knockFrom = (): ReturnType<typeof bob.transport.accept> => {
      const handlers = bob.transport.accept();
      const socket: Socket = {
        remote: "10.0.0.1",
        send: () => {},
        buffered: () => 0,
        close: (code) => void codes.push(code),
      };
      handlers.open(socket);
      handlers.message(socket, "no handshake");
      return handlers;
    };
    const handlers = Array.from({ length: 64 }, knockFrom);
    expect(codes).toEqual(Array(64).fill(4_400));
    knockFrom();
    expect(codes.at(-1), "none of them is closed yet").toBe(1_013);
    await bob.open();
    knockFrom();
    expect(codes.at(-1), "nor does a new life of the node close them").toBe(1_013);
    handlers[0]?.close({} as Socket, 1_006, "");
    knockFrom();
    expect(codes.at(-1)).toBe(4_400);
  });

  it("can't hold more than 64 handshakes open from one address; other addresses get in", async () => {
    const on = await network();
    const bob = await openNode(on, "bob");
    const codes: number[] = [];
    const knockFrom = (remote: string) =>
      bob.transport.accept().open({
        remote,
        send: () => {},
        buffered: () => 0,
        close: (code) => void codes.push(code),
      });
    for (let i = 0; i < 70; i++) knockFrom("10.0.0.1");
    expect(codes).toEqual(Array(6).fill(1_013));
    for (let i = 0; i < 64; i++) knockFrom("10.0.0.2");
    expect(codes.length).toBe(6);
    const ann = await openNode(on, "ann");
    expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
  });

  it("don't take a slot with requests that never become sockets", async () => {
    const on = await network();
    const bob = await openNode(on, "bob");
    const { origin } = new URL(bob.transport.address.replace("ws:", "http:"));
    // Without a key it is no WebSocket handshake (RFC 6455 §4.2.1).
    const head = `GET ${LINK_PATH} HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\n` +
      "connection: Upgrade, close\r\n\r\n";
    const statuses = await Promise.all(
      Array.from({ length: MAX_HANDSHAKES }, async () => (await sendRaw(origin, head)).status),
    );
    expect(new Set(statuses)).toEqual(new Set([statuses[0] === 426 ? 426 : 400]));
    const ann = await openNode(on, "ann");
    expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
  });
});

describe("frames on a link", () => {
  function link(clock: Clock = handClock(), handlers: Partial<LinkHandlers> = {}): {
    link: WebSocketLink;
    sent: (string | Uint8Array)[];
    closed: number[];
    end: LinkEnd;
  } {
    const sent: (string | Uint8Array)[] = [];
    const closed: number[] = [];
    const socket: Socket = {
      send: (data) => void sent.push(typeof data === "string" ? data : new Uint8Array(data)),
      buffered: () => 0,
      close: (code) => void closed.push(code),
    };
    const made = new WebSocketLink(socket, identity("x"), clock, () => {});
    return { link: made, sent, closed, end: new LinkEnd(made, true, handlers) };
  }

  it("of bytes hold all messages of a tick, each after its length", async () => {
    const { link: one, sent } = link();
    one.send([1], Uint8Array.of(7));
    one.send([], new Uint8Array(0));
    one.send([], Uint8Array.of(2, 3));
    await expect.poll(() => sent).toEqual([
      Uint8Array.of(3, 0x91, 1, 7, 1, 0x90, 3, 0x90, 2, 3),
    ]);
  });

  it("of text hold the tuples of a tick, each after its body's length, and then the bodies", async () => {
    const { link: one, sent } = link();
    one.send([1, "a\nb"], "[1]");
    one.send([2], "");
    one.send([3], '"π"');
    await expect.poll(() => sent).toEqual(['[3,[1,"a\\nb"],0,[2],3,[3]]\n[1]"π"']);
  });

  it("keep the order of messages with bytes and with text", async () => {
    const { link: one, sent } = link();
    one.send([1], "1");
    one.send([2], Uint8Array.of(2));
    one.send([3], "3");
    await expect.poll(() => sent.length).toBe(3);
    const { link: other, end } = link();
    for (const frame of sent) other.received(frame);
    expect(end.received).toEqual([
      { tuple: [1], body: "1" },
      { tuple: [2], body: Uint8Array.of(2) },
      { tuple: [3], body: "3" },
    ]);
  });

  it("of text divide many messages, into larger frames if more requests are in flight", async () => {
    const frames: number[] = [];
    for (const inFlight of [0, 256, 10_000]) {
      const { link: one, sent } = link(handClock(), { inFlight: () => inFlight });
      for (const last of ["[1]", "[2]"]) {
        sent.length = 0;
        for (let i = 0; i < 250; i++) one.send([0], "");
        one.send(JSON.parse(last), "");
        await expect.poll(() => sent.at(-1)).toContain(last);
      }
      frames.push(sent.length);
    }
    expect(frames).toEqual([8, 4, 2]);
  });

  it.each([
    ["a length beyond the frame", Uint8Array.of(2, 1)],
    ["a length cut off", Uint8Array.of(2, 0x91, 9, 128)],
    ["a length of five bytes", Uint8Array.of(128, 128, 128, 128, 0)],
    ["no MessagePack", Uint8Array.of(1, 0xc1)],
    ["a body of text that is not UTF-8", Uint8Array.of(3, 0x90, 0xc1, 0xff)],
    ["over the limit", new Uint8Array(MAX_FRAME_BYTES + 1)],
    ["text without a line feed", "[0,[7]]"],
    ["text without JSON", "text\n"],
    ["a tuple without a length", "[[7]]\n"],
    ["an object", "{}\n"],
    ["a body's length beyond the text", "[2,[7]]\n1"],
    ["text behind the bodies", "[1,[7]]\n11"],
    ["a length that is negative", "[-1,[7],2,[7]]\n1"],
    ["a length with a fraction", "[0.5,[7],0.5,[7]]\n1"],
    ["a length as text", '["1",[7]]\n1'],
    ["text over the limit", `[${MAX_TEXT_FRAME},[7]]\n${"1".repeat(MAX_TEXT_FRAME)}`],
    ["too many messages", `[${Array.from({ length: MAX_MESSAGES + 1 }, () => "0,[7]")}]\n`],
  ])("close the link when malformed: %s", async (_name, frame) => {
    const { link: one, closed, end } = link();
    one.received(frame);
    one.received("[0,[7]]\n");
    await Promise.resolve();
    expect(closed).toEqual([4_400]);
    expect(end.closes.length).toBe(1);
    expect(end.received.map(({ tuple }) => tuple)).not.toContainEqual([7]);
  });

  it("with tuples of any nesting are read, and left to the reader of the tuple", () => {
    const { link: one, closed, end } = link();
    one.received(`[0,${"[".repeat(131_000)}${"]".repeat(131_000)}]\n`);
    one.received("[0,[7]]\n");
    expect(closed).toEqual([]);
    expect(end.received.length).toBe(2);
  });

  it("send keepalives when idle, and end the link when the peer sends none", async () => {
    const clock = handClock();
    const { sent, closed, end, link: one } = link(clock);
    for (let i = 0; i < 3; i++) clock.move(15_000);
    expect(sent).toEqual([new Uint8Array(0), new Uint8Array(0), new Uint8Array(0)]);
    one.received(new Uint8Array(0));
    for (let i = 0; i < 3; i++) clock.move(15_000);
    expect(closed).toEqual([]);
    clock.move(15_000);
    await Promise.resolve();
    expect(closed).toEqual([4_408]);
    expect(end.closes).toEqual(["nothing came for 45 s"]);
    expect(end.received).toEqual([]);
  });
});

describe("addresses", () => {
  const ok = "ws://10.0.0.1:8080/atlas/link";
  it.each([
    ["http://10.0.0.1/atlas/link", "scheme"],
    ["file:///atlas/link", "scheme"],
    ["ws://u:p@10.0.0.1/atlas/link", "credentials"],
    ["ws://10.0.0.1/atlas/link?x=1", "query"],
    ["ws://10.0.0.1/latest/meta-data", "path"],
    ["ws://10.0.0.1:0/atlas/link", "port"],
    ["ws://10.0.0.1:65536/atlas/link", "not a URL"],
    ["not an address", "not a URL"],
    [`ws://${"x".repeat(3_000)}/atlas/link`, "not a URL"],
    ["ws://169.254.169.254/atlas/link", "link-local"],
    ["ws://0xa9fea9fe/atlas/link", "link-local"],
    ["ws://2852039166/atlas/link", "link-local"],
    ["ws://[fe80::1]/atlas/link", "link-local"],
    ["ws://[febf::1]/atlas/link", "link-local"],
    ["ws://[::ffff:169.254.169.254]/atlas/link", "link-local"],
    ["ws://[64:ff9b::169.254.169.254]/atlas/link", "link-local"],
    ["ws://0.0.0.0/atlas/link", "unspecified"],
    ["ws://[::]/atlas/link", "unspecified"],
    ["ws://224.0.0.1/atlas/link", "multicast"],
    ["ws://[ff02::1]/atlas/link", "multicast"],
    ["ws://[fd00:ec2::254]/atlas/link", "metadata"],
    ["ws://metadata.google.internal./atlas/link", "metadata"],
  ])("%s is not dialled", (address, why) => {
    expect(() => checkAddress(address, { secured: true })).toThrow(why);
  });

  it("beyond loopback need a secret, and may be restricted", () => {
    expect(checkAddress(ok, { secured: true })).toBe(ok);
    expect(() => checkAddress(ok, { secured: false })).toThrow("secret of at least 32 bytes");
    for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "[::ffff:127.0.0.1]"]) {
      expect(checkAddress(`ws://${host}:1/atlas/link`, { secured: false })).toContain(":1/");
    }
    const allow = (url: URL) => url.hostname.endsWith(".internal");
    expect(() => checkAddress(ok, { secured: true, allow })).toThrow("rules");
    expect(checkAddress("wss://a.internal/atlas/link", { secured: true, allow })).toContain("a.");
  });

  it("are derived from a server's URL", () => {
    expect(linkAddress("http://127.0.0.1:80")).toBe(`ws://127.0.0.1${LINK_PATH}`);
    expect(linkAddress("https://a.example:8443/x/")).toBe(`wss://a.example:8443/x${LINK_PATH}`);
    expect(linkAddress(ok)).toBe(ok);
    expect(() => linkAddress("redis://a")).toThrow("not an http");
    expect(isLoopback("0.0.0.0")).toBe(false);
    expect(isLoopback("::1")).toBe(true);
  });

  it("that don't answer are logged once with the reason, also during the backoff", async () => {
    const ann = await openNode(await network(), "ann");
    const address = `ws://127.0.0.1:${await freePort()}${LINK_PATH}`;
    const failureOf = (who: string) => {
      const peer = { region: who, node: who, incarnation: who, address };
      const told = ({ message, detail }: AtlasError) => ({ message, detail: detail ?? "" });
      return ann.transport.dial(peer).then(() => null, told);
    };
    const named = await failureOf("bob");
    // The address is for the log, not for callers.
    expect(named?.message).toMatch(/^bob gave no link: (?!.*127)./);
    expect(named?.detail).toContain(`bob at ${address} gave no link: `);
    expect(named?.detail.split(address)).toHaveLength(2);
    expect(await failureOf("bob")).toEqual(named);
    // A node that is dialled at an address without a name is named by the caller that needs it.
    const anyone = await failureOf(ANYONE);
    expect(anyone?.message).not.toMatch(/\*|ws:|127|^$/);
    expect(anyone?.detail).not.toMatch(/\*|ws:|^$/);
  });

  it("that fail are dialled again after a backoff, or at once for a new incarnation there", async () => {
    const on = await network();
    let dials = 0;
    const real = await detectRuntime();
    const clock = handClock();
    const ann = await openNode(on, "ann", {
      clock,
      runtime: { dial: (...given) => (dials++, real.dial(...given)) },
    });
    const bob = await openNode(on, "bob");
    const gone = { ...bob.peer, incarnation: crypto.randomUUID() };
    const refused = { code: "unavailable" };
    await expect(ann.transport.dial(gone)).rejects.toMatchObject(refused);
    await expect(ann.transport.dial(gone)).rejects.toMatchObject(refused);
    expect(dials).toBe(1);
    clock.move(51);
    await expect(ann.transport.dial(gone)).rejects.toMatchObject(refused);
    expect(dials).toBe(2);
    expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
  });
});
