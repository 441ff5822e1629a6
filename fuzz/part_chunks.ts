/**
 * Hostile chunked bodies: invalid sizes, endless extensions and trailers, thousands of tiny chunks,
 * wrong lengths. Source: RFC 9112 §7.1.
 */
import type { Attack, Part } from "./attack.ts";
import type { Draw } from "./draw.ts";
import { attackedKey, callHead } from "./heads.ts";
import { oddJson } from "./values.ts";

const ANSWER_MS = 1_500;
/** Bytes of one endless element, at most. */
const ENDLESS = 2_000_000;

export const chunks: Part = {
  name: "chunks",
  registry: "file",
  reaches: [200, 400],
  begin: async () => ({ send }),
};

async function send(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  const [what, body] = attack.isSlow ? ["a trickle of chunks", ""] : oddBody(draw);
  attack.what = what;
  const head = callHead(attackedKey(draw), draw.pick(["echo", "send", "nothing"]), [
    draw.chance(0.9) ? `Authorization: ${target.authorization}` : "X-None: 1",
    draw.chance(0.9)
      ? "Transfer-Encoding: chunked"
      : `Transfer-Encoding: ${
        draw.pick(["gzip, chunked", "chunked, gzip", "chunked;q=1", "chunked\t"])
      }`,
    ...draw.chance(0.05) ? ["Content-Length: 4"] : [],
    ...draw.chance(0.1) ? ["Trailer: Authorization, Content-Length"] : [],
    ...draw.chance(0.1) ? ["Expect: 100-continue"] : [],
    "Atlas-Timeout-Ms: 2000",
  ]);
  const line = await attack.say(head);
  if (attack.isSlow) {
    const restMs = draw.pick([20, 300, 5_000]);
    while (!attack.isLate && !line.isOver && await line.write("1\r\n[\r\n")) {
      await line.over(restMs);
    }
    return;
  }
  const bytes = Buffer.from(body, "latin1");
  // In one write, or in several.
  for (let at = 0; at < bytes.length && !line.isOver;) {
    const end = draw.chance(0.6) ? bytes.length : at + draw.whole(1, bytes.length);
    if (!await line.write(bytes.subarray(at, end))) break;
    at = end;
  }
  if (draw.chance(0.15)) line.half();
  await line.until((answer) => answer.includes("\r\n\r\n"), ANSWER_MS);
}

function oddBody(draw: Draw): [what: string, body: string] {
  const content = oddJson(draw).toString("latin1");
  const size = content.length.toString(16);
  const good = `${size}\r\n${content}\r\n0\r\n\r\n`;
  return draw.pick<() => [string, string]>([
    () => ["one good chunk", good],
    () => ["mutated chunks", draw.mutated(Buffer.from(good, "latin1")).toString("latin1")],
    () => [
      "a size that is none",
      `${
        draw.pick([
          "-1",
          "0x5",
          "+5",
          " 5",
          "g",
          "",
          "ffffffffffffffff",
          "7fffffff",
          "1".repeat(40),
          "5_0",
        ])
      }` +
      `\r\n${content}\r\n0\r\n\r\n`,
    ],
    () => [
      "a long extension",
      `${size};${"x".repeat(draw.length(ENDLESS))}\r\n${content}\r\n0\r\n\r\n`,
    ],
    () => [
      "many extensions",
      `${size}${";a=b".repeat(draw.length(100_000))}\r\n${content}\r\n0\r\n\r\n`,
    ],
    () => ["an extension at each chunk", "1;a=bcdefgh\r\n[\r\n".repeat(draw.length(60_000))],
    () => ["tiny chunks", "1\r\n[\r\n".repeat(draw.length(60_000)) + "0\r\n\r\n"],
    () => [
      "long trailers",
      `${size}\r\n${content}\r\n0\r\n${"X: y\r\n".repeat(draw.length(300_000))}`,
    ],
    () => [
      "one long trailer",
      `${size}\r\n${content}\r\n0\r\nX: ${"y".repeat(draw.length(ENDLESS))}\r\n\r\n`,
    ],
    () => ["an invalid trailer", `${size}\r\n${content}\r\n0\r\n: x\r\n\0\r\n\r\n`],
    () => [
      "more than was declared",
      `${(content.length >> 1).toString(16)}\r\n${content}\r\n0\r\n\r\n`,
    ],
    () => [
      "less than was declared",
      `${(content.length + 9).toString(16)}\r\n${content}\r\n0\r\n\r\n`,
    ],
    () => ["bare line feeds", good.replaceAll("\r\n", "\n")],
    () => ["no end", `${size}\r\n${content}\r\n`],
    () => ["too much in total", `10000\r\n${"x".repeat(65_536)}\r\n`.repeat(draw.whole(15, 40))],
    () => ["a request behind the last chunk", `${good}GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n`],
    () => [
      "zeros before the size",
      `${"0".repeat(draw.length(10_000))}${size}\r\n${content}\r\n0\r\n\r\n`,
    ],
  ])();
}
