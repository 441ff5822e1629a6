/**
 * Confirmation by replicas: which writes count, and that no confirmed write is missing after a
 * planned failover or a short stall; behind sentinels, in a cluster, and if an operator repoints
 * replicas by hand.
 *
 * Covers adapters/store/redis/replica_ack.ts.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { redisStore } from "../../adapters/store/open/redis.ts";
import {
  clusterReplicas,
  isConfirmed,
  replicasBySentinels,
  type SentinelAnswer,
} from "../../adapters/store/redis/replicas.ts";
import { clusterSlot } from "../../adapters/store/redis/slots.ts";
import { slotOf } from "../../src/model/rrp.ts";
import type { Store } from "../../src/ports/store.ts";
import { claimOf, eventually, freshKey, own } from "../conformance/store_kit.ts";
import { redisMissing, startRedis, type TestRedis, warnIfRedisMissing } from "../support/redis.ts";
import { command, copied } from "../support/redis_command.ts";
import { MASTER, startCluster, startSentinels } from "../support/redis_groups.ts";
import { unless } from "../support/unless.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const cleanups = cleanupsAfterEach();

warnIfRedisMissing("planned failovers of the Redis store");

describe("a write is confirmed", () => {
  const step = { primary: "a:1", doneAt: 100, copied: 2 };
  const group = { primary: "a:1", present: 2, hasAbsent: false, askedAt: 50 };

  test("once all replicas that may be promoted have it, even if the list of replicas is older than the write", () => {
    expect(isConfirmed(step, 1, group)).toBe(true);
    expect(isConfirmed({ ...step, copied: 1 }, 1, group)).toBe(false);
    expect(isConfirmed({ ...step, copied: 1 }, 1, { ...group, present: 1 })).toBe(true);
  });

  test("only at the primary that the sentinels or the cluster name", () => {
    expect(isConfirmed(step, 1, { ...group, primary: "b:1" })).toBe(false);
  });

  test("with fewer replicas only if the missing ones were found down after the write", () => {
    const less = { ...group, present: 1, hasAbsent: true };
    expect(isConfirmed(step, 1, less)).toBe(false);
    expect(isConfirmed(step, 1, { ...less, askedAt: 100 })).toBe(true);
  });

  test("with no fewer than the configured number", () => {
    expect(isConfirmed(step, 2, { ...group, present: 1, askedAt: 100 })).toBe(false);
    expect(isConfirmed({ ...step, copied: 0 }, 1, { ...group, present: 0 })).toBe(false);
  });
});

describe("replicas that sentinels list", () => {
  const replica = (port: number, more: Record<string, string> = {}) =>
    new Map(Object.entries({
      ip: "r",
      port: String(port),
      flags: "slave",
      "master-host": "m",
      "slave-priority": "100",
      ...more,
    }));
  const answer = (epoch: number, ...replicas: Map<string, string>[]): SentinelAnswer => ({
    primary: `m:${epoch}`,
    epoch,
    replicas,
  });
  const down = { flags: "s_down,slave,disconnected" };

  test("and that more than half of the sentinels call down are left out", () => {
    const both = answer(1, replica(1), replica(2, down));
    expect(replicasBySentinels([both, both], 3, 5))
      .toEqual({ primary: "m:1", present: 1, hasAbsent: true, askedAt: 5 });
    expect(replicasBySentinels([both], 3, 5).present).toBe(2);
    expect(replicasBySentinels([both, both, answer(1, replica(2))], 3, 5).present).toBe(2);
  });

  test("and that are never promoted don't count", () => {
    const never = answer(1, replica(1), replica(2, { "slave-priority": "0" }));
    expect(replicasBySentinels([never, never], 3, 5))
      .toEqual({ primary: "m:1", present: 1, hasAbsent: false, askedAt: 5 });
  });

  test("and that were the master are left out until they are replicas", () => {
    const fresh = answer(2, replica(1), replica(2, { "master-host": "?" }));
    expect(replicasBySentinels([fresh, fresh], 3, 5).present).toBe(1);
  });

  test("and that come from outdated answers are ignored", () => {
    const result = replicasBySentinels(
      [answer(1, replica(1)), answer(2, replica(2), replica(3))],
      3,
      5,
    );
    expect(result).toMatchObject({ primary: "m:2", present: 2 });
  });
});

test("a master of a cluster leaves out failed replicas and those that are never promoted", async () => {
  const lines = ["slave", "slave,fail", "slave,fail?", "slave,nofailover"];
  const answers: Record<string, unknown> = {
    MYID: "0".repeat(40),
    REPLICAS: lines.map((flags) => `id r:1@2 ${flags} master 0 0 1 connected`),
  };
  const send = async (name: string, [what = ""]: string[]) =>
    name === "INFO" ? "connected_slaves:3\r\n" : answers[what];
  expect(await clusterReplicas({ address: "m:1", send }))
    .toMatchObject({ primary: "m:1", present: 2, hasAbsent: true });
});

/** An owner that commits turn after turn, and records which ones were confirmed. */
class Owner {
  /** Confirmed turns; each turn is retried until it is confirmed. */
  turns = 0;
  readonly key: string;
  readonly #store: Store;
  #isOver = false;
  #working: Promise<void> | null = null;

  constructor(store: Store, key: string) {
    this.#store = store;
    this.key = key;
  }

  async begin(): Promise<void> {
    const { incarnation, epoch } = await own(this.#store, this.key);
    this.#working = this.#work(incarnation, epoch);
    await this.has(200);
  }

  /** Resolves once this many further turns are confirmed. */
  async has(turns: number): Promise<void> {
    const wanted = this.turns + turns;
    await eventually(async () => {
      await Promise.race([this.#working, new Promise((resolve) => setTimeout(resolve, 5))]);
      return this.turns >= wanted || undefined;
    });
  }

  async #work(incarnation: string, epoch: number): Promise<void> {
    while (!this.#isOver) {
      const turn = this.turns + 1;
      const after = { epoch: this.turns === 0 ? 0 : epoch, turn: this.turns };
      const puts = [[`f${turn}`, "1"]] as const;
      const reply = await this.#store.commit({
        key: this.key,
        incarnation,
        epoch,
        turn,
        after,
        puts,
        deletes: [],
      }).catch(() => null);
      if (reply === "committed") this.turns = turn;
      else if (reply !== null) throw new Error(`turn ${turn}: ${JSON.stringify(reply)}`);
      // While the store is away steps fail at once: the pause lets other tasks run.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#working;
  }

  /** The number of confirmed turns that are not in the store. */
  async missing(): Promise<number> {
    await this.end();
    const fields = Array.from({ length: this.turns }, (_, i) => `f${i + 1}`);
    const values = await eventually(() => this.#store.read(this.key, fields));
    return values.filter((value) => value === null).length;
  }
}

async function opened(url: string): Promise<Store> {
  const store = await redisStore(url, { timeoutMs: 5_000 });
  cleanups.push(() => store.close());
  return store;
}

describe("with a replica more than ?replicas asks for", unless(redisMissing), () => {
  test("planned failovers by sentinels lose no confirmed turn", async () => {
    const group = await startSentinels({ replicas: 2, downAfterMs: 5_000 });
    cleanups.push(() => group.close());
    const owner = new Owner(await opened(`${group.url}?replicas=1`), freshKey());
    await owner.begin();
    const [port] = group.ports as [number];
    const sentinel = { url: `redis://127.0.0.1:${port}` };
    for (let round = 0; round < 2; round++) {
      const before = await group.masterPort();
      await eventually(() => command(sentinel, "SENTINEL", "FAILOVER", MASTER));
      await eventually(async () => await group.masterPort() !== before || undefined);
      await owner.has(200);
    }
    expect(await owner.missing()).toBe(0);
  });

  test("a master that stalls, is replaced and resumes loses no confirmed turn", async () => {
    const group = await startSentinels({ replicas: 2, downAfterMs: 1_000 });
    cleanups.push(() => group.close());
    const owner = new Owner(await opened(`${group.url}?replicas=1`), freshKey());
    await owner.begin();
    const [master] = group.servers as [TestRedis];
    master.freeze();
    await eventually(async () => await group.masterPort() !== master.port || undefined);
    master.thaw();
    await owner.has(200);
    expect(await owner.missing()).toBe(0);
  });

  test("a replica that dies delays turns until the sentinels call it down", async () => {
    const group = await startSentinels({ replicas: 2, downAfterMs: 1_000 });
    cleanups.push(() => group.close());
    const owner = new Owner(await opened(`${group.url}?replicas=1`), freshKey());
    await owner.begin();
    await (group.servers[1] as TestRedis).kill();
    await owner.has(200);
    expect(await owner.missing()).toBe(0);
  });

  test("a sentinel that never answers delays no turn, and is not asked more and more often", async () => {
    const group = await startSentinels({ replicas: 2, downAfterMs: 1_000 });
    cleanups.push(() => group.close());
    const sockets = new Set<Socket>();
    let most = 0;
    const mute = createServer((socket) => {
      sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
      most = Math.max(most, sockets.size);
    });
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy();
      mute.close();
    });
    const at = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
    const url = `${group.url.replace(`/${MASTER}`, `,${at}/${MASTER}`)}?replicas=1`;
    const owner = new Owner(await opened(url), freshKey());
    await owner.begin();
    await (group.servers[1] as TestRedis).kill();
    await owner.has(500);
    expect(await owner.missing()).toBe(0);
    // One connection for each kind of request, and those that are about to be closed.
    expect(most).toBeLessThanOrEqual(8);
  });

  test.each(["", "FORCE", "TAKEOVER"])(
    "CLUSTER FAILOVER %s loses no confirmed turn",
    async (how) => {
      const cluster = await startCluster({ replicas: 2 });
      cleanups.push(() => cluster.close());
      const [master] = cluster.masters as [TestRedis];
      const id = String(await command(master, "CLUSTER", "MYID"));
      const second = cluster.replicas[1] as TestRedis;
      await command(second, "CLUSTER", "REPLICATE", id);
      // The other masters vote only for a known replica of that master, and once in half a minute.
      for (const node of cluster.masters) {
        await eventually(async () => {
          const list = await command(node, "CLUSTER", "REPLICAS", id) as string[];
          return list.length === 2 || undefined;
        });
      }
      const key = keyOf(cluster.masterOf, 0);
      await copied(master, 2, `{s${slotOf(key)}}`);
      const owner = new Owner(await opened(`${cluster.url}?replicas=1`), key);
      await owner.begin();
      await takeOver(second, how);
      await owner.has(200);
      expect(await owner.missing()).toBe(0);
    },
  );
});

test(
  "replicas repointed by hand lose no confirmed turn if all must confirm",
  unless(redisMissing),
  async () => {
    const args = ["--repl-diskless-sync-delay", "0"];
    const primary = await startRedis({ args });
    cleanups.push(() => primary.close());
    const of = ["--replicaof", "127.0.0.1", String(primary.port), ...args];
    const [first, second] = await Promise.all([
      startRedis({ args: of }),
      startRedis({ args: of }),
    ]) as [
      TestRedis,
      TestRedis,
    ];
    for (const replica of [first, second]) cleanups.push(() => replica.close());
    await copied(primary, 2);
    const store = await opened(`${primary.url}?replicas=2`);
    const owner = new Owner(store, freshKey());
    await owner.begin();
    await command(first, "REPLICAOF", "NO", "ONE");
    // Until the primary is repointed, it goes on beside the second one.
    const before = owner.turns;
    const claims = await Promise.allSettled(
      Array.from({ length: 3 }, () => store.claim(claimOf(freshKey()))),
    );
    expect(claims.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(owner.turns - before).toBeLessThanOrEqual(1);
    await command(second, "REPLICAOF", "127.0.0.1", String(first.port));
    await command(primary, "REPLICAOF", "127.0.0.1", String(first.port));
    const promoted = await opened(`${first.url}?replicas=2`);
    const fields = Array.from({ length: owner.turns }, (_, i) => `f${i + 1}`);
    expect(await eventually(() => promoted.read(owner.key, fields))).not.toContain(null);
    await owner.end();
  },
);

/**
 * Makes a replica take over from its master; repeats the request if the cluster's time limit
 * passed.
 */
async function takeOver(replica: TestRedis, how: string): Promise<void> {
  const isMaster = async (): Promise<boolean> =>
    String(await command(replica, "INFO", "replication")).includes("role:master");
  for (let tries = 0; tries < 5; tries++) {
    await command(replica, "CLUSTER", "FAILOVER", ...how === "" ? [] : [how]);
    const giveUp = performance.now() + MANUAL_FAILOVER_MS;
    while (performance.now() < giveUp) if (await isMaster()) return;
  }
  throw new Error(`CLUSTER FAILOVER ${how} was given up`);
}

/** The cluster's time limit for a requested failover and a margin, in ms. */
const MANUAL_FAILOVER_MS = 6_000;

/** A fresh key of a master of the cluster. */
function keyOf(masterOf: (slot: number) => number, master: number): string {
  for (;;) {
    const key = freshKey();
    if (masterOf(clusterSlot(`{s${slotOf(key)}}`)) === master) return key;
  }
}
