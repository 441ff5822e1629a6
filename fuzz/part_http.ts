/**
 * Hostile HTTP: fragmented and slow heads and bodies, pipelines, wrong lengths, and connections
 * half closed or reset at any point.
 */
import type { Attack, Part } from "./attack.ts";
import { attackedKey, callHead, goodTarget, lengthLines, oddHead } from "./heads.ts";
import { oddJson, oddPack } from "./values.ts";

/** How long an answer is awaited, in ms: a bad request is often answered by a close. */
const ANSWER_MS = 1_500;

export const http: Part = {
  name: "http",
  registry: "file",
  reaches: [200, 400, 404],
  begin: async () => ({ send }),
};

const isAnswered = (bytes: Buffer): boolean => bytes.includes("\r\n\r\n");

async function send(attack: Attack): Promise<void> {
  if (attack.isSlow) return await trickle(attack);
  await attack.draw.weighted([
    [10, odd],
    [4, mutated],
    [8, body],
    [3, pipeline],
    [3, early],
    [2, noise],
    [1, burst],
  ])(attack);
}

/** One odd head, in one write. */
async function odd(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  attack.what = "an odd head";
  const content = draw.chance(0.5) ? oddJson(draw) : Buffer.alloc(0);
  const line = await attack.say(Buffer.concat([
    Buffer.from(oddHead(draw, content.length, target.authorization), "latin1"),
    content,
  ]));
  if (draw.chance(0.2)) line.half();
  await line.until(isAnswered, draw.chance(0.8) ? ANSWER_MS / 5 : ANSWER_MS);
}

/** A valid request with faults in its bytes. */
async function mutated(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  attack.what = "a request with mutated bytes";
  const head = draw.chance(0.5)
    ? callHead(attackedKey(draw), "echo", [
      `Authorization: ${target.authorization}`,
      "Content-Type: application/json",
      "Content-Length: 3",
    ]) + "[1]"
    : `GET ${goodTarget(draw)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
  const line = await attack.say(draw.mutated(Buffer.from(head, "latin1")));
  await line.until(isAnswered, ANSWER_MS / 5);
}

/** A call with an invalid body. */
async function body(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  const inJson = draw.chance(0.6);
  attack.what = `a body in ${inJson ? "JSON" : "MessagePack"}`;
  const content = inJson ? oddJson(draw) : oddPack(draw);
  const method = draw.weighted([[8, "echo"], [2, "send"], [1, "answersTooMuch"], [1, "throws"], [
    1,
    draw.pick(["constructor", "$connect", "onStart", "__proto__", "answersDepth", "hangs"]),
  ]]);
  const line = await attack.say(Buffer.concat([
    Buffer.from(callHead(attackedKey(draw), method, [
      `Authorization: ${target.authorization}`,
      `Content-Type: application/${inJson ? "json" : "msgpack"}`,
      `Accept: application/${draw.chance(0.5) ? "json" : "msgpack"}`,
      "Atlas-Timeout-Ms: 1500",
      ...lengthLines(draw, content.length),
    ])),
    content,
  ]));
  if (draw.chance(0.1)) line.half();
  await line.until(isAnswered, ANSWER_MS);
}

/** Many requests at once, whose answers are read slowly or never. */
async function pipeline(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  const count = draw.whole(2, 400);
  const reads = draw.chance(0.5);
  attack.what = `${count} requests at once, answers ${reads ? "read" : "never read"}`;
  const path = draw.pick(["/metrics", "/healthz", `/v1/resources/${attackedKey(draw)}/history`]);
  const one = path.endsWith("history")
    ? callHead(attackedKey(draw), "answersTooMuch", [
      `Authorization: ${target.authorization}`,
      "Content-Length: 2",
    ]) + "[]"
    : `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
  const line = attack.open();
  if (!reads) line.pause();
  await line.write(one.repeat(count));
  await line.over(reads ? ANSWER_MS : draw.whole(0, 4_000));
  if (draw.chance(0.3)) line.resume();
}

/** A request that is cut off at any point, by closing its connection. */
async function early(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  attack.what = "a request that ends early";
  const content = oddJson(draw);
  const whole = Buffer.concat([
    Buffer.from(callHead(attackedKey(draw), "echo", [
      `Authorization: ${target.authorization}`,
      `Content-Length: ${content.length}`,
    ])),
    content,
  ]);
  const line = await attack.say(whole.subarray(0, draw.below(whole.length + 1)));
  await draw.pick([
    async () => line.reset(),
    async () => line.close(),
    async () => {
      line.half();
      await line.over(ANSWER_MS);
    },
    async () => void await line.over(ANSWER_MS),
  ])();
}

/** Bytes that are not HTTP. */
async function noise(attack: Attack): Promise<void> {
  const { draw } = attack;
  attack.what = "bytes that are not HTTP";
  const line = await attack.say(
    draw.pick([
      () => draw.bytes(draw.length(70_000)),
      () => Buffer.from("1603010200010001fc0303", "hex"),
      () => Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      () => Buffer.alloc(draw.length(300_000), draw.pick(["A", "\r\n", "\n", "\0", " ", "GET "])),
    ])(),
  );
  await line.over(ANSWER_MS / 3);
}

/** Many connections that send a little and are reset. */
async function burst(attack: Attack): Promise<void> {
  const { draw } = attack;
  const count = draw.whole(2, 40);
  attack.what = `${count} connections at once`;
  const lines = Array.from({ length: count }, () => attack.open());
  await Promise.all(
    lines.map((line) =>
      line.write(
        draw.pick(["", "G", "GET / HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"]),
      )
    ),
  );
  await attack.rest(draw.whole(0, 500));
}

/** A head or body sent slowly, byte by byte, until the node closes the connection. */
async function trickle(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  const inBody = draw.chance(0.5);
  attack.what = `a trickle of ${inBody ? "a body" : "a head"}`;
  const head = callHead(attackedKey(draw), "echo", [
    `Authorization: ${target.authorization}`,
    "Content-Length: 1000000",
  ]);
  const line = await attack.say(inBody ? head : head.slice(0, 30));
  const restMs = draw.pick([50, 500, 3_000, 20_000]);
  while (!attack.isLate && !line.isOver && await line.write(inBody ? "[" : "x")) {
    await line.over(restMs);
  }
}
