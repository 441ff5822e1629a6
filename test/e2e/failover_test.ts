/**
 * A real Redis primary is killed under load, and a replica promoted: real nodes of all runtimes
 * continue with the copy. No key has two owners; writes that the copy lacks are reported by their
 * owner, and nothing else is missing; keys can be claimed again once no earlier lease can still be
 * valid.
 *
 * The bounds are the protocol's: claims wait W (≈ 3.3 s of a `fast` lease, 6.5 s of a `standard`
 * one) from when a node first sees the copy, and a claim that waited is tried again within half a
 * second, or as soon as a busy machine gets to it.
 */
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { EPOCHS_PER_TERM } from "../../src/limits.ts";
import { timing } from "../../src/registry/lease.ts";
import { Route, startDelayProxy } from "../support/delay_proxy.ts";
import { startForwarder } from "../support/forwarder.ts";
import {
  awaitReply,
  redisMissing,
  startRedis,
  type TestRedis,
  warnIfRedisMissing,
} from "../support/redis.ts";
import { MASTER, startSentinels, type TestSentinels } from "../support/redis_groups.ts";
import { unless } from "../support/unless.ts";
import { ask, call, history } from "./calls.ts";
import { type Cluster, placeOf, startCluster } from "./cluster.ts";
import {
  type Acknowledged,
  byChannel,
  type Callers,
  checkOwners,
  missingOf,
  startCallers,
} from "./callers.ts";
import { checkRecord, type FailoverRecord, firstSince, recordFailover } from "./failover_record.ts";
import { eventsOf, eventsOfAll } from "./node_log.ts";
import { endAll, type NodeProcess } from "./process.ts";
import { until } from "../support/until.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const APP = fileURLToPath(new URL("./apps/watched.ts", import.meta.url));
/** Keys of each kind, two for each node. */
const NAMES = 6;
/** Messages of each busy key, and new keys, before the primary dies and after claims reopen. */
const ENOUGH = 10;

const cleanups = cleanupsAfterEach();
// Runs before the cleanups.
afterEach(endAll);

type Profile = "fast" | "standard";

function cluster(registry: string, lease: Profile): Promise<Cluster> {
  const runtimes = ["bun", "deno", "node"] as const;
  return startCluster({ registry, runtimes, lease, env: { ATLAS_APP: APP } });
}

function urlsOf({ nodes }: Cluster): string[] {
  return nodes.map(({ url }) => url);
}

/** Calls each of these keys once, through the nodes in turn; gives their owners and epochs. */
async function callEach(
  cluster: Cluster,
  kind: string,
  method: "send" | "whereami",
): Promise<Acknowledged[]> {
  const urls = urlsOf(cluster);
  return await Promise.all(Array.from({ length: NAMES }, async (_, i) => {
    const [channel, text, began] = [`${kind}:${i}`, crypto.randomUUID(), performance.now()];
    const args = method === "send" ? ["each", text] : [];
    const { status, body } = await call(
      urls[i % 3] as string,
      `channels/${channel}`,
      method,
      args,
    );
    expect(status, JSON.stringify(body)).toBe(200);
    const { rrp, epoch, result: { seq = 0 } } = body;
    return { channel, text, seq, epoch, rrp, began, ended: performance.now() };
  }));
}

/** Keyed and unkeyed callers of busy keys, and of new keys. */
interface Load {
  readonly busy: readonly Callers[];
  readonly claims: readonly Callers[];
}

function startLoad(cluster: Cluster): Load {
  const urls = urlsOf(cluster);
  const busy = [true, false].map((keyed) =>
    startCallers({ callers: 2 * NAMES, keyed, channel: (caller) => `busy:${caller % NAMES}`, urls })
  );
  const claims = [true, false].map((keyed) =>
    startCallers({
      callers: 3,
      keyed,
      channel: (caller, n) => `new:${keyed ? "k" : "u"}.${caller}.${n}`,
      urls,
      restMs: 30,
    })
  );
  cleanups.push(() => [...busy, ...claims].forEach((callers) => callers.abandon()));
  return { busy, claims };
}

function acknowledgedBy(groups: readonly Callers[]): Acknowledged[] {
  return groups.flatMap(({ acknowledged }) => acknowledged);
}

/**
 * Resolves when, since `at`, each busy key has acknowledged enough messages, and enough new keys
 * were claimed.
 */
async function worksSince({ busy, claims }: Load, at: number, what: string): Promise<void> {
  await until(
    () => {
      const taken = byChannel(acknowledgedBy(busy).filter(({ began }) => began >= at));
      const isTaken = [...taken.values()].every(({ length }) => length >= ENOUGH);
      const claimed = acknowledgedBy(claims).filter(({ began }) => began >= at).length;
      return taken.size === NAMES && isTaken && claimed >= 3 * ENOUGH;
    },
    what,
    60_000,
  );
}

async function finish({ busy, claims }: Load): Promise<Acknowledged[]> {
  await Promise.all([...busy, ...claims].map((callers) => callers.finish()));
  return acknowledgedBy([...busy, ...claims]);
}

interface Reopening {
  /** When each node saw the copy, ms since 1970. */
  readonly sawCopy: readonly number[];
  /** The time until which no claim can have been possible. */
  readonly closedUntil: number;
}

/** Waits until every node claims again, and checks by the nodes' own logs how long that took. */
async function reopens(
  { nodes }: Cluster,
  killedAt: number,
  lease: Profile,
): Promise<Reopening> {
  const { takeoverMs, stallMs } = timing(lease);
  const isNew = ({ fields }: { fields: { epoch: number } }) => fields.epoch > EPOCHS_PER_TERM;
  const claims = (node: NodeProcess) => eventsOf(node, "began").filter(isNew);
  await until(
    () => nodes.every((node) => claims(node).length > 0),
    "every node claims again",
    60_000,
  );
  const sawCopy = nodes.map((node) => firstSince(node, "store failed over", killedAt).at);
  const reopened = nodes.map((node) => claims(node)[0]?.at as number);
  const first = Math.min(...sawCopy);
  const waitedMs = Math.min(...reopened) - first;
  console.log(
    `seen ${sawCopy.map((at) => at - killedAt).join(", ")} ms after the kill; ` +
      `claims reopened ${waitedMs} ms later, W = ${Math.round(takeoverMs)}`,
  );
  expect(waitedMs).toBeLessThan(2 * takeoverMs);
  // A log line may be late by the time for which a node may stall.
  expect(waitedMs).toBeGreaterThanOrEqual(takeoverMs - stallMs);
  return { sawCopy, closedUntil: Math.min(...reopened, first + takeoverMs - stallMs) };
}

/** The acknowledged messages that each channel lacks. */
async function missing(
  cluster: Cluster,
  acknowledged: Acknowledged[],
): Promise<Map<string, Acknowledged[]>> {
  const [urls, lost] = [urlsOf(cluster), new Map<string, Acknowledged[]>()];
  const queue = [...byChannel(acknowledged)];
  const work = async (url: string): Promise<void> => {
    for (let next = queue.pop(); next; next = queue.pop()) {
      const [channel, messages] = next;
      checkOwners(messages);
      const gone = missingOf(await history(url, channel), messages);
      if (gone.length > 0) lost.set(channel, gone);
    }
  };
  await Promise.all([...urls, ...urls].map(work));
  return lost;
}

/** A metric of each node. */
async function figures(cluster: Cluster, name: string): Promise<number[]> {
  return await Promise.all(
    urlsOf(cluster).map(async (url) => {
      const { body } = await ask(url, "/metrics");
      const text = new RegExp(`^atlas_${name}_total (\\d+)$`, "m").exec(body)?.[1];
      expect(text, `${name} of ${url}`).toBeDefined();
      return Number(text);
    }),
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}

/** Checks what all nodes show of a failover that is over. */
async function checkShown(
  cluster: Cluster,
  { lookups }: FailoverRecord,
  { sawCopy, closedUntil }: Reopening,
  lostTurns: number,
): Promise<void> {
  checkRecord(lookups, sawCopy, closedUntil);
  expect(sum(await figures(cluster, "lost_turns"))).toBe(lostTurns);
  expect(await figures(cluster, "store_failovers")).toEqual([1, 1, 1]);
  const seen = cluster.nodes.map((_, place) =>
    lookups.filter((lookup) => lookup.place === place && lookup.plain.body.verdict === "quarantine")
      .length
  );
  for (const [place, n] of (await figures(cluster, "quarantined_lookups")).entries()) {
    expect(n).toBeGreaterThanOrEqual(seen[place] as number);
  }
}

/** How long a master may be silent, in ms: long enough that no busy master counts as dead. */
const PATIENT_MS = 30_000;
const QUICK_MS = 300;

async function setPatience({ ports }: TestSentinels, ms: number): Promise<void> {
  const command = `SENTINEL SET ${MASTER} down-after-milliseconds ${ms}`;
  await Promise.all(ports.map((port) => awaitReply(port, command, /OK/)));
}

/** Kills the master; resolves when the sentinels have promoted a replica. */
async function failOver(group: TestSentinels): Promise<void> {
  const [master] = group.servers as [TestRedis];
  await setPatience(group, QUICK_MS);
  await master.kill();
  // An election without a winner is repeated after two failover timeouts.
  await until(async () => await group.masterPort() !== master.port, "a promotion", 60_000);
  await setPatience(group, PATIENT_MS);
}

warnIfRedisMissing("nodes whose store fails over");

describe("the store's primary is killed under load", unless(redisMissing), () => {
  test(
    "sentinels promote a replica: no acknowledged write is missing",
    { timeout: 180_000 },
    async () => {
      const group = await startSentinels({ replicas: 2, downAfterMs: PATIENT_MS });
      cleanups.push(() => group.close());
      const nodes = await cluster(`${group.url}?replicas=1`, "fast");
      const before = await callEach(nodes, "quiet", "send");
      const load = startLoad(nodes);
      await worksSince(load, 0, "calls before the kill");
      const record = recordFailover(nodes.nodes);
      const killedAt = Date.now();
      await failOver(group);
      const reopening = await reopens(nodes, killedAt, "fast");
      await worksSince(load, performance.now(), "calls after claims reopened");
      const after = await callEach(nodes, "quiet", "send");
      const acknowledged = await finish(load);
      await record.close();

      expect(await missing(nodes, [...before, ...acknowledged])).toEqual(new Map());
      expect(eventsOfAll(nodes.nodes, "state lost")).toEqual([]);
      // Nodes that could renew in time keep their lease.
      const lapsed = nodes.nodes.map((node) => eventsOf(node, "lease lapsed").length > 0);
      console.log(`leases that held: ${lapsed.filter((isLapsed) => !isLapsed).length} of 3`);
      for (const [i, { epoch, rrp }] of before.entries()) {
        if (!lapsed[placeOf(rrp)]) expect(after[i]).toMatchObject({ epoch, rrp });
        else expect(after[i]?.epoch).toBeGreaterThan(EPOCHS_PER_TERM);
      }
      await checkShown(nodes, record, reopening, 0);
    },
  );

  test(
    "an outdated copy takes over the primary's address: lost writes are reported",
    { timeout: 180_000 },
    async () => {
      const primary = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
      cleanups.push(() => primary.close());
      const route = new Route(0);
      const toPrimary = await startDelayProxy({ target: primary.port, route: () => route });
      cleanups.push(() => toPrimary.close());
      const replica = await startRedis({
        args: ["--replicaof", "127.0.0.1", String(toPrimary.port)],
      });
      cleanups.push(() => replica.close());
      await awaitReply(replica.port, "INFO replication", /master_link_status:up/);
      const address = await startForwarder(primary.port);
      cleanups.push(() => address.close());
      // The nodes that are to report what the copy lacks must keep their lease.
      const nodes = await cluster(`redis://127.0.0.1:${address.port}`, "standard");

      const before = await callEach(nodes, "quiet", "send");
      const early = await callEach(nodes, "busy", "send");
      const written = await awaitReply(primary.port, "INFO replication", /master_repl_offset:\d+/);
      const offset = Number(/master_repl_offset:(\d+)/.exec(written)?.[1]);
      await until(async () => {
        const copied = await awaitReply(replica.port, "INFO replication", /slave_repl_offset:\d+/);
        return Number(/slave_repl_offset:(\d+)/.exec(copied)?.[1]) >= offset;
      }, "the replica has what was written");
      // The replica will lack everything that is acknowledged from now on.
      route.state = "silent";
      const held = await callEach(nodes, "held", "whereami");
      const load = startLoad(nodes);
      await worksSince(load, 0, "calls before the kill");
      const record = recordFailover(nodes.nodes);
      const killedAt = Date.now();
      await primary.kill();
      route.state = "closed";
      await awaitReply(replica.port, "REPLICAOF NO ONE", /OK/);
      address.lead(replica.port);
      const reopening = await reopens(nodes, killedAt, "standard");
      await worksSince(load, performance.now(), "calls after claims reopened");
      const after = await callEach(nodes, "quiet", "send");
      const heldAfter = await callEach(nodes, "held", "whereami");
      const acknowledged = await finish(load);
      await record.close();

      expect(eventsOfAll(nodes.nodes, "lease lapsed")).toEqual([]);
      const lost = await missing(nodes, [...before, ...early, ...acknowledged]);
      const reports = reported(nodes);
      expect(new Set(lost.keys())).toEqual(new Set(reports.keys()));
      for (const [channel, gone] of lost) {
        expect(gone.map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(reports.get(channel));
      }
      for (let i = 0; i < NAMES; i++) {
        expect(reports.get(`busy:${i}`)?.length).toBeGreaterThanOrEqual(ENOUGH);
      }
      console.log(
        `${reports.size} names lost ${sum([...reports.values()].map((it) => it.length))} turns`,
      );
      // Owners keep keys that the copy has, and keys that it never had.
      for (const [was, is] of [[before, after], [held, heldAfter]]) {
        expect(is?.map(({ epoch, rrp }) => ({ epoch, rrp })))
          .toEqual(was?.map(({ epoch, rrp }) => ({ epoch, rrp })));
      }
      await checkShown(nodes, record, reopening, sum([...reports.values()].map((it) => it.length)));
    },
  );
});

/**
 * The numbers of the messages that owners reported as lost, by channel. A channel's first owner
 * numbers its turns from 1, like the channel its messages.
 */
function reported({ nodes }: Cluster): Map<string, number[]> {
  const reports = new Map<string, number[]>();
  for (const { fields } of eventsOfAll(nodes, "state lost")) {
    const channel = decodeURIComponent(fields.key.slice("channels/".length));
    expect(reports.has(channel), `${channel} lost once`).toBe(false);
    const [[epoch, last], [keptEpoch, kept]] = [fields.acknowledged, fields.kept].map((stamp) =>
      stamp.split(".").map(Number)
    );
    expect([0, epoch]).toContain(keptEpoch);
    expect(epoch).toBeLessThan(EPOCHS_PER_TERM);
    expect(fields.turns).toBe(last - kept);
    reports.set(channel, Array.from({ length: last - kept }, (_, i) => kept + 1 + i));
  }
  return reports;
}
