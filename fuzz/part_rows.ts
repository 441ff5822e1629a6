/**
 * Invalid rows in the registry: members, owners, state, epoch and version counters. They never
 * touch the node's own membership or the well-behaved callers' key. Calls and listings read such
 * rows in between, and at the end another node must join.
 *
 * Membership and lookups are read from the registry alone: no store here uses published messages.
 */
import { type Answer, answersIn } from "./answers.ts";
import type { Attack, Part, Report, Sender } from "./attack.ts";
import { callHead } from "./heads.ts";
import { redisWriter } from "./rows_redis.ts";
import { sqliteWriter } from "./rows_sqlite.ts";
import type { Target } from "./target.ts";

/** Writes hostile rows into one kind of registry. */
export interface RowWriter {
  /** Writes a row about `key` or a member that doesn't exist; gives a description. */
  write(attack: Attack, key: string): Promise<string>;
  close(): void;
}

const ANSWER_MS = 4_000;

export const fileRows: Part = {
  name: "rows in SQLite",
  registry: "file",
  reaches: [200],
  begin: (target, report) => begin(target, report, sqliteWriter(target.file as string)),
};

export const redisRows: Part = {
  name: "rows in Redis",
  registry: "redis",
  reaches: [200],
  begin: async (target, report) =>
    begin(target, report, await redisWriter((target.redis as { url: string }).url)),
};

async function begin(target: Target, report: Report, writer: RowWriter): Promise<Sender> {
  return {
    send: (attack) => send(attack, writer, report),
    end: () => joinBeside(target, report),
    close: async () => writer.close(),
  };
}

async function send(attack: Attack, writer: RowWriter, report: Report): Promise<void> {
  const { draw } = attack;
  const key = `${draw.pick(["channels", "unruly"])}/a${draw.below(64)}`;
  attack.what = await writer.write(attack, key);
  await draw.weighted<() => Promise<unknown>>([
    [4, () =>
      ask(
        attack,
        callHead(key, draw.pick(["history", "send", "echo"]), [
          `Authorization: ${attack.target.authorization}`,
          "Content-Length: 9",
          "Atlas-Timeout-Ms: 2000",
        ]) + '["a","b"]',
      )],
    [2, () => get(attack, `/v1/resources/${key}?require=confirmed`)],
    [1, () => get(attack, `/v1/resources?prefix=rrp:&limit=${draw.pick([1, 10, 1_000])}`)],
    [1, async () => {
      const answer = await get(attack, "/v1/nodes");
      if (answer && answer.status !== 200) {
        report("nodes", `/v1/nodes answered ${answer.status} ${answer.body} after ${attack.what}`);
      }
    }],
  ])();
}

function get(attack: Attack, path: string): Promise<Answer | null> {
  const { authorization } = attack.target;
  return ask(
    attack,
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${authorization}\r\n\r\n`,
  );
}

async function ask(attack: Attack, text: string): Promise<Answer | null> {
  const line = await attack.say(text);
  await line.until((bytes) => answersIn(bytes).some(({ isWhole }) => isWhole), ANSWER_MS);
  return answersIn(line.bytes)[0] ?? null;
}

/** Another node must be able to join, whatever rows there are. */
async function joinBeside(target: Target, report: Report): Promise<void> {
  try {
    const node = await target.join("joiner");
    await node.kill();
  } catch (error) {
    report("join", `another node could not join: ${String(error).slice(0, 600)}`);
  }
}
