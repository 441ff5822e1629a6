/**
 * Claims and commits through an HTTP Redis that loses, repeats, delays and mangles a quarter of
 * all requests; then the content of Redis is compared with the answers.
 */
import { describe, expect, test } from "vitest";
import { upstashStore } from "../../adapters/store/open/upstash.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Store } from "../../src/ports/store.ts";
import { eventually, freshKey, freshMember } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { atRandom, FAULTS, randomOf } from "../upstash/faults.ts";
import { plain, RespConnection } from "../upstash/resp.ts";
import { startUpstash, type TestUpstash } from "../upstash/server.ts";
import { type Answers, nameOf, runRivals, traceOf } from "../upstash/rival_nodes.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

/**
 * Seeds that draw each fault among the first requests, at most half of the least number that the
 * steps need.
 */
const SEEDS = [15, 86, 48, 5];
const NODES = 4;
const STEPS = 30;

const cleanups = cleanupsAfterEach();

/** The data of one key in Redis itself. */
interface Truth {
  readonly key: string;
  /** `<epoch> <incarnation> …`, or null. */
  readonly own: string | null;
  readonly epoch: number;
  readonly fields: ReadonlyMap<string, string>;
}

async function setUpStore(): Promise<{ server: TestUpstash; direct: RespConnection }> {
  const redis = await startRedis();
  cleanups.push(() => redis.close());
  const server = await startUpstash(redis.port, { slowMs: 30, lateBy: 7 });
  cleanups.push(() => server.close());
  const direct = new RespConnection(redis.port);
  cleanups.push(() => direct.close());
  return { server, direct };
}

/** A store with a short timeout, so that hanging answers take little time. */
function opened(at: { url: string; token: string }): Promise<Store> {
  return eventually(() => upstashStore({ ...at, timeoutMs: 500 }));
}

async function truthOf(direct: RespConnection, key: string): Promise<Truth> {
  const slot = `atlas:{s${slotOf(key)}}`;
  const ask = async (...command: string[]) => plain(await direct.call(...command));
  const flat = await ask("HGETALL", `${slot}:state:${key}`) as string[];
  const fields = new Map<string, string>();
  for (let i = 0; i < flat.length; i += 2) fields.set(flat[i] as string, flat[i + 1] as string);
  return {
    key,
    own: await ask("GET", `${slot}:own:${key}`) as string | null,
    epoch: Number(await ask("GET", `${slot}:epoch`)),
    fields,
  };
}

warnIfRedisMissing("claims and commits through a faulty HTTP Redis");

describe("a quarter of all requests go wrong", unless(redisMissing), () => {
  test.each(SEEDS)("claims and commits, seed %i: every answer is true", async (seed) => {
    const { server, direct } = await setUpStore();
    const { url, token } = server;
    const stores = await Promise.all(
      Array.from({ length: NODES }, () => opened({ url, token })),
    );
    cleanups.push(() => Promise.all(stores.map((store) => store.close())));
    const kept = Array.from({ length: 3 }, () => freshKey());
    const released = Array.from({ length: 3 }, () => freshKey());
    server.faults = atRandom(seed, 0.25);
    const random = randomOf(seed + 1_000);
    const answers = await runRivals({ stores, kept, released, steps: STEPS, random });
    server.faults = () => null;
    server.release();

    for (const fault of FAULTS) expect(server.played.get(fault) ?? 0, fault).toBeGreaterThan(0);
    expect(answers.strange).toEqual([]);
    expect(answers.unavailable).toBeGreaterThan(0);
    expect(answers.wins.length).toBeGreaterThan(10);
    expect(answers.acknowledged.length).toBeGreaterThan(50);
    expect(answers.falselyAbsent).toEqual([]);
    checkWins(answers, kept);
    const truths = await Promise.all(
      [...kept, ...released].map((key) => truthOf(direct, key)),
    );
    for (const truth of truths) {
      checkOwner(answers, truth, kept.includes(truth.key));
      checkState(answers, truth);
    }
  });

  test("members: each answer agrees with the membership in Redis", async () => {
    const { server, direct } = await setUpStore();
    const { url, token } = server;
    const store = await opened({ url, token });
    cleanups.push(() => store.close());
    server.faults = atRandom(42, 0.25);
    const lives = await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      const info = freshMember();
      const answered = <T>(step: () => Promise<T>) => eventually(async () => await step());
      const { outcome } = await answered(() => store.register(info, { ifFree: true }));
      expect(outcome).toBe("registered");
      for (let seq = 1; seq <= 8; seq++) {
        const reply = await answered(() => store.renew(info.incarnation, seq, [info.incarnation]));
        expect(reply.outcome).toBe("renewed");
        expect(reply.watched).toEqual([{ incarnation: info.incarnation, seq, state: "live" }]);
      }
      if (i % 3 === 1) {
        expect(await answered(() => store.kill(info.incarnation, 7).then(String))).toBe("live");
        expect(await answered(() => store.kill(info.incarnation, 8).then(String))).toBe("dead");
      }
      if (i % 3 === 2) await answered(() => store.leave(info).then(() => true));
      return { info, state: ["live", "dead", "left"][i % 3] as string };
    }));
    server.faults = () => null;
    const { members } = await eventually(() => store.members());
    const byIncarnation = new Map(members.map((member) => [member.incarnation, member]));
    expect(byIncarnation.size).toBe(lives.length);
    for (const { info, state } of lives) {
      expect(byIncarnation.get(info.incarnation)).toMatchObject({ seq: 8, state, node: info.node });
    }
    const names = plain(await direct.call("HLEN", "atlas:{members}:name"));
    expect(names).toBe(lives.filter(({ state }) => state === "live").length);
  });
});

/** No epoch of a key has two winners, no claim won twice, and no owner has two successors. */
function checkWins({ wins }: Answers, kept: readonly string[]): void {
  const epochs = new Set(wins.map(({ claim, owner }) => `${claim.key} ${owner.epoch}`));
  expect(epochs.size).toBe(wins.length);
  expect(new Set(wins.map(({ claim }) => claim.opId)).size).toBe(wins.length);
  // If a key is never released, it is claimed as unowned only once.
  const followed = wins.filter(({ claim }) => claim.expected !== null || kept.includes(claim.key))
    .map(({ claim: { key, expected } }) => `${key} ${expected?.epoch} ${expected?.incarnation}`);
  expect(new Set(followed).size).toBe(followed.length);
}

/** The current owner was never fenced, and has the highest epoch that won. */
function checkOwner({ wins, fenced }: Answers, { key, own, epoch }: Truth, isKept: boolean): void {
  const won = wins.filter(({ claim }) => claim.key === key).map(({ owner }) => owner.epoch);
  const standing = own === null ? null : Number(own.split(" ")[0]);
  expect(Math.max(0, ...won)).toBeLessThanOrEqual(epoch);
  if (isKept) expect(standing).toBeGreaterThanOrEqual(Math.max(0, ...won));
  for (const lost of fenced.filter((it) => it.key === key)) {
    expect(own?.startsWith(`${lost.owner.epoch} ${lost.owner.incarnation} `) ?? false).toBe(false);
  }
}

/** Every acknowledged commit is in the state once, by its own owner and in order. */
function checkState({ acknowledged, sent, wins }: Answers, { key, fields }: Truth): void {
  const mine = acknowledged.filter((commit) => commit.key === key);
  for (const commit of mine) {
    expect(fields.get(`:${nameOf(commit)}`), nameOf(commit)).toBe(commit.incarnation);
  }
  const turns = new Map<number, number[]>();
  for (const [field, incarnation] of fields) {
    const [, epoch, turn] = /^:done:(\d+):(\d+)$/.exec(field) ?? [];
    if (epoch === undefined) continue;
    expect(sent.get(`${key} ${field.slice(1)}`)?.incarnation).toBe(incarnation);
    turns.set(Number(epoch), [...turns.get(Number(epoch)) ?? [], Number(turn)]);
  }
  const winners = new Map(
    wins.filter(({ claim }) => claim.key === key).map((
      { owner },
    ) => [owner.epoch, owner.incarnation]),
  );
  for (const [epoch, applied] of turns) {
    expect(winners.has(epoch)).toBe(true);
    const sorted = applied.toSorted((a, b) => a - b);
    expect(sorted).toEqual(sorted.map((_, i) => i + 1));
    // If a turn had been applied again after the next one, its trace field would be back.
    const traces = [...fields.keys()].filter((field) => field.startsWith(`:trace:${epoch}:`));
    expect(traces).toEqual([`:${traceOf({ epoch, turn: sorted.length })}`]);
  }
  const latest = Math.max(0, ...turns.keys());
  if (latest > 0) expect(fields.get(":last")).toBe(`${latest} ${turns.get(latest)?.length}`);
}
