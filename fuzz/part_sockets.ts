/**
 * Hostile client sockets and sockets that claim to be links: odd headers, protocol violations,
 * floods that are not read, ignored closes, and well-formed frames with invalid content.
 */
import type { Attack, Part } from "./attack.ts";
import type { Draw } from "./draw.ts";
import {
  BINARY,
  closeFrame,
  CONTINUATION,
  frame,
  oddFrames,
  oddUpgrade,
  PING,
  PONG,
  TEXT,
  upgrade,
} from "./frames.ts";
import { attackedKey } from "./heads.ts";
import type { RawConnection } from "./lines.ts";
import { oddText } from "./rows_values.ts";
import { oddJson, oddPack, value } from "./values.ts";

const ANSWER_MS = 1_500;

export const sockets: Part = {
  name: "sockets",
  registry: "file",
  reaches: [101],
  begin: async () => ({ send }),
};

async function send(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  const path = draw.weighted([
    [8, `/v1/connect/${attackedKey(draw)}`],
    [2, "/atlas/link"],
    [1, `/v1/connect/${attackedKey(draw)}?after=${draw.pick(["0", "9".repeat(16), "-1", "x"])}`],
    [
      1,
      `/v1/connect/${attackedKey(draw)}?connection=${
        encodeURIComponent(oddText(draw).slice(0, 300).toWellFormed())
      }`,
    ],
  ]);
  const packed = draw.chance(0.3);
  const lines = [`Authorization: ${target.authorization}`];
  if (draw.chance(0.2)) {
    attack.what = "an odd upgrade request";
    const line = await attack.say(oddUpgrade(draw, path, draw.chance(0.8) ? lines : []));
    await line.over(ANSWER_MS / 3);
    return;
  }
  if (packed) lines.push("Sec-WebSocket-Protocol: atlas.msgpack");
  const line = await attack.say(upgrade(path, lines));
  // Some inputs don't wait for the answer.
  if (draw.chance(0.9) && !await line.until((bytes) => bytes.includes("\r\n\r\n"), ANSWER_MS)) {
    return;
  }
  await act(attack, line, packed);
}

async function act(attack: Attack, line: RawConnection, packed: boolean): Promise<void> {
  const { draw } = attack;
  if (attack.isSlow) {
    await draw.pick([endless, silent, deaf])(attack, line);
    return;
  }
  await draw.weighted<(attack: Attack, line: RawConnection, packed: boolean) => Promise<void>>([
    [8, odd],
    [8, content],
    [3, flood],
    [2, fragments],
    [2, deaf],
    [1, unread],
    [1, abrupt],
  ])(attack, line, packed);
}

/** Frames that violate the protocol; the node's answers are ignored. */
async function odd(attack: Attack, line: RawConnection): Promise<void> {
  const { draw } = attack;
  const names: string[] = [];
  for (let left = draw.whole(1, 3); left > 0; left--) {
    const { what, bytes } = oddFrames(draw);
    names.push(what);
    if (!await line.write(bytes)) break;
  }
  attack.what = `frames: ${names.join("; ")}`;
  await line.over(ANSWER_MS / 3);
}

/** Well-formed frames with invalid content. */
async function content(attack: Attack, line: RawConnection, packed: boolean): Promise<void> {
  const { draw } = attack;
  attack.what = `content in ${packed ? "MessagePack" : "JSON"}`;
  for (let left = draw.whole(1, 12); left > 0; left--) {
    const payload = draw.chance(0.3)
      ? (packed ? oddPack(draw) : oddJson(draw))
      : messageBytes(draw, packed);
    if (
      !await line.write(
        frame(payload, { opcode: packed ? BINARY : draw.pick([TEXT, TEXT, BINARY]) }),
      )
    ) break;
  }
  await line.over(draw.whole(20, ANSWER_MS));
}

/** Frames that a client may send, some of them invalid. */
function messageBytes(draw: Draw, packed: boolean): Buffer {
  const odd = <T>(good: T): unknown => draw.chance(0.25) ? value(draw) : good;
  const said: Record<string, unknown> = draw.chance(0.4)
    ? { t: odd("message"), data: odd({ from: "a", text: "b" }) }
    : {
      t: odd("call"),
      id: odd(draw.whole(0, 9)),
      method: odd(draw.pick(["echo", "send", "history", "throws", "$connect", "constructor"])),
      args: odd([1]),
      timeoutMs: odd(1_000),
      ...draw.chance(0.2) && { idempotencyKey: odd("k") },
    };
  if (draw.chance(0.1)) delete said[draw.pick(Object.keys(said))];
  // Values that JSON can't express are not the node's fault.
  const text = JSON.stringify(said);
  return packed
    ? Buffer.concat([Buffer.from([0xd9, Math.min(255, text.length)]), Buffer.from(text)])
    : Buffer.from(text);
}

/** More frames than the node reads. */
async function flood(attack: Attack, line: RawConnection, packed: boolean): Promise<void> {
  const { draw } = attack;
  const [what, one] = draw.pick<() => [string, Buffer]>([
    () => ["pings", frame(draw.bytes(draw.below(126)), { opcode: PING })],
    () => ["pongs", frame("x", { opcode: PONG })],
    () => ["empty texts", frame("", { opcode: TEXT })],
    () => ["calls", frame(messageBytes(draw, packed), { opcode: packed ? BINARY : TEXT })],
    () => ["messages", frame('{"t":"message","data":{"from":"a","text":"b"}}', { opcode: TEXT })],
    () => [
      "calls with large answers",
      frame('{"t":"call","id":1,"method":"answersTooMuch"}', { opcode: TEXT }),
    ],
  ])();
  const count = draw.whole(10, 3_000);
  const reads = draw.chance(0.5);
  attack.what = `${count} ${what}, answers ${reads ? "read" : "never read"}`;
  if (!reads) line.pause();
  await line.write(Buffer.concat(Array.from({ length: count }, () => one)));
  await line.over(draw.whole(0, ANSWER_MS));
  line.resume();
}

/** One message in many fragments that ends too late, or never. */
async function fragments(attack: Attack, line: RawConnection): Promise<void> {
  const { draw } = attack;
  const size = draw.pick([0, 1, 100, 65_536]);
  const count = Math.min(draw.whole(10, 20_000), size > 0 ? Math.ceil(9_000_000 / size) : 20_000);
  attack.what = `${count} fragments of ${size} bytes`;
  await line.write(frame("[", { opcode: draw.pick([TEXT, BINARY]), fin: false }));
  const one = frame(Buffer.alloc(size, "1"), { opcode: CONTINUATION, fin: false });
  const batch = Buffer.concat(Array.from({ length: Math.max(1, Math.min(count, 100)) }, () => one));
  for (let sent = 0; sent < count && !line.isOver; sent += 100) {
    if (!await line.write(batch)) break;
  }
  if (draw.chance(0.3)) await line.write(frame("", { opcode: CONTINUATION }));
  await line.over(ANSWER_MS / 2);
}

/** Endless fragments, until the node closes the connection. */
async function endless(attack: Attack, line: RawConnection): Promise<void> {
  attack.what = "endless fragments";
  await line.write(frame("[", { opcode: BINARY, fin: false }));
  const one = frame(Buffer.alloc(65_536, "1"), { opcode: CONTINUATION, fin: false });
  for (let left = 8_000; left > 0 && !attack.isLate && !line.isOver; left--) {
    if (!await line.write(one)) break;
    await attack.rest(5);
  }
}

/** Sends nothing, not even pongs. */
async function silent(attack: Attack, line: RawConnection): Promise<void> {
  attack.what = "a socket that never answers a ping";
  while (!attack.isLate && !line.isOver) await line.over(1_000);
}

/** Goes on after a close frame, the node's or its own. */
async function deaf(attack: Attack, line: RawConnection): Promise<void> {
  const { draw } = attack;
  const saysSo = draw.chance(0.5);
  attack.what = `a socket that goes on after ${saysSo ? "its own" : "the node's"} close`;
  await line.write(saysSo ? closeFrame(1_000) : frame("{", { opcode: TEXT }));
  const one = frame("x".repeat(10_000), { opcode: TEXT });
  for (let left = attack.isSlow ? 2_000 : 50; left > 0 && !attack.isLate && !line.isOver; left--) {
    if (!await line.write(one)) break;
    await line.over(attack.isSlow ? 100 : 20);
  }
}

/** A listener that never reads, while others cause many events. */
async function unread(attack: Attack, line: RawConnection): Promise<void> {
  attack.what = "a listener that never reads";
  line.pause();
  const other = await attack.say(upgrade("/v1/connect/channels/a1", [
    `Authorization: ${attack.target.authorization}`,
  ]));
  const text = "x".repeat(100_000);
  const one = frame(JSON.stringify({ t: "message", data: { from: "a", text } }), { opcode: TEXT });
  for (let left = 60; left > 0 && !other.isOver; left--) if (!await other.write(one)) break;
  await attack.rest(ANSWER_MS);
}

/** A connection that ends within a frame. */
async function abrupt(attack: Attack, line: RawConnection): Promise<void> {
  attack.what = "a connection that ends within a frame";
  const bytes = frame("x".repeat(5_000), { opcode: TEXT });
  await line.write(bytes.subarray(0, attack.draw.below(bytes.length)));
  if (attack.draw.chance(0.5)) line.reset();
  else line.half();
  await line.over(ANSWER_MS / 2);
}
