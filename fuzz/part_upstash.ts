/**
 * A registry at an HTTP endpoint that alternates between wrong and right replies, while calls of
 * many keys query it. The lease may lapse and calls may fail during that; the node must stay within
 * its bounds and serve again afterwards.
 */
import { answersIn } from "./answers.ts";
import type { Attack, Part, Report, Sender } from "./attack.ts";
import { RECOVER_MS } from "./bounds.ts";
import { attackedKey, callHead } from "./heads.ts";
import type { LyingUpstash } from "./lying_upstash.ts";
import type { Target } from "./target.ts";

/** The durations of wrong and of right replies, in ms. */
const LIES_MS = 4_000;
const TRUTH_MS = 2_500;
const ANSWER_MS = 3_000;

export const upstash: Part = {
  name: "upstash",
  registry: "upstash",
  reaches: [200],
  liesOfRegistry: true,
  ownConnections: 64,
  begin,
};

async function begin(target: Target, report: Report): Promise<Sender> {
  const endpoint = target.upstash as LyingUpstash;
  let timer: ReturnType<typeof setTimeout>;
  const turn = (): void => {
    endpoint.isLying = !endpoint.isLying;
    timer = setTimeout(turn, endpoint.isLying ? LIES_MS : TRUTH_MS);
  };
  turn();
  return {
    send,
    async end() {
      clearTimeout(timer);
      endpoint.isLying = false;
      await recover(target, report);
      const kinds = [...new Set(endpoint.followed)].join("; ");
      const count = endpoint.followed.length;
      if (count > 0) report("redirect", `${count} redirects were followed: ${kinds}`);
    },
  };
}

async function send(attack: Attack): Promise<void> {
  const { draw, target } = attack;
  attack.what = "a call while the registry gives wrong replies";
  const key = attackedKey(draw);
  const head = `Host: 127.0.0.1\r\nAuthorization: ${target.authorization}\r\n\r\n`;
  const line = await attack.say(
    draw.pick([
      () =>
        callHead(key, "send", [
          `Authorization: ${target.authorization}`,
          "Content-Length: 9",
          "Atlas-Timeout-Ms: 2000",
        ]) + '["a","b"]',
      () => `GET /v1/resources/${key}?require=confirmed HTTP/1.1\r\n${head}`,
      () => `GET /v1/nodes HTTP/1.1\r\n${head}`,
      () => `GET /v1/resources?prefix=rrp:&limit=100 HTTP/1.1\r\n${head}`,
    ])(),
  );
  await line.until((bytes) => answersIn(bytes).some(({ isWhole }) => isWhole), ANSWER_MS);
}

/** Waits until the node serves a new key. */
async function recover({ node, authorization }: Target, report: Report): Promise<void> {
  const giveUp = performance.now() + RECOVER_MS;
  let last = "nothing";
  let isOver = false;
  void node.ended.then(() => isOver = true);
  do {
    try {
      const answer = await fetch(`${node.url}/v1/resources/channels/afterwards/send`, {
        method: "POST",
        body: '["a","b"]',
        headers: { authorization },
        signal: AbortSignal.timeout(5_000),
      });
      last = `${answer.status} ${await answer.text()}`;
      if (answer.status === 200) return;
    } catch (error) {
      last = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (isOver) return;
  } while (performance.now() < giveUp);
  report("recovery", `${RECOVER_MS} ms after the last wrong reply a call is answered with ${last}`);
}
