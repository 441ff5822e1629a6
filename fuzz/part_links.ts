/**
 * Hostile links between nodes: changed, truncated, repeated and reordered handshakes without the
 * secret, and authenticated links with invalid messages.
 */
import { frameOf } from "../adapters/transport/link_frames.ts";
import { bodyOf, type Message, tupleOf } from "../src/model/envelope.ts";
import { pack } from "../src/model/value.ts";
import type { Attack, Part } from "./attack.ts";
import type { Draw } from "./draw.ts";
import { CONTINUATION, frame, oddFrames, TEXT } from "./frames.ts";
import { attackedKey } from "./heads.ts";
import { Peer } from "./peer.ts";
import { altered, oddPack, value } from "./values.ts";

const ANSWER_MS = 1_000;
const NO_BODY = new Uint8Array(0);

/** Earlier handshakes, to be repeated. */
interface Recorded {
  readonly hello: Uint8Array;
  readonly proof: Uint8Array;
}

/** The results of inputs so far. */
interface Seen {
  readonly recorded: Recorded[];
  /** Links with the secret that were accepted, and that were refused. */
  proven: number;
  refused: number;
}

export const links: Part = {
  name: "links",
  registry: "file",
  reaches: [101],
  begin: async (_target, report) => {
    const seen: Seen = { recorded: [], proven: 0, refused: 0 };
    return {
      send: (attack) => send(attack, seen),
      async end() {
        const { proven, refused } = seen;
        if (proven === 0 && refused >= 10) {
          report("reach", `${refused} links were requested, none accepted`);
        }
      },
    };
  },
};

async function send(attack: Attack, seen: Seen): Promise<void> {
  const { draw, target } = attack;
  const knows = draw.chance(0.6);
  const peer = await Peer.ask(attack, knows ? target.secret : "not the secret of this cluster");
  if (!peer) return void (attack.what = "no socket for a link");
  if (attack.isSlow) {
    attack.what = "an endless handshake";
    for (let left = 100; left > 0 && !attack.isLate && !peer.line.isOver; left--) {
      if (!await peer.line.write(frame("", { opcode: CONTINUATION, fin: false }))) break;
      await peer.line.over(500);
    }
  } else if (knows && draw.chance(0.7)) await linked(attack, peer, seen);
  else await handshake(attack, peer, seen.recorded);
}

async function handshake(attack: Attack, peer: Peer, recorded: Recorded[]): Promise<void> {
  const { draw } = attack;
  const describe = (what: string): void => void (attack.what = `handshake: ${what}`);
  await draw.pick([
    async () => {
      describe("a mutated hello");
      await peer.send(draw.mutated(peer.makeHello()));
    },
    async () => {
      describe("a truncated hello");
      await peer.send(peer.makeHello().subarray(0, draw.below(100)));
    },
    async () => {
      describe("a mutated proof");
      if (await peer.greet()) await peer.send(draw.mutated(await peer.makeProof()));
    },
    async () => {
      describe("a proof");
      if (!await peer.greet()) return;
      const proof = await peer.makeProof();
      recorded.push({ hello: peer.hello, proof });
      if (recorded.length > 32) recorded.shift();
      await peer.send(proof);
    },
    async () => {
      describe("an earlier handshake");
      const before = recorded.length > 0 ? draw.pick(recorded) : null;
      await peer.send(before?.hello ?? peer.makeHello());
      await peer.frames(1);
      await peer.send(before?.proof ?? NO_BODY);
    },
    async () => {
      describe("two hellos");
      await peer.send(peer.makeHello());
      await peer.send(peer.makeHello());
    },
    async () => {
      describe("the challenge sent back");
      if (await peer.greet()) await peer.send(peer.challenge);
    },
    async () => {
      describe("a proof without a hello");
      await peer.send(await peer.makeProof());
    },
    async () => {
      describe("text");
      await peer.line.write(frame("hello", { opcode: TEXT }));
    },
    async () => {
      describe("too large a frame");
      await peer.send(draw.bytes(draw.pick([1_024, 1_025, 70_000])));
    },
    async () => {
      describe("messages without a proof");
      await peer.send(peer.makeHello());
      for (let left = 50; left > 0; left--) await peer.send(oddMessage(draw));
    },
    async () => {
      const { what, bytes } = oddFrames(draw);
      describe(what);
      await peer.line.write(bytes);
    },
    async () => describe("nothing"),
  ])();
  await peer.line.over(draw.chance(0.9) ? ANSWER_MS / 3 : 6_000);
}

/** An authenticated link with messages that no node sends. */
async function linked(attack: Attack, peer: Peer, seen: Seen): Promise<void> {
  const { draw } = attack;
  if (!await peer.join()) {
    seen.refused++;
    return void (attack.what = "a link that was refused");
  }
  seen.proven++;
  attack.what = "a link: ";
  for (let left = draw.whole(1, 4); left > 0 && !peer.line.isOver; left--) {
    await draw.weighted<() => Promise<unknown>>([
      [8, () => peer.send(frameOf(oddMessage(draw), draw.chance(0.3) ? oddPack(draw) : NO_BODY))],
      [3, () => peer.send(draw.mutated(frameOf(pack(tupleOf(goodMessage(draw))), NO_BODY)))],
      [6, () => peer.sendText(oddText(draw))],
      [3, () => peer.sendText(draw.mutated(Buffer.from(goodText(draw))).toString())],
      [3, () => peer.sendText(goodText(draw))],
      [2, () => peer.send(oddFrame(draw))],
      [2, () => peer.send(frameOf(oddPack(draw), NO_BODY))],
      [4, () => peer.sendMessage(goodMessage(draw))],
      [1, () => peer.line.write(frame("text", { opcode: TEXT }))],
      [1, () => flood(draw, peer)],
    ])();
    attack.what += `${left} `;
  }
  await peer.line.over(draw.whole(10, ANSWER_MS));
}

/** Frames with wrong lengths. */
function oddFrame(draw: Draw): Buffer {
  return draw.pick([
    () => Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]),
    () => Buffer.from([0xff, 0xff, 0xff, 0x7f, 1]),
    () => Buffer.alloc(draw.length(70_000)),
    () => Buffer.alloc(draw.length(70_000), 0x80),
    () => Buffer.from([5, 1]),
    () => draw.bytes(draw.length(5_000)),
  ])();
}

/** Many messages whose answers are not read. */
async function flood(draw: Draw, peer: Peer): Promise<void> {
  const one = goodMessage(draw);
  peer.line.pause();
  const bytes = frame(frameOf(pack(tupleOf(one)), NO_BODY), { opcode: 2 });
  await peer.line.write(Buffer.concat(Array.from({ length: draw.whole(10, 3_000) }, () => bytes)));
  peer.line.resume();
}

/** The tuple of a message with one item replaced. */
function oddMessage(draw: Draw): Uint8Array {
  const tuple = tupleOf(goodMessage(draw));
  return pack(draw.chance(0.9) ? altered(draw, tuple) : value(draw));
}

/** A text frame of one message. */
function textOf(tuple: unknown, body: string): string {
  return `${JSON.stringify([body.length, tuple])}\n${body}`;
}

/** A text frame of a message that a node could send, with a body of any kind. */
function goodText(draw: Draw): string {
  const message = goodMessage(draw);
  const json = () => JSON.stringify([draw.length(9), "x", { a: null }]);
  const body = draw.chance(0.5) ? json() : draw.pick(["", "null", "[[", '{"__proto__":1}', "[]"]);
  return textOf(tupleOf(message), bodyOf(message).length > 0 ? body : "");
}

/** A text frame that no node sends. */
function oddText(draw: Draw): string {
  return draw.pick([
    () => textOf(altered(draw, JSON.parse(JSON.stringify(tupleOf(goodMessage(draw))))), ""),
    () =>
      textOf(
        [0, 1, attackedKey(draw), "echo", 1_000, 0, null, []],
        "[".repeat(draw.length(70_000)),
      ),
    () => `[0,${"[".repeat(draw.length(100_000))}`,
    () => `[${"0,[3,1],".repeat(draw.length(40_000))}0,[3,1]]\n`,
    () => `[${draw.whole(-5, 400_000)},[3,1]]\n${"x".repeat(draw.length(300_000))}`,
    () => `{"length":2}\n`,
  ])();
}

/** Messages that a node could send, about resources that only hostile input uses. */
function goodMessage(draw: Draw): Message {
  const id = draw.whole(0, 20);
  return draw.weighted<() => Message>([
    [8, () => ({
      kind: "request",
      id,
      key: attackedKey(draw),
      method: draw.pick([
        "echo",
        "send",
        "history",
        "throws",
        "hangs",
        "$connect",
        "$events",
        "$replay",
        "$message",
        "$leave",
        "$prove",
        "constructor",
      ]),
      body: draw.chance(0.5) ? oddPack(draw) : pack([value(draw), value(draw)]),
      timeoutMs: draw.pick([0, 1, 1_000, 300_000, Number.MAX_SAFE_INTEGER]),
      epoch: draw.pick([0, 1, 2 ** 36, Number.MAX_SAFE_INTEGER]),
      idempotencyKey: draw.pick([null, "k", "x".repeat(300)]),
      chain: draw.chance(0.8)
        ? []
        : Array.from({ length: draw.length(2_000) }, (_, i) => `a/${i} 1.1`),
      callPath: draw.chance(0.6) ? null : {
        via: Array.from({ length: draw.whole(1, 5) }, (_, i) => `local/n${i}`),
        region: draw.pick([null, "local", "elsewhere", "\0"]),
        trace: draw.pick([null, "00-0-0-0", "x".repeat(5_000)]),
      },
      relay: draw.chance(0.2),
    })],
    [
      2,
      () => ({
        kind: "reply",
        id,
        epoch: draw.whole(0, 9),
        rrp: "rrp:local/x/a/b",
        passed: null,
        mark: null,
        body: oddPack(draw),
      }),
    ],
    [2, () => ({
      kind: "failure",
      id,
      error: [draw.pick(["app", "not_owner", "nothing"]), "x", true, false],
      owner: draw.pick([null, ["rrp:local/x/channels/a1", draw.uuid(), 7]]),
    })],
    [1, () => ({ kind: "cancel", id })],
    [1, () => ({ kind: "goodbye", id: 0 })],
    [2, () => ({ kind: "ping", id })],
    [6, () => ({
      kind: "process",
      id: 0,
      to: draw.pick(["", "authority", "broker", "exchange", "bootstrap", "listener", "x"]),
      from: draw.pick(["", "broker", "authority", "y"]),
      content: [draw.below(33), ...Array.from({ length: draw.below(6) }, () => value(draw))],
      body: draw.chance(0.2) ? oddPack(draw) : NO_BODY,
    })],
  ])();
}
