/**
 * The registry's store is down for longer than a lease: owners serve calls that need no store
 * until their lease ends, then refuse; no lookup claims more than is known; once the store is back
 * everything serves again, and acknowledged writes are there.
 *
 * The Redis keeps every acknowledged write on disk (appendfsync always).
 */
import { afterEach, describe, expect, test } from "vitest";
import { redisMissing, startRedis, type TestRedis } from "../support/redis.ts";
import { type Answer, ask, call, result } from "./calls.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { checkLedger, startLoad } from "./load.ts";
import { endAll, type NodeProcess } from "./process.ts";
import { until } from "../support/until.ts";

/** The lease of `fast`, in ms. */
const LEASE_MS = 3_000;

let redis: TestRedis | null = null;
afterEach(async () => {
  await endAll();
  await redis?.close();
  redis = null;
});

/** One look at a node during the outage. */
interface Look {
  /** When the question was asked, ms after the store was gone. */
  readonly at: number;
  readonly answer: Answer;
}

/** What the nodes of a cluster said during an outage. */
interface Diary {
  /** Calls that need no store, of a resource at the very node that owns it. */
  readonly owners: Look[];
  /** Lookups, at owners and elsewhere. */
  readonly lookups: Look[];
  /** Lookups that insisted on being confirmed. */
  readonly confirmed: Look[];
  /** Calls that write, at owners and elsewhere. */
  readonly writes: Look[];
}

/** Keeps asking all nodes until the outage is over. */
async function keepDiary(
  cluster: Cluster,
  since: number,
  isOver: () => boolean,
): Promise<Diary> {
  const diary: Diary = { owners: [], lookups: [], confirmed: [], writes: [] };
  const repeat = async (looks: Look[], pauseMs: number, look: () => Promise<Answer>) => {
    while (!isOver()) {
      const at = performance.now() - since;
      looks.push({ at, answer: await look() });
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  await Promise.all(cluster.nodes.flatMap(({ url }, place) => {
    const [mine, other] = [`own:${place}`, `own:${(place + 1) % 3}`];
    return [
      repeat(diary.owners, 25, () => call(url, `channels/${mine}`, "whereami")),
      repeat(diary.lookups, 100, () => ask(url, `/v1/resources/channels/${mine}`)),
      repeat(diary.lookups, 100, () => ask(url, `/v1/resources/channels/${other}`)),
      repeat(
        diary.confirmed,
        250,
        () => ask(url, `/v1/resources/channels/${other}?require=confirmed`),
      ),
      repeat(diary.writes, 250, () => call(url, `channels/${other}`, "send", ["diary", "x"])),
    ];
  }));
  return diary;
}

function checkDiary({ owners, lookups, confirmed, writes }: Diary): void {
  // What needs no store is served, but not a moment past the lease.
  const served = owners.filter(({ answer }) => answer.status === 200);
  expect(served.length).toBeGreaterThan(3);
  for (const { at } of served) expect(at).toBeLessThan(LEASE_MS);
  const unavailable = { status: 503, body: { error: { code: "unavailable" } } };
  const afterLease = (looks: Look[]) => looks.filter(({ at }) => at > LEASE_MS);
  expect(afterLease(owners).length).toBeGreaterThan(3);
  for (const { answer } of [...afterLease(owners), ...afterLease(writes)]) {
    expect(answer).toMatchObject(unavailable);
  }
  // What was written into the void is told to be of unknown outcome, or was never begun.
  for (const { answer } of writes) expect(answer.status).not.toBe(200);
  for (const { answer: { status, body } } of lookups) {
    expect(status).toBe(200);
    expect(body.verdict).toMatch(/^(?:cached|suspect)$/);
  }
  expect(afterLease(lookups).length).toBeGreaterThan(3);
  for (const { answer } of afterLease(lookups)) expect(answer.body.verdict).toBe("suspect");
  for (const { answer } of confirmed) expect(answer).toMatchObject(unavailable);
}

interface Outage {
  how: string;
  lastsMs: number;
  begin(redis: TestRedis): Promise<void>;
  end(redis: TestRedis): Promise<void>;
}

const OUTAGES: Outage[] = [
  {
    how: "killed and started again after 30 s",
    lastsMs: 30_000,
    begin: (redis) => redis.kill(),
    end: (redis) => redis.restart(),
  },
  {
    how: "frozen for 10 s",
    lastsMs: 10_000,
    begin: async (redis) => redis.freeze(),
    end: async (redis) => redis.thaw(),
  },
];

describe("the store is gone", () => {
  test.for(OUTAGES)("Redis $how", { timeout: 180_000 }, async (outage, { skip }) => {
    if (redisMissing) skip(redisMissing);
    redis = await startRedis({ durable: true });
    const cluster = await startCluster({ registry: redis.url, runtimes: ["bun", "deno", "node"] });
    for (const [place, { url, line }] of cluster.nodes.entries()) {
      const at = await result<{ node: string }>(url, `channels/own:${place}`, "whereami");
      expect(at.node).toBe(line.node);
    }
    const load = startLoad({
      channel: "busy",
      callers: 10,
      doors: () => cluster.nodes.map(({ url }) => url),
    });
    await until(() => load.receipts.length >= 200, "calls before the outage", 40_000);

    await outage.begin(redis);
    const since = performance.now();
    const isOver = () => performance.now() - since > outage.lastsMs;
    checkDiary(await keepDiary(cluster, since, isOver));
    const promised = load.receipts.length;
    await outage.end(redis);

    await until(() => load.receipts.length >= promised + 200, "calls after the outage", 40_000);
    await load.finish();
    await servesAgain(cluster);
    await checkLedger((cluster.nodes[0] as NodeProcess).url, "busy", load.receipts);
  });
});

/** Every node is ready, confirms, and takes calls of every resource; none was restarted. */
async function servesAgain({ nodes }: Cluster): Promise<void> {
  for (const { url } of nodes) {
    await until(async () => (await ask(url, "/readyz")).status === 200, "every node is ready");
    for (const place of nodes.keys()) {
      await result(url, `channels/own:${place}`, "send", ["after", url]);
      await until(async () => {
        const { body } = await ask(url, `/v1/resources/channels/own:${place}?require=confirmed`);
        return body.verdict === "confirmed";
      }, "lookups are confirmed");
    }
  }
}
