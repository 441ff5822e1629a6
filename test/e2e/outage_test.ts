/**
 * The registry's store is down for longer than a lease: owners serve calls that need no store until
 * their lease ends, then refuse; no lookup is confirmed without the store; once the store is back
 * all keys are served again, with all acknowledged writes.
 *
 * The Redis keeps every acknowledged write on disk (appendfsync always).
 */
import { afterEach, describe, expect, test } from "vitest";
import { redisMissing, startRedis, type TestRedis } from "../support/redis.ts";
import { type Answer, ask, call, result } from "./calls.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { checkHistory, startLoad } from "./load.ts";
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

/** One answer of a node during the outage. */
interface TimedAnswer {
  /** When it was requested, ms after the store was gone. */
  readonly at: number;
  readonly answer: Answer;
}

/** The answers of a cluster's nodes during an outage. */
interface OutageRecord {
  /** Calls that need no store, at the node that owns the resource. */
  readonly owners: TimedAnswer[];
  /** Lookups, at owners and elsewhere. */
  readonly lookups: TimedAnswer[];
  /** Lookups that require a confirmed owner. */
  readonly confirmed: TimedAnswer[];
  /** Calls that write, at owners and elsewhere. */
  readonly writes: TimedAnswer[];
}

/** Keeps asking all nodes until the outage is over. */
async function recordOutage(
  cluster: Cluster,
  since: number,
  isOver: () => boolean,
): Promise<OutageRecord> {
  const record: OutageRecord = { owners: [], lookups: [], confirmed: [], writes: [] };
  const repeat = async (
    answers: TimedAnswer[],
    pauseMs: number,
    request: () => Promise<Answer>,
  ) => {
    while (!isOver()) {
      const at = performance.now() - since;
      answers.push({ at, answer: await request() });
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  await Promise.all(cluster.nodes.flatMap(({ url }, place) => {
    const [mine, other] = [`own:${place}`, `own:${(place + 1) % 3}`];
    return [
      repeat(record.owners, 25, () => call(url, `channels/${mine}`, "whereami")),
      repeat(record.lookups, 100, () => ask(url, `/v1/resources/channels/${mine}`)),
      repeat(record.lookups, 100, () => ask(url, `/v1/resources/channels/${other}`)),
      repeat(
        record.confirmed,
        250,
        () => ask(url, `/v1/resources/channels/${other}?require=confirmed`),
      ),
      repeat(record.writes, 250, () => call(url, `channels/${other}`, "send", ["outage", "x"])),
    ];
  }));
  return record;
}

function checkRecord({ owners, lookups, confirmed, writes }: OutageRecord): void {
  // Calls that need no store are served, but not after the lease has ended.
  const served = owners.filter(({ answer }) => answer.status === 200);
  expect(served.length).toBeGreaterThan(3);
  for (const { at } of served) expect(at).toBeLessThan(LEASE_MS);
  const unavailable = { status: 503, body: { error: { code: "unavailable" } } };
  const afterLease = (answers: TimedAnswer[]) => answers.filter(({ at }) => at > LEASE_MS);
  expect(afterLease(owners).length).toBeGreaterThan(3);
  for (const { answer } of [...afterLease(owners), ...afterLease(writes)]) {
    expect(answer).toMatchObject(unavailable);
  }
  // A write fails as maybe executed, or was not begun.
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

describe("when the store is gone", () => {
  test.for(OUTAGES)(
    "because Redis is $how, nodes refuse after their lease, and serve again when it is back",
    { timeout: 180_000 },
    async (outage, { skip }) => {
      if (redisMissing) skip(redisMissing);
      redis = await startRedis({ durable: true });
      const cluster = await startCluster({
        registry: redis.url,
        runtimes: ["bun", "deno", "node"],
      });
      for (const [place, { url, line }] of cluster.nodes.entries()) {
        const at = await result<{ node: string }>(url, `channels/own:${place}`, "whereami");
        expect(at.node).toBe(line.node);
      }
      const load = startLoad({
        channel: "busy",
        callers: 10,
        urls: () => cluster.nodes.map(({ url }) => url),
      });
      await until(() => load.receipts.length >= 200, "calls before the outage", 40_000);

      await outage.begin(redis);
      const since = performance.now();
      const isOver = () => performance.now() - since > outage.lastsMs;
      checkRecord(await recordOutage(cluster, since, isOver));
      const promised = load.receipts.length;
      await outage.end(redis);

      await until(() => load.receipts.length >= promised + 200, "calls after the outage", 40_000);
      await load.finish();
      await servesAgain(cluster);
      await checkHistory((cluster.nodes[0] as NodeProcess).url, "busy", load.receipts);
    },
  );
});

/** Every node is ready, confirms lookups, and serves every resource; none was restarted. */
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
